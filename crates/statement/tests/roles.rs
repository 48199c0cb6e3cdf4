//! Each key against each `typ`: only the one role that a `typ` belongs to is believed.

mod common;

use common::{LEEWAY, MOST, NOW, ONLINE, claims, grant, host, key_set, roots, signer, trusted};
use serde_json::{Value, json};
use tether_statement::issue::Signing;
use tether_statement::{
    Countersignature, Delegation, FeedStatement, Head, Position, Receipt, Resume, Role, TrustedKeys, Typ,
};

const TYPS: [Typ; 11] = [
    Typ::Keys,
    Typ::Grant,
    Typ::Revocation,
    Typ::Pin,
    Typ::Head,
    Typ::Resume,
    Typ::Bundle,
    Typ::Confirmation,
    Typ::Delegation,
    Typ::Countersignature,
    Typ::Receipt,
];

fn payload(typ: Typ) -> Value {
    let envelope = |body: Value| json!({"host": "web-01", "number": 1, "previous": "", "issued_at": NOW, "body": body});
    let position = json!({"number": 0, "hash": ""});
    match typ {
        Typ::Keys => serde_json::to_value(key_set()).unwrap(),
        Typ::Grant => envelope(grant()),
        Typ::Revocation => envelope(json!({"session": "0123456789abcdef"})),
        Typ::Pin => envelope(json!({"name": "triage", "version": 1, "sha256": "x"})),
        Typ::Head => json!({"host": "web-01", "position": position, "time": NOW}),
        Typ::Resume => {
            json!({"host": "web-01", "nonce": "n", "position": position, "seen": 0, "uid_mark": 0, "time": NOW})
        }
        Typ::Bundle => json!({"anything": 1}),
        Typ::Confirmation => json!({"name": "triage", "version": 1, "sha256": "x", "time": NOW}),
        Typ::Delegation => claims(),
        Typ::Countersignature => {
            json!({"host": "web-01", "number": 1, "hash": "h", "head": "d", "time": NOW})
        }
        Typ::Receipt => json!({
            "host": "web-01", "session": "0123456789abcdef", "recording": "sudo-1", "bytes": 1, "sha256": "x",
            "time": NOW,
        }),
    }
}

/// Gives a text to the reader of a `typ`; the code of its refusal, without what stands before the dot.
fn read(typ: Typ, text: &str) -> String {
    let keys = trusted();
    let start = Position::start();
    let code = match typ {
        Typ::Keys => TrustedKeys::verify(text, &roots()).err().map(|error| error.code().to_owned()),
        Typ::Grant | Typ::Revocation | Typ::Pin => {
            FeedStatement::verify(text, keys, &host(), &start).err().map(|error| error.code())
        }
        Typ::Head => Head::verify(text, keys, &host()).err().map(|error| error.code()),
        Typ::Resume => Resume::verify(text, keys, &host()).err().map(|error| error.code()),
        Typ::Countersignature => Countersignature::verify(text, keys, &host()).err().map(|error| error.code()),
        Typ::Receipt => Receipt::verify(text, keys, &host()).err().map(|error| error.code()),
        Typ::Bundle | Typ::Confirmation => {
            keys.verify_statement::<Value>(text, typ).err().map(|error| error.code().to_owned())
        }
        Typ::Delegation => Delegation::verify(text, keys, &host(), NOW, MOST, LEEWAY).err().map(|error| error.code()),
    };
    code.map_or("accepted".to_owned(), |code| code.rsplit('.').next().unwrap_or_default().to_owned())
}

#[test]
fn a_key_signs_only_what_its_role_may() {
    for typ in TYPS {
        for role in ONLINE.into_iter().chain([Role::Root]) {
            let text = signer(role).sign(typ, &payload(typ)).unwrap();
            let wanted = if role == typ.role() { "accepted" } else { "unknown_key" };
            assert_eq!(read(typ, &text), wanted, "{typ} signed by {role:?}");
        }
    }
}

#[test]
fn a_key_cannot_borrow_the_kid_of_the_right_role() {
    for typ in TYPS {
        let right = signer(typ.role());
        for seed in 1..=7 {
            let borrowed = Signing::from_seed(&right.kid, [seed; 32]);
            let text = borrowed.sign(typ, &payload(typ)).unwrap();
            let wanted = if borrowed.public() == right.public() { "accepted" } else { "signature" };
            assert_eq!(read(typ, &text), wanted, "{typ} with the key {seed}");
        }
    }
}

#[test]
fn a_text_of_one_typ_is_never_read_as_another() {
    let is_feed = |typ: Typ| matches!(typ, Typ::Grant | Typ::Revocation | Typ::Pin);
    for typ in TYPS {
        let text = signer(typ.role()).sign(typ, &payload(typ)).unwrap();
        for other in TYPS.into_iter().filter(|other| *other != typ && !(is_feed(typ) && is_feed(*other))) {
            assert_eq!(read(other, &text), "typ", "{typ} given to the reader of {other}");
        }
    }
}

#[test]
fn a_body_under_another_typ_of_the_same_role_is_refused() {
    for (typ, body) in
        [(Typ::Grant, Typ::Pin), (Typ::Pin, Typ::Grant), (Typ::Head, Typ::Resume), (Typ::Resume, Typ::Head)]
    {
        let text = signer(typ.role()).sign(typ, &payload(body)).unwrap();
        assert_eq!(read(typ, &text), "payload", "{body} called {typ}");
    }
}
