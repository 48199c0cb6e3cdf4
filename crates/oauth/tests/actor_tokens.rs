//! Bad assertions of agents and bad proofs of keys, each with its code; the unchanged ones are taken.

mod common;

use common::{
    AGENT, CENTRAL, NOW, PROVIDER, SESSION, STRANGER, assertion_claims, assertion_header, key, set, subject_claims,
    subject_header,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use tether_oauth::{Actor, Jwk, Proof, ProofRequest, Refusal, Registered, Standard};

const URL: &str = "https://central.example.org/oauth/token";

fn actor(token: &str) -> Result<Actor, String> {
    let agent = Registered { name: "triage".parse().unwrap(), key: Jwk::from(&key(AGENT)) };
    Actor::verify(token, &agent, &[CENTRAL, URL], &key(SESSION).thumbprint(), NOW).map_err(|refusal| refusal.code)
}

#[test]
fn an_assertion_is_the_agents_own_for_us_now_and_for_this_key() {
    let good = actor(&key(AGENT).sign(&assertion_header(), &assertion_claims())).unwrap();
    assert_eq!((good.agent.as_str(), good.instance.as_str(), good.jti.as_str()), ("triage", "run-7", "a-1"));
    let cases: Vec<(&str, Value, &str)> = vec![
        ("iss", Value::Null, "actor.iss"),
        ("iss", json!("other"), "actor.sub"),
        ("sub", Value::Null, "actor.sub"),
        ("sub", json!("other"), "actor.sub"),
        ("sub", json!("alice@example.org"), "actor.sub"),
        ("aud", Value::Null, "actor.aud"),
        ("aud", json!("https://other.example.org"), "actor.aud"),
        ("aud", json!([CENTRAL, "https://other.example.org"]), "actor.aud"),
        ("aud", json!([]), "actor.aud"),
        ("iat", Value::Null, "actor.iat"),
        ("iat", json!(NOW + 31), "actor.not_yet"),
        ("exp", Value::Null, "actor.exp"),
        ("exp", json!(NOW), "actor.expired"),
        ("exp", json!(NOW + 3600), "actor.too_long"),
        ("nbf", json!(NOW + 31), "actor.not_yet"),
        ("jti", Value::Null, "actor.jti"),
        ("jti", json!(""), "actor.jti"),
        ("jti", json!("x".repeat(129)), "actor.jti"),
        ("instance", Value::Null, "actor.instance"),
        ("instance", json!("a\u{0}b"), "actor.instance"),
        ("cnf", Value::Null, "actor.cnf"),
        ("cnf", json!({}), "actor.cnf"),
        ("cnf", json!({"jkt": key(STRANGER).thumbprint()}), "actor.cnf"),
        ("act", json!({"sub": "other"}), "actor.act"),
        ("may_act", json!({"sub": "other"}), "actor.act"),
    ];
    for (name, value, code) in cases {
        let mut claims = assertion_claims();
        set(&mut claims, name, value.clone());
        let refused = actor(&key(AGENT).sign(&assertion_header(), &claims)).unwrap_err();
        assert_eq!(refused, code, "{name} = {value}");
    }
    for (name, value, code) in [
        ("alg", json!("none"), "actor.algorithm"),
        ("alg", json!("HS256"), "actor.algorithm"),
        ("alg", json!("ES256"), "actor.key_kind"),
        ("typ", Value::Null, "actor.typ"),
        ("typ", json!("JWT"), "actor.typ"),
        ("typ", json!("delegation+jwt"), "actor.typ"),
        ("jwk", key(STRANGER).jwk(), "actor.header"),
    ] {
        let mut header = assertion_header();
        set(&mut header, name, value.clone());
        assert_eq!(actor(&key(AGENT).sign(&header, &assertion_claims())).unwrap_err(), code, "{name} = {value}");
    }
    assert_eq!(actor(&key(STRANGER).sign(&assertion_header(), &assertion_claims())).unwrap_err(), "actor.signature");
    let human = key(PROVIDER).sign(&subject_header(), &subject_claims());
    assert_eq!(actor(&human).unwrap_err(), "actor.typ", "a human's token is no agent's");
}

const REQUEST: ProofRequest<'_> = ProofRequest { method: "POST", url: URL, access_token: None };

fn prove(header: &Value, claims: &Value) -> Result<Proof, Refusal> {
    Proof::verify(&key(SESSION).sign(header, claims), REQUEST)
}

#[test]
fn a_proof_is_for_this_request_and_by_this_key() {
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": key(SESSION).jwk()});
    let claims = json!({"htm": "POST", "htu": URL, "iat": NOW, "jti": "p-1", "nonce": "n"});
    let good = prove(&header, &claims).unwrap();
    assert_eq!((good.jkt, good.nonce.as_str()), (key(SESSION).thumbprint(), "n"));
    let mut private = key(SESSION).jwk();
    set(&mut private, "d", json!("AAAA"));
    for (name, value, code) in [
        ("typ", Value::Null, "proof.typ"),
        ("typ", json!("JWT"), "proof.typ"),
        ("alg", json!("none"), "proof.algorithm"),
        ("alg", json!("HS256"), "proof.algorithm"),
        ("alg", json!("ES256"), "proof.key_kind"),
        ("jwk", Value::Null, "proof.jwk"),
        ("jwk", json!("x"), "proof.jwk"),
        ("jwk", private, "proof.jwk"),
        ("jwk", key(STRANGER).jwk(), "proof.signature"),
        ("crit", json!(["x"]), "proof.header"),
    ] {
        let mut header = header.clone();
        set(&mut header, name, value.clone());
        assert_eq!(prove(&header, &claims).unwrap_err().code, code, "{name} = {value}");
    }
    for (name, value, code) in [
        ("htm", Value::Null, "proof.htm"),
        ("htm", json!("GET"), "proof.htm"),
        ("htm", json!("post"), "proof.htm"),
        ("htu", Value::Null, "proof.htu"),
        ("htu", json!("https://central.example.org/v1/certificate"), "proof.htu"),
        ("htu", json!("http://central.example.org/oauth/token"), "proof.htu"),
        ("iat", Value::Null, "proof.iat"),
        ("jti", Value::Null, "proof.jti"),
        ("jti", json!("x".repeat(129)), "proof.jti"),
        ("ath", json!("AAAA"), "proof.ath"),
        ("nonce", Value::Null, "proof.no_nonce"),
        ("nonce", json!(7), "proof.nonce"),
    ] {
        let mut claims = claims.clone();
        set(&mut claims, name, value.clone());
        let refused = prove(&header, &claims).unwrap_err();
        assert_eq!(refused.code, code, "{name} = {value}");
        let wanted = if code == "proof.no_nonce" { Standard::UseDpopNonce } else { Standard::InvalidDpopProof };
        assert_eq!(refused.error, wanted, "{name} = {value}");
    }
}

#[test]
fn a_proof_with_a_token_is_for_that_token() {
    let with = |token| ProofRequest { access_token: token, ..REQUEST };
    let proof = |token| key(SESSION).proof(with(token), Some("n"), "j", NOW);
    assert!(Proof::verify(&proof(Some("a.b.c")), with(Some("a.b.c"))).is_ok());
    for (made, used) in [(Some("a.b.c"), Some("d.e.f")), (Some("a.b.c"), None), (None, Some("a.b.c"))] {
        assert_eq!(Proof::verify(&proof(made), with(used)).unwrap_err().code, "proof.ath");
    }
}

proptest! {
    #[test]
    fn any_text_is_refused_and_nothing_else(text in "[A-Za-z0-9_.-]{0,300}") {
        prop_assert!(actor(&text).is_err());
        prop_assert!(Proof::verify(&text, REQUEST).is_err());
    }

    #[test]
    fn no_byte_of_an_assertion_can_be_changed(at in 0usize..600, to in proptest::char::range('A', 'z')) {
        let token = key(AGENT).sign(&assertion_header(), &assertion_claims());
        let mut letters: Vec<char> = token.chars().collect();
        let at = at % letters.len();
        prop_assume!(letters[at] != to);
        letters[at] = to;
        let changed: String = letters.into_iter().collect();
        prop_assert!(actor(&changed).is_err());
    }
}
