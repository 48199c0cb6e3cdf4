//! Central's side of one host, and that host's trust.

mod bundles;
mod start;
mod state;

use super::{Freshness, Kept, Trust, TrustError};
use crate::clock::Moment;
use crate::config;
use serde_json::{Value, json};
use std::time::Duration;
use tether_identity::{HostId, Prefix, Scheme};
use tether_statement::issue::{FeedWriter, Signing};
use tether_statement::{Body, BundlePin, Grant, Head, Key, KeySet, Position, Resume, Revocation, Role, Typ};

const START: u64 = 1_800_000_000;
const NONCE: &str = "this start";

fn host() -> HostId {
    "web-01".parse().unwrap()
}

/// So many seconds after the host asked.
fn after(seconds: u64) -> Moment {
    Moment::since_boot(Duration::from_secs(1000 + seconds))
}

fn signing(kid: &str) -> Signing {
    let seed = kid.bytes().cycle().take(32).collect::<Vec<u8>>();
    Signing::from_seed(kid, seed.try_into().unwrap())
}

fn settings() -> config::Host {
    config::Host {
        host: host(),
        scheme: Scheme::default(),
        prefix: Prefix::default(),
        roots: [("root".to_owned(), signing("root").public())].into(),
        times: config::Times::default(),
        audit: crate::config::Audit::default(),
        recording: crate::recordings::Settings::default(),
    }
}

fn key_set(version: u64, bundle_kid: &str) -> KeySet {
    let key = |kid: &str, role| Key { kid: kid.to_owned(), role, x: signing(kid).public() };
    KeySet {
        version,
        issued_at: START,
        expires_at: START + 10_000,
        keys: vec![
            key("feed", Role::Feed),
            key("grant", Role::Grant),
            key("revocation", Role::Revocation),
            key(bundle_kid, Role::Bundle),
        ],
        issuers: vec![],
        user_ca: vec![],
    }
}

fn keys(version: u64) -> String {
    signing("root").sign(Typ::Keys, &key_set(version, "bundle")).unwrap()
}

fn restored(kept: Kept) -> Trust {
    Trust::restore(&settings(), kept, Vec::new(), NONCE.to_owned(), after(0))
}

/// A trust that has its keys and waits for central.
fn asking() -> Trust {
    let mut trust = restored(Kept::default());
    assert!(trust.take_keys(&keys(3)).unwrap());
    trust
}

/// A trust that central answered when its feed stood there.
fn resumed(at: &Position) -> Trust {
    let mut trust = asking();
    trust.take_resume(&resume(NONCE, at, 0, START)).unwrap();
    trust
}

fn resume(nonce: &str, position: &Position, seen: u64, time: u64) -> String {
    let resume =
        Resume { host: host(), nonce: nonce.to_owned(), position: position.clone(), seen, uid_mark: 70_000, time };
    signing("feed").sign(Typ::Resume, &resume).unwrap()
}

fn head(position: &Position, time: u64) -> String {
    signing("feed").sign(Typ::Head, &Head { host: host(), position: position.clone(), time }).unwrap()
}

fn revocation(number: u64) -> Body {
    Body::Revocation(Revocation::Session(format!("{number:016}").parse().unwrap()))
}

fn grant() -> Body {
    let value: Value = json!({
        "session": "0123456789abcdef", "principal": "tether://secops/triage/alice@example.org", "instance": "run-7",
        "account": "ag-triage-1", "delegation": "d-1", "issuer": "https://idp.example.org",
        "jkt": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "key": "SHA256:k", "serial": 1, "ca": "SHA256:c",
        "not_before": START, "expires_at": START + 600, "connections": 1, "source_addresses": [],
        "bundle": "triage", "auth_time": START, "amr": ["pwd"]
    });
    Body::Grant(Box::new(serde_json::from_value::<Grant>(value).unwrap()))
}

/// The feed's texts, and where it stands after each.
struct Feed(FeedWriter);

impl Feed {
    fn new() -> Self {
        Self(FeedWriter::new(host()))
    }

    fn say(&mut self, body: &Body, time: u64) -> (String, Position) {
        let key = if matches!(body, Body::Revocation(_)) { signing("revocation") } else { signing("grant") };
        let (_, text) = self.0.append(&key, body, time).unwrap();
        (text, self.0.position().clone())
    }

    fn pin(&mut self, name: &str, version: u64, sha256: &str) -> String {
        let pin = BundlePin { name: name.parse().unwrap(), version, sha256: sha256.to_owned() };
        self.say(&Body::Pin(pin), START).0
    }
}

fn age(trust: &Trust, seconds: u64) -> Option<u64> {
    match trust.freshness(after(seconds)) {
        Freshness::NotResumed => None,
        Freshness::Age(age) => Some(age.as_secs()),
    }
}

fn code<T>(result: Result<T, TrustError>) -> String {
    result.map_or_else(|error| error.code(), |_| "taken".to_owned())
}
