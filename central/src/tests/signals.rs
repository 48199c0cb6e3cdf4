//! Events of providers: what they end, and which are refused.

use super::world::{Got, World, next_second};
use crate::clock;
use serde_json::{Value, json};
use tether_oauth::issue::PrivateKey;

const ALICE: &str = "alice@example.org";
const BOB: &str = "bob@example.org";
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type";

fn email(email: &str) -> Value {
    json!({"format": "email", "email": email})
}

fn set(world: &World, kind: &str, subject: Value) -> Value {
    let jti = tether_centrallink::random::name(16).unwrap();
    json!({
        "iss": world.issuer, "aud": world.url, "iat": clock::now(), "jti": jti, "sub_id": subject,
        "events": {kind: {"event_timestamp": clock::now()}},
    })
}

fn sign(world: &World, claims: &Value) -> String {
    world.provider.sign(&json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-1"}), claims)
}

fn push(world: &World, token: &str) -> Got {
    world.ask("POST", "/ssf/events", &[("content-type", "application/secevent+jwt")], Some(token.as_bytes()))
}

fn send(world: &World, kind: &str, subject: Value) -> Got {
    push(world, &sign(world, &set(world, kind, subject)))
}

fn refused(got: &Got) -> (u16, &str, &str) {
    (got.status, got.body["err"].as_str().unwrap_or_default(), got.body["tether_code"].as_str().unwrap_or_default())
}

#[test]
fn an_event_ends_what_was_issued_and_asks_for_a_new_sign_in() {
    let world = World::new();
    let bob = world.exchange(BOB, 5).unwrap();
    world.grant(&bob);
    let iss_sub = |sub: &str| json!({"format": "iss_sub", "iss": world.issuer, "sub": sub});
    let complex = json!({"format": "complex", "user": email(ALICE), "session": {"format": "opaque", "id": "s"}});
    for (kind, subject) in [
        (format!("{CAEP}/session-revoked"), email(ALICE)),
        (format!("{CAEP}/session-revoked"), iss_sub("u-alice@example.org")),
        (format!("{RISC}/account-disabled"), complex),
        (format!("{RISC}/credential-compromise"), email("Alice@Example.org")),
        (format!("{CAEP}/credential-change"), json!({"format": "aliases", "identifiers": [email(ALICE)]})),
    ] {
        let sign_in = world.id_token(&world.claims(ALICE, &["analysts"], 0));
        let token = world.exchange_token(&sign_in).unwrap_or_else(|code| panic!("{kind}: {code}"));
        world.grant(&token);
        let said = world.said();
        let got = send(&world, &kind, subject.clone());
        assert_eq!((got.status, &got.body), (202, &Value::Null), "{kind} {subject}");
        assert_eq!(world.said(), said + 1, "{kind} {subject}: the host is told");
        assert_eq!(world.certificate(&token), "token.revoked", "{kind}");
        assert_eq!(world.exchange_token(&sign_in), Err("human.revoked".to_owned()), "{kind}");
        next_second();
        assert!(world.exchange(ALICE, 0).is_ok(), "{kind}: who signs in again is let in");
        assert!(world.live().iter().any(|one| one.human.as_str() == BOB), "{kind}: a bystander");
        world.write(|act| {
            for mut one in act.delegations(&crate::store::Which::default(), 100)? {
                if one.human.as_str() == ALICE && one.revoked.is_none() {
                    one.revoked = Some((1, "by the test".to_owned()));
                    act.put_delegation(&one)?;
                }
            }
            Ok(())
        });
    }
    let taken = world.trail("signal.taken");
    assert_eq!(taken.len(), 5);
    assert_eq!(taken[0].event.ids.human.id(), Some(ALICE));
    assert_eq!(world.trail("revoked")[0].event.details["by"], format!("signal:{}", world.issuer));
}

#[test]
fn an_event_counts_once() {
    let world = World::new();
    world.exchange(ALICE, 5).unwrap();
    let event = sign(&world, &set(&world, &format!("{CAEP}/session-revoked"), email(ALICE)));
    assert_eq!(push(&world, &event).status, 202);
    assert_eq!(world.live(), []);
    next_second();
    let fresh = world.id_token(&world.claims(ALICE, &["analysts"], 0));
    world.exchange_token(&fresh).unwrap();
    assert_eq!(push(&world, &event).status, 202, "a repeated one is no error");
    assert_eq!(world.live().len(), 1, "and has no effect");
    assert!(world.exchange_token(&fresh).is_ok());
    assert_eq!(world.trail("signal.repeated").len(), 1);
    assert_eq!(world.trail("revoked").len(), 1);
}

#[test]
fn events_without_effect_are_acknowledged() {
    let world = World::new();
    world.exchange(ALICE, 5).unwrap();
    let about_nobody = json!({"format": "opaque", "id": "stream-1"});
    for (kind, subject) in [
        ("https://schemas.openid.net/secevent/ssf/event-type/verification".to_owned(), about_nobody.clone()),
        (format!("{CAEP}/device-compliance-change"), email(ALICE)),
        (format!("{CAEP}/session-revoked"), about_nobody),
        // Of another provider: not the sender's to say.
        (format!("{CAEP}/session-revoked"), email("alice@example.net")),
        (
            format!("{CAEP}/session-revoked"),
            json!({"format": "iss_sub", "iss": "https://other", "sub": "u-alice@example.org"}),
        ),
    ] {
        assert_eq!(send(&world, &kind, subject.clone()).status, 202, "{kind} {subject}");
        assert_eq!(world.live().len(), 1, "{kind} {subject}");
    }
    assert_eq!(world.trail("signal.taken").len(), 5, "each is on record");
    assert_eq!(world.trail("revoked").len(), 0);
}

/// The provider has given one human another name: its own name for them reaches what was issued under either.
#[test]
fn a_human_of_two_names_is_one_to_the_provider() {
    let world = World::new();
    world.exchange(ALICE, 5).unwrap();
    let mut claims = world.claims("alice.smith@example.org", &["analysts"], 5);
    claims["sub"] = json!("u-alice@example.org");
    world.exchange_token(&world.id_token(&claims)).unwrap();
    world.exchange(BOB, 5).unwrap();
    let subject = json!({"format": "iss_sub", "iss": world.issuer, "sub": "u-alice@example.org"});
    assert_eq!(send(&world, &format!("{CAEP}/session-revoked"), subject).status, 202);
    assert_eq!(world.live().iter().map(|one| one.human.as_str()).collect::<Vec<_>>(), [BOB]);
}

/// A stolen sign-in of somebody who was never seen here.
#[test]
fn somebody_never_seen_is_known_by_the_providers_name() {
    let world = World::new();
    let stolen = world.id_token(&world.claims("dora@example.org", &["analysts"], 5));
    let subject = json!({"format": "iss_sub", "iss": world.issuer, "sub": "u-dora@example.org"});
    assert_eq!(send(&world, &format!("{CAEP}/session-revoked"), subject).status, 202);
    assert_eq!(world.exchange_token(&stolen), Err("human.revoked".to_owned()));
    assert!(world.exchange(ALICE, 5).is_ok(), "nobody else");
    next_second();
    assert!(world.exchange("dora@example.org", 0).is_ok());
}

#[test]
fn every_bad_event_has_its_error_and_no_effect() {
    let world = World::new();
    world.exchange(ALICE, 5).unwrap();
    let good = set(&world, &format!("{CAEP}/session-revoked"), email(ALICE));
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign(&world, &claims)
    };
    let head = |header: Value| world.provider.sign(&header, &good);
    let stranger = PrivateKey::from_seed(&[7; 32]).unwrap();
    let cases = [
        (with("iss", json!("https://evil.example.org")), "invalid_issuer", "set.unknown_issuer"),
        (with("aud", json!("tether")), "invalid_audience", "set.aud"),
        (with("aud", json!([])), "invalid_audience", "set.aud"),
        (with("iat", json!(clock::now() + 3600)), "invalid_request", "set.not_yet"),
        (with("iat", json!(1)), "invalid_request", "set.too_old"),
        (with("jti", json!("")), "invalid_request", "set.jti"),
        (with("events", json!({})), "invalid_request", "set.events"),
        (with("sub_id", json!({})), "invalid_request", "set.subject"),
        (head(json!({"alg": "EdDSA", "typ": "JWT", "kid": "p-1"})), "invalid_request", "set.typ"),
        (head(json!({"alg": "none", "typ": "secevent+jwt"})), "invalid_request", "set.algorithm"),
        (head(json!({"alg": "HS256", "typ": "secevent+jwt", "kid": "p-1"})), "invalid_request", "set.algorithm"),
        (head(json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-2"})), "invalid_key", "set.unknown_key"),
        (head(json!({"alg": "ES256", "typ": "secevent+jwt", "kid": "p-1"})), "invalid_key", "set.unknown_key"),
        (
            head(json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-1", "jwk": stranger.jwk()})),
            "invalid_request",
            "set.header",
        ),
        (
            stranger.sign(&json!({"alg": "EdDSA", "typ": "secevent+jwt", "kid": "p-1"}), &good),
            "invalid_key",
            "set.signature",
        ),
        (world.id_token(&world.claims(ALICE, &["analysts"], 0)), "invalid_request", "set.typ"),
        ("nonsense".to_owned(), "invalid_request", "set.malformed"),
        (String::new(), "invalid_request", "set.malformed"),
    ];
    for (token, error, code) in &cases {
        assert_eq!(refused(&push(&world, token)), (400, *error, *code), "{token}");
    }
    let token = sign(&world, &good);
    let form = world.ask("POST", "/ssf/events", &[("content-type", "application/json")], Some(token.as_bytes()));
    assert_eq!(refused(&form), (400, "invalid_request", "request.content_type"));
    assert_eq!(world.live().len(), 1);
    assert_eq!(world.trail("signal.refused").len(), cases.len());
    // The reverse: an event is no sign-in and lets nobody administer.
    let mut both = world.claims("carol@example.org", &["admins", "analysts"], 0);
    for (name, value) in good.as_object().unwrap() {
        both[name] = value.clone();
    }
    both["aud"] = json!([world.url, super::world::CLIENT]);
    both["azp"] = json!(super::world::CLIENT);
    let event = sign(&world, &both);
    assert_eq!(world.exchange_token(&event), Err("subject.typ".to_owned()));
    let bearer = format!("Bearer {event}");
    assert_eq!(world.ask("GET", "/v1/admin/agents", &[("authorization", &bearer)], None).status, 401);
    assert_eq!(push(&world, &event).status, 202, "as an event it is good");
    assert_eq!(world.live(), []);
}

#[test]
fn a_sender_may_have_to_show_a_header() {
    let hash = crate::app::hash("Bearer of-the-stream");
    let world = World::with_signals(&format!("audience = \"urn:ours\"\nauthorization_sha256 = \"{hash}\""));
    world.exchange(ALICE, 5).unwrap();
    let mut claims = set(&world, &format!("{CAEP}/session-revoked"), email(ALICE));
    claims["aud"] = json!("urn:ours");
    let token = sign(&world, &claims);
    let push = |authorization: Option<&str>| {
        let mut headers = vec![("content-type", "application/secevent+jwt")];
        headers.extend(authorization.map(|value| ("authorization", value)));
        world.ask("POST", "/ssf/events", &headers, Some(token.as_bytes()))
    };
    for bad in [None, Some("Bearer another")] {
        assert_eq!(refused(&push(bad)), (400, "authentication_failed", "set.authorization"));
        assert_eq!(world.live().len(), 1);
    }
    assert_eq!(push(Some("Bearer of-the-stream")).status, 202);
    assert_eq!(world.live(), []);
}
