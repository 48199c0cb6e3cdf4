//! Keys that change while nothing that was signed becomes void.

use super::world::next_second;
use super::{made, open};
use crate::app::{Admin, App, ENROL_PATH, META_KEYS, Wanted};
use crate::clock;
use crate::keys::{self, FOLDER, Keys, NAMES};
use crate::rotation::{next, renewed, rotate, without_old};
use crate::store::{self, Act, StoreError};
use std::path::Path;
use tether_centrallink::wire::{EnrolRequest, EnrolToken, NewHost, Target};
use tether_identity::HostId;
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;
use tether_statement::issue::Signing;
use tether_statement::{FeedStatement, Head, KeySet, Position, ResumeRequest, TrustedKeys, Typ};

const URL: &str = "https://127.0.0.1:1";

struct Root(Signing);

impl Root {
    fn signs(&self, set: &KeySet) -> TrustedKeys {
        let roots = std::collections::BTreeMap::from([(self.0.kid.clone(), self.0.public())]);
        TrustedKeys::verify(&self.text(set), &roots).unwrap()
    }

    fn text(&self, set: &KeySet) -> String {
        self.0.sign(Typ::Keys, set).unwrap()
    }
}

fn first(folder: &Path) -> (Root, TrustedKeys) {
    let root = Root(keys::load(&folder.join("offline"), "root").unwrap());
    let bundle = keys::load(&folder.join("offline"), "bundle").unwrap();
    let bundle =
        tether_statement::Key { kid: bundle.kid.clone(), role: tether_statement::Role::Bundle, x: bundle.public() };
    let used = Keys::load(&folder.join(FOLDER)).unwrap();
    let set = keys::key_set(&used, bundle, URL, &["@example.org".to_owned()], (1, 1, 1000)).unwrap();
    let trusted = root.signs(&set);
    (root, trusted)
}

fn is_believed(signing: &Signing, trusted: &TrustedKeys) -> bool {
    let head = Head { host: "web-01".parse().unwrap(), position: Position::start(), time: 5 };
    trusted.verify_statement::<Head>(&signing.sign(Typ::Head, &head).unwrap(), Typ::Head).is_ok()
}

#[test]
fn both_then_the_new_ones_alone() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let own = folder.path().join(FOLDER);
    let (root, trusted) = first(folder.path());
    let old = Keys::load(&own).unwrap();

    let set = next(&own, &NAMES, &trusted, URL, 2).unwrap();
    assert_eq!((set.version, next(&own, &NAMES, &trusted, URL, 2).unwrap().keys), (2, set.keys.clone()), "asked again");
    assert!(rotate(&own, &trusted, URL).is_err(), "hosts would not believe them yet");
    assert_eq!(keys::load(&own, "feed").unwrap().kid, old.feed.kid, "nothing has changed");

    let both = root.signs(&set);
    old.check(&both, URL).unwrap();
    assert_eq!(rotate(&own, &both, URL).unwrap(), NAMES);
    let new = Keys::load(&own).unwrap();
    new.check(&both, URL).unwrap();
    assert!(new.feed.kid != old.feed.kid && new.ca.fingerprint() != old.ca.fingerprint());
    assert!(is_believed(&old.feed, &both) && is_believed(&new.feed, &both), "during the overlap");
    assert!(rotate(&own, &both, URL).is_err(), "no keys wait any more");

    let after = root.signs(&without_old(&own, &both, URL, 3).unwrap());
    assert!(is_believed(&new.feed, &after) && !is_believed(&old.feed, &after));
    assert!(old.check(&after, URL).is_err());
    let bundles = |trusted: &TrustedKeys| {
        trusted.set().keys.iter().filter(|key| key.role == tether_statement::Role::Bundle).cloned().collect::<Vec<_>>()
    };
    assert_eq!(bundles(&after), bundles(&trusted), "the security team's key is none of central's business");
    assert_eq!((after.set().keys.len(), after.set().user_ca.len(), after.set().issuers[0].kids.len()), (6, 1, 1));
}

#[test]
fn one_role_at_a_time_and_other_issuers_stay() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let own = folder.path().join(FOLDER);
    let (root, trusted) = first(folder.path());
    let other = Signing::from_seed("idp-1", [9; 32]);
    let mut set = renewed(&trusted, 2).unwrap();
    set.keys.push(tether_statement::Key {
        kid: "idp-1".to_owned(),
        role: tether_statement::Role::Token,
        x: other.public(),
    });
    set.issuers.push(tether_statement::Issuer {
        iss: "https://idp.example.net".to_owned(),
        namespaces: vec!["@example.net".to_owned()],
        kids: vec!["idp-1".to_owned()],
    });
    let with_other = root.signs(&set);
    let both = root.signs(&next(&own, &["token"], &with_other, URL, 3).unwrap());
    assert_eq!(both.issuer(URL).unwrap().kids.len(), 2);
    assert_eq!(rotate(&own, &both, URL).unwrap(), ["token"]);
    let after = root.signs(&without_old(&own, &both, URL, 4).unwrap());
    assert_eq!(after.issuer("https://idp.example.net").unwrap().kids, ["idp-1"]);
    assert_eq!(after.issuer(URL).unwrap().kids, [keys::load(&own, "token").unwrap().kid]);
    assert!(next(&own, &["root"], &after, URL, 5).is_err(), "the root is not central's");
}

/// Enrols the host `web-01` with a key, as an admin and the host do.
fn enrol(app: &App, admin: &Admin, seed: u8) -> HostId {
    enrol_by(app, &admit(app, admin), seed).unwrap()
}

fn admit(app: &App, admin: &Admin) -> EnrolToken {
    let new = NewHost { host: "web-01".parse().unwrap(), address: None, labels: Vec::new() };
    EnrolToken::parse(&app.admit_host(admin, &new).unwrap().token).unwrap()
}

fn enrol_by(app: &App, token: &EnrolToken, seed: u8) -> Result<HostId, String> {
    let url = format!("{URL}{ENROL_PATH}");
    let request = ProofRequest { method: "POST", url: &url, access_token: None };
    let nonce = app.nonces.make(clock::now());
    let proof = PrivateKey::from_seed(&[seed; 32]).unwrap().proof(request, Some(&nonce), "once", clock::now());
    let proof = app.prove(Some(&proof), "POST", ENROL_PATH, None).unwrap();
    app.enrol(&EnrolRequest { secret: token.secret.clone(), audit: None }, &proof, "127.0.0.1")
        .map(|enrolled| enrolled.host)
        .map_err(|refusal| refusal.code)
}

#[test]
fn a_token_from_before_a_host_was_revoked_is_void() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let admin = Admin { name: "carol".to_owned() };
    let app = open(folder.path(), |_| {});
    let host = enrol(&app, &admin, 1);
    let (leaked, good) = (admit(&app, &admin), admit(&app, &admin));
    assert_eq!(enrol_by(&app, &good, 2), Ok(host.clone()), "another token of then, before it is revoked");
    next_second();
    app.revoke(&admin, &Target::Host(host.clone())).unwrap();
    assert_eq!(enrol_by(&app, &leaked, 3), Err("enrol.revoked".to_owned()));
    assert_eq!(enrol_by(&app, &admit(&app, &admin), 4), Ok(host), "an admin lets it in again");
}

/// How far a host gets that begins at the start of its feed.
fn read_all(app: &App, host: &HostId, keys: &TrustedKeys) -> Position {
    let mut at = Position::start();
    let wanted = Wanted { host: host.clone(), after: 0, common: false, head: false };
    for (_, text) in app.batches(&[wanted]).remove(0).unwrap().statements {
        match FeedStatement::verify(&text, keys, host, &at) {
            Ok(statement) => at = statement.position,
            Err(_) => break,
        }
    }
    at
}

#[test]
fn old_keys_go_when_every_host_has_read_what_they_signed() {
    let folder = made("127.0.0.1:1".parse().unwrap());
    let own = folder.path().join(FOLDER);
    let (root, trusted) = first(folder.path());
    let admin = Admin { name: "carol".to_owned() };
    let app = open(folder.path(), |_| {});
    let bundle = tether_bundle::source::compile(include_str!("../../../packaging/bundles/minimal.toml")).unwrap();
    let signed = keys::load(&folder.path().join("offline"), "bundle").unwrap().sign(Typ::Bundle, &bundle).unwrap();
    app.publish(&admin, &signed).unwrap();
    let host = enrol(&app, &admin, 1);
    let both_set = next(&own, &NAMES, &trusted, URL, clock::now()).unwrap();
    app.take_keys(&admin, &root.text(&both_set)).unwrap();
    let both = root.signs(&both_set);
    drop(app);
    rotate(&own, &both, URL).unwrap();

    let app = open(folder.path(), |_| {});
    let set = without_old(&own, &both, URL, clock::now()).unwrap();
    let (text, after) = (root.text(&set), root.signs(&set));
    let position = read_all(&app, &host, &both);
    assert_eq!(position.number, 1, "the pin, signed with the old key");
    let refused = app.take_keys(&admin, &text).unwrap_err();
    assert!(refused.code == "keys.hosts_behind" && refused.description.contains("web-01"), "{refused}");
    let report = ResumeRequest {
        host: host.clone(),
        nonce: "n".to_owned(),
        boot_id: "b".to_owned(),
        position: position.clone(),
        uid_mark: 0,
    };
    app.reports(&[(host.clone(), report)]).remove(0).unwrap();
    // Another admin's newer set stands, and is not in force here yet: this one does not take its place.
    let newer = root.text(&KeySet { version: set.version + 1, ..set.clone() });
    let put = |text: &str| {
        let put = |act: &mut dyn Act| -> Result<(), StoreError> { act.set_meta(META_KEYS, text) };
        store::act(app.store_for_tests(), put).unwrap();
    };
    put(&newer);
    assert_eq!(app.take_keys(&admin, &text).unwrap_err().code, "keys.old");
    put(&root.text(&both_set));
    app.take_keys(&admin, &text).unwrap();

    assert_eq!(read_all(&app, &host, &after).number, 0, "nobody can read it from the start now");
    // So a host that begins anew gets it signed anew: the same words under the same numbers, and its pins once more.
    enrol(&app, &admin, 2);
    assert_eq!(read_all(&app, &host, &after).number, 2);
    assert_eq!(read_all(&app, &host, &both).number, 2);
}
