//! Bad security event tokens, each with its code; the unchanged one is taken.

mod common;

use common::{ISSUER, NOW, PROVIDER, STRANGER, key, keys, provider, set, subject_claims, subject_header};
use proptest::prelude::*;
use serde_json::{Value, json};
use tether_oauth::{EventKind, SET_SECONDS, SecurityEvent, Subject, SubjectId, TokenType, Transmitter};

const AUDIENCE: &str = "https://central.example.org";
const REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";

fn check(token: &str) -> Result<SecurityEvent, String> {
    let from = Transmitter { issuer: ISSUER.to_owned(), audience: AUDIENCE.to_owned() };
    SecurityEvent::verify(token, &from, &keys(), NOW).map_err(|refusal| refusal.code)
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-1"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": NOW - 5, "jti": "e-1",
        "sub_id": {"format": "iss_sub", "iss": ISSUER, "sub": "u-1"},
        "events": {REVOKED: {"event_timestamp": NOW - 6}},
    })
}

fn sign(header: &Value, claims: &Value) -> String {
    key(PROVIDER).sign(header, claims)
}

fn with(name: &str, value: Value) -> Result<SecurityEvent, String> {
    let mut claims = claims();
    set(&mut claims, name, value);
    check(&sign(&header(), &claims))
}

fn alice() -> SubjectId {
    SubjectId::IssSub { iss: ISSUER.to_owned(), sub: "u-1".to_owned() }
}

#[test]
fn the_unchanged_event_is_taken() {
    let taken = check(&sign(&header(), &claims())).unwrap();
    assert_eq!((taken.jti.as_str(), taken.issued_at), ("e-1", NOW - 5));
    assert_eq!(taken.events.len(), 1);
    assert_eq!(
        (&taken.events[0].kind, taken.events[0].subjects.as_slice()),
        (&EventKind::SessionRevoked, &[alice()][..])
    );
    for (name, value) in [
        ("aud", json!([AUDIENCE, "another"])),
        // Neither is looked at: an old `exp` does not make a revocation void.
        ("exp", json!(NOW - 100)),
        ("sub", json!("u-1")),
        ("iat", json!(NOW - SET_SECONDS)),
        ("iat", json!(NOW + 30)),
    ] {
        assert!(with(name, value.clone()).is_ok(), "{name} = {value}");
    }
    let mut typ = header();
    set(&mut typ, "typ", json!("application/secevent+jwt"));
    assert!(check(&sign(&typ, &claims())).is_ok());
}

#[test]
fn subjects_are_read_in_every_form() {
    let mail = SubjectId::Email("alice@example.org".to_owned());
    let email = json!({"format": "email", "email": "alice@example.org"});
    let iss_sub = json!({"format": "iss_sub", "iss": ISSUER, "sub": "u-1"});
    let cases = [
        (email.clone(), vec![mail.clone()]),
        (iss_sub.clone(), vec![alice()]),
        (json!({"subject_type": "iss-sub", "iss": ISSUER, "sub": "u-1"}), vec![alice()]),
        (json!({"format": "complex", "user": iss_sub, "device": {"format": "opaque", "id": "d"}}), vec![alice()]),
        (json!({"user": email, "session": {"format": "opaque", "id": "s"}}), vec![mail.clone()]),
        (json!({"format": "aliases", "identifiers": [email, iss_sub]}), vec![mail.clone(), alice()]),
        (json!({"format": "complex", "session": email}), vec![SubjectId::Other("complex".to_owned())]),
        (json!({"format": "opaque", "id": "x"}), vec![SubjectId::Other("opaque".to_owned())]),
    ];
    for (subject, wanted) in cases {
        assert_eq!(with("sub_id", subject.clone()).unwrap().events[0].subjects, wanted, "{subject}");
        let mut inside = claims();
        set(&mut inside, "sub_id", Value::Null);
        set(&mut inside, "events", json!({REVOKED: {"subject": subject}}));
        assert_eq!(check(&sign(&header(), &inside)).unwrap().events[0].subjects, wanted, "inside: {subject}");
    }
    // Both places at once: all that are named.
    let both =
        with("events", json!({REVOKED: {"subject": {"format": "email", "email": "alice@example.org"}}})).unwrap();
    assert_eq!(both.events[0].subjects, [alice(), mail]);
}

#[test]
fn events_are_told_apart() {
    let kind = |uri: &str| with("events", json!({uri: {}})).unwrap().events[0].kind.clone();
    let base = "https://schemas.openid.net/secevent";
    for (uri, wanted) in [
        ("caep/event-type/session-revoked", EventKind::SessionRevoked),
        ("risc/event-type/sessions-revoked", EventKind::SessionRevoked),
        ("caep/event-type/credential-change", EventKind::CredentialChange),
        ("risc/event-type/credential-compromise", EventKind::CredentialCompromise),
        ("risc/event-type/account-disabled", EventKind::AccountDisabled),
        ("risc/event-type/account-purged", EventKind::AccountPurged),
        ("ssf/event-type/verification", EventKind::Verification),
        ("risc/event-type/verification", EventKind::Verification),
    ] {
        assert_eq!(kind(&format!("{base}/{uri}")), wanted, "{uri}");
    }
    for other in ["https://example.org/secevent/caep/event-type/session-revoked", "session-revoked", ""] {
        assert_eq!(kind(other), EventKind::Other(other.to_owned()));
    }
    let changed = |change: &str| {
        let payload = json!({format!("{base}/caep/event-type/credential-change"): {"change_type": change}});
        with("events", payload).unwrap().events[0].kind.clone()
    };
    assert_eq!(changed("revoke"), EventKind::CredentialChange);
    assert!(matches!(changed("create"), EventKind::Other(_)));
    let mut about_nobody = claims();
    set(&mut about_nobody, "sub_id", Value::Null);
    set(&mut about_nobody, "events", json!({format!("{base}/ssf/event-type/verification"): {"state": "s"}}));
    assert_eq!(check(&sign(&header(), &about_nobody)).unwrap().events[0].kind, EventKind::Verification);
}

#[test]
fn every_claim_missing_or_wrong_has_its_code() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("iss", Value::Null, "set.iss"),
        ("iss", json!("https://evil.example.org"), "set.iss"),
        ("iss", json!(format!("{ISSUER}/")), "set.iss"),
        ("aud", Value::Null, "set.aud"),
        ("aud", json!("tether"), "set.aud"),
        ("aud", json!([]), "set.aud"),
        ("aud", json!([7]), "set.aud"),
        ("iat", Value::Null, "set.iat"),
        ("iat", json!("now"), "set.iat"),
        ("iat", json!(NOW + 31), "set.not_yet"),
        ("iat", json!(NOW - SET_SECONDS - 1), "set.too_old"),
        ("jti", Value::Null, "set.jti"),
        ("jti", json!(""), "set.jti"),
        ("jti", json!("x".repeat(257)), "set.jti"),
        ("events", Value::Null, "set.events"),
        ("events", json!({}), "set.events"),
        ("events", json!([REVOKED]), "set.events"),
        ("events", json!({REVOKED: true}), "set.events"),
        ("sub_id", Value::Null, "set.subject"),
        ("sub_id", json!("u-1"), "set.subject"),
        ("sub_id", json!({}), "set.subject"),
        ("sub_id", json!({"format": "email"}), "set.subject"),
        ("sub_id", json!({"format": "iss_sub", "iss": ISSUER}), "set.subject"),
        ("sub_id", json!({"format": "aliases", "identifiers": []}), "set.subject"),
    ];
    for (name, value, code) in cases {
        assert_eq!(with(name, value.clone()).unwrap_err(), code, "{name} = {value}");
    }
}

#[test]
fn headers_cannot_choose_how_they_are_checked() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("typ", Value::Null, "set.typ"),
        ("typ", json!("JWT"), "set.typ"),
        ("typ", json!("id+jwt"), "set.typ"),
        ("typ", json!("logout+jwt"), "set.typ"),
        ("typ", json!("delegation+jwt"), "set.typ"),
        ("alg", json!("none"), "set.algorithm"),
        ("alg", json!("HS256"), "set.algorithm"),
        ("alg", Value::Null, "set.algorithm"),
        ("alg", json!("RS256"), "set.unknown_key"),
        ("alg", json!("ES256"), "set.unknown_key"),
        ("kid", json!("p-2"), "set.unknown_key"),
        ("jwk", key(STRANGER).jwk(), "set.header"),
        ("jku", json!("https://evil.example.org/jwks"), "set.header"),
        ("x5u", json!("https://evil.example.org"), "set.header"),
        ("crit", json!(["typ"]), "set.header"),
    ];
    for (name, value, code) in cases {
        let mut header = header();
        set(&mut header, name, value.clone());
        assert_eq!(check(&sign(&header, &claims())).unwrap_err(), code, "{name} = {value}");
    }
    assert_eq!(check(&key(STRANGER).sign(&header(), &claims())).unwrap_err(), "set.signature");
    for bad in ["", ".", "..", "a.b.c", "e30.e30."] {
        assert!(check(bad).is_err(), "{bad:?}");
    }
}

/// The same keys sign both kinds.
#[test]
fn a_sign_in_is_no_event_and_the_reverse() {
    let id_token = sign(&subject_header(), &subject_claims());
    assert!(Subject::verify(&id_token, TokenType::Id, &provider(), &keys(), NOW).is_ok());
    assert_eq!(check(&id_token).unwrap_err(), "set.typ");
    // One that is both, but for the type.
    let mut both = subject_claims();
    for (name, value) in claims().as_object().unwrap() {
        set(&mut both, name, value.clone());
    }
    set(&mut both, "aud", json!([AUDIENCE, "tether"]));
    set(&mut both, "azp", json!("tether"));
    let as_event = sign(&header(), &both);
    assert!(check(&as_event).is_ok());
    for kind in [TokenType::Id, TokenType::Access] {
        assert_eq!(Subject::verify(&as_event, kind, &provider(), &keys(), NOW).unwrap_err().code, "subject.typ");
    }
    assert_eq!(check(&sign(&subject_header(), &both)).unwrap_err(), "set.typ");
}

proptest! {
    /// The body of the fuzz target `caep_set`, for a short while.
    #[test]
    fn any_claims_that_are_signed_are_read_or_refused(payload in "\\PC{0,200}", events in "\\PC{0,60}") {
        let token = key(PROVIDER).sign(&header(), &json!({"iss": payload, "events": events}));
        prop_assert!(check(&token).is_err());
        prop_assert!(check(&payload).is_err());
    }

    #[test]
    fn no_byte_of_an_event_can_be_changed(at in 0usize..900, to in proptest::char::range('A', 'z')) {
        let token = sign(&header(), &claims());
        let mut letters: Vec<char> = token.chars().collect();
        let at = at % letters.len();
        prop_assume!(letters[at] != to);
        letters[at] = to;
        let changed: String = letters.into_iter().collect();
        prop_assert!(check(&changed).is_err());
    }
}
