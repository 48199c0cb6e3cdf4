//! No byte of a compact JWS can be changed, and no bytes make a reader panic.

mod common;

use common::{LEEWAY, MOST, NOW, claims, grant, host, key_set, root, roots, signer, trusted};
use proptest::prelude::*;
use serde_json::json;
use std::sync::LazyLock;
use tether_statement::{Delegation, FeedStatement, Head, Position, PublicKey, Resume, Role, TrustedKeys, Typ};

fn change(text: &str, at: prop::sample::Index, to: u8) -> Option<String> {
    let mut bytes = text.as_bytes().to_vec();
    let at = at.index(bytes.len());
    if bytes[at] == to {
        return None;
    }
    bytes[at] = to;
    String::from_utf8(bytes).ok()
}

fn read_all(text: &str) -> usize {
    let (keys, host, start) = (trusted(), host(), Position::start());
    usize::from(TrustedKeys::verify(text, &roots()).is_ok())
        + usize::from(FeedStatement::verify(text, keys, &host, &start).is_ok())
        + usize::from(Head::verify(text, keys, &host).is_ok())
        + usize::from(Resume::verify(text, keys, &host).is_ok())
        + usize::from(Delegation::verify(text, keys, &host, NOW, MOST, LEEWAY).is_ok())
}

fn texts() -> &'static [String; 4] {
    static TEXTS: LazyLock<[String; 4]> = LazyLock::new(signed);
    &TEXTS
}

fn signed() -> [String; 4] {
    let sign = |typ: Typ, payload: &serde_json::Value| signer(typ.role()).sign(typ, payload).unwrap();
    [
        root().sign(Typ::Keys, &key_set()).unwrap(),
        sign(Typ::Grant, &json!({"host": "web-01", "number": 1, "previous": "", "issued_at": NOW, "body": grant()})),
        sign(Typ::Head, &json!({"host": "web-01", "position": {"number": 0, "hash": ""}, "time": NOW})),
        sign(Typ::Delegation, &claims()),
    ]
}

#[test]
fn each_text_is_accepted_by_one_reader() {
    for text in texts() {
        assert_eq!(read_all(text), 1);
    }
}

#[test]
fn the_spare_bits_of_the_last_character_cannot_be_changed() {
    for text in texts() {
        let (start, last) = text.split_at(text.len() - 1);
        for other in ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['-', '_']).filter(|c| *last != c.to_string())
        {
            assert_eq!(read_all(&format!("{start}{other}")), 0);
        }
    }
}

#[test]
fn no_part_may_be_cut_off() {
    let text = signer(Role::Token).sign(Typ::Delegation, &claims()).unwrap();
    for end in 0..text.len() {
        assert_eq!(read_all(&text[..end]), 0, "cut at {end}");
    }
}

proptest! {
    #[test]
    fn any_single_changed_byte_is_refused(which in 0_usize..4, at: prop::sample::Index, to in 0_u8..0x80) {
        if let Some(changed) = change(&texts()[which], at, to) {
            prop_assert_eq!(read_all(&changed), 0);
        }
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,300}") {
        prop_assert_eq!(read_all(&text), 0);
        let _ = text.parse::<PublicKey>();
    }

    #[test]
    fn arbitrary_signed_payloads_never_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        let header = br#"{"alg":"EdDSA","typ":"delegation+jwt","kid":"token"}"#;
        read_all(&signer(Role::Token).sign_parts(header, &payload).unwrap());
    }
}
