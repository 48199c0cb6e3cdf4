//! One host, its keys and its two issuers.
#![allow(dead_code, reason = "each test file uses a part of it")]

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tether_identity::HostId;
use tether_statement::issue::Signing;
use tether_statement::{Issuer, Key, KeySet, PublicKey, Role, TrustedKeys, Typ};

pub const NOW: u64 = 1_800_000_000;
pub const MOST: u64 = 3600;
pub const LEEWAY: u64 = 30;
pub const FIRST: &str = "https://idp.example.org";
pub const SECOND: &str = "https://idp.second.example";
pub const JKT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

pub fn host() -> HostId {
    "web-01".parse().unwrap()
}

pub fn root() -> Signing {
    Signing::from_seed("root", [1; 32])
}

/// The one key of a role; of the two with [`Role::Token`] the first issuer's.
pub fn signer(role: Role) -> Signing {
    match role {
        Role::Root => root(),
        Role::Feed => Signing::from_seed("feed", [2; 32]),
        Role::Grant => Signing::from_seed("grant", [3; 32]),
        Role::Revocation => Signing::from_seed("revocation", [4; 32]),
        Role::Bundle => Signing::from_seed("bundle", [5; 32]),
        Role::Token => Signing::from_seed("token", [6; 32]),
        Role::Audit => Signing::from_seed("audit", [18; 32]),
    }
}

pub fn second_token_signer() -> Signing {
    Signing::from_seed("token-2", [7; 32])
}

pub const ONLINE: [Role; 6] = [Role::Feed, Role::Grant, Role::Revocation, Role::Bundle, Role::Token, Role::Audit];

pub fn roots() -> BTreeMap<String, PublicKey> {
    [("root".to_owned(), root().public())].into()
}

pub fn key(role: Role, signing: &Signing) -> Key {
    Key { kid: signing.kid.clone(), role, x: signing.public() }
}

pub fn key_set() -> KeySet {
    let mut keys: Vec<Key> = ONLINE.iter().map(|role| key(*role, &signer(*role))).collect();
    keys.push(key(Role::Token, &second_token_signer()));
    let issuer = |iss: &str, namespace: &str, kid: &str| Issuer {
        iss: iss.to_owned(),
        namespaces: vec![namespace.to_owned()],
        kids: vec![kid.to_owned()],
    };
    KeySet {
        version: 3,
        issued_at: NOW - 100,
        expires_at: NOW + 100_000,
        keys,
        issuers: vec![issuer(FIRST, "@example.org", "token"), issuer(SECOND, "@second.example", "token-2")],
        user_ca: vec![],
    }
}

pub fn trusted() -> &'static TrustedKeys {
    static TRUSTED: LazyLock<TrustedKeys> =
        LazyLock::new(|| TrustedKeys::verify(&root().sign(Typ::Keys, &key_set()).unwrap(), &roots()).unwrap());
    &TRUSTED
}

pub fn claims() -> Value {
    json!({
        "iss": FIRST, "sub": "alice@example.org", "cid": "triage",
        "act": {"sub": "triage", "instance": "run-7"},
        "aud": "web-01", "iat": NOW - 10, "exp": NOW + 600, "jti": "d-1",
        "cnf": {"jkt": JKT}, "auth_time": NOW - 60, "amr": ["pwd", "hwk"],
        "session": "0123456789abcdef", "team": "secops", "bundle": "triage"
    })
}

pub fn grant() -> Value {
    json!({
        "session": "0123456789abcdef", "principal": "tether://secops/triage/alice@example.org", "instance": "run-7",
        "account": "ag-triage-1", "delegation": "d-1", "issuer": FIRST, "jkt": JKT, "key": "SHA256:k", "serial": 1,
        "ca": "SHA256:c", "not_before": NOW, "expires_at": NOW + 600, "connections": 1, "source_addresses": [],
        "bundle": "triage", "auth_time": NOW - 60, "amr": ["pwd"]
    })
}
