//! A provider's own delegations, with whatever a provider may call things, and each algorithm.

mod common;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use aws_lc_rs::{rsa, signature::RsaKeyPair};
use base64ct::{Base64UrlUnpadded, Encoding};
use common::{NOW, PROVIDER, SESSION, STRANGER, key, keys, provider, set, subject_claims};
use serde_json::{Value, json};
use tether_oauth::{Algorithm, Delegated, Delegating, JwkSet};

fn delegating() -> Delegating {
    Delegating {
        audiences: vec!["central".to_owned()],
        typ: "at+jwt".to_owned(),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa],
        human_claim: "email".to_owned(),
        agent_member: "sub".to_owned(),
        client_claims: vec!["client_id".to_owned(), "azp".to_owned()],
        agents: [].into(),
        max_seconds: 300,
    }
}

fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "p-1"})
}

fn claims() -> Value {
    let mut claims = subject_claims();
    for (name, value) in [
        ("aud", json!("central")),
        ("exp", json!(NOW + 200)),
        ("jti", json!("d-1")),
        ("client_id", json!("triage")),
        ("act", json!({"sub": "triage"})),
        ("cnf", json!({"jkt": key(SESSION).thumbprint()})),
    ] {
        set(&mut claims, name, value);
    }
    claims
}

fn check_with(delegating: &Delegating, claims: &Value) -> Result<Delegated, String> {
    let token = key(PROVIDER).sign(&header(), claims);
    let session = key(SESSION).thumbprint();
    Delegated::verify(&token, &provider(), delegating, &keys(), &session, NOW).map_err(|refusal| refusal.code)
}

#[test]
fn one_token_says_both() {
    let mut claims = claims();
    set(&mut claims, "act", json!({"sub": "triage", "instance": "run-7", "act": {"sub": "planner"}}));
    let delegated = check_with(&delegating(), &claims).unwrap();
    assert_eq!((delegated.subject.human.as_str(), delegated.agent.as_str()), ("alice@example.org", "triage"));
    assert_eq!(delegated.instance.unwrap().as_str(), "run-7");
    assert_eq!((delegated.chain, delegated.jti.as_str()), (vec!["triage".to_owned(), "planner".to_owned()], "d-1"));
}

#[test]
fn a_provider_may_call_things_otherwise() {
    let other = Delegating {
        typ: "JWT".to_owned(),
        human_claim: "upn".to_owned(),
        agent_member: "client".to_owned(),
        client_claims: vec![],
        agents: [("0oa7".to_owned(), "triage".parse().unwrap())].into(),
        ..delegating()
    };
    let mut claims = claims();
    set(&mut claims, "upn", json!("bob@example.org"));
    set(&mut claims, "act", json!({"client": "0oa7", "sub": "somebody"}));
    set(&mut claims, "cid", json!("0oa7"));
    let verify = |claims: &Value, typ: &str| {
        let mut header = header();
        set(&mut header, "typ", json!(typ));
        let token = key(PROVIDER).sign(&header, claims);
        let session = key(SESSION).thumbprint();
        Delegated::verify(&token, &provider(), &other, &keys(), &session, NOW).map_err(|refusal| refusal.code)
    };
    let delegated = verify(&claims, "jwt").unwrap();
    assert_eq!((delegated.subject.human.as_str(), delegated.agent.as_str()), ("bob@example.org", "triage"));
    assert_eq!(delegated.chain, ["0oa7"]);
    assert_eq!(verify(&claims, "at+jwt").unwrap_err(), "delegated.typ");
    // cid is looked at whatever the settings say, and our name for the agent is none of the provider's.
    set(&mut claims, "cid", json!("triage"));
    assert_eq!(verify(&claims, "JWT").unwrap_err(), "delegated.client");
    set(&mut claims, "cid", Value::Null);
    set(&mut claims, "act", json!({"client": "triage"}));
    assert_eq!(verify(&claims, "JWT").unwrap_err(), "delegated.unknown_agent");
}

#[test]
fn the_life_and_the_depth_have_an_end() {
    for (exp, good) in [(290, true), (291, false)] {
        let mut claims = claims();
        set(&mut claims, "exp", json!(NOW + exp));
        assert_eq!(check_with(&delegating(), &claims).is_ok(), good, "{exp} s from now, issued 10 s ago");
    }
    for (depth, code) in [(4, None), (5, Some("delegated.act_depth")), (500, Some("delegated.act_depth"))] {
        let inner = (1..depth).fold(Value::Null, |inner, _| json!({"sub": "x", "act": inner}));
        let mut text = claims().to_string();
        let act = json!({"sub": "triage", "act": inner})
            .to_string()
            .replace(",\"act\":null", "")
            .replace("\"act\":null,", "");
        text = text.replacen("{\"sub\":\"triage\"}", &act, 1);
        let token = key(PROVIDER).sign_parts(header().to_string().as_bytes(), text.as_bytes());
        let session = key(SESSION).thumbprint();
        let found = Delegated::verify(&token, &provider(), &delegating(), &keys(), &session, NOW);
        let found = found.err().map(|refusal| refusal.code);
        // What is nested deeper still is no JSON that anybody reads.
        let malformed = depth > 100 && found.as_deref() == Some("delegated.malformed");
        assert!(found.as_deref() == code || malformed, "{depth}: {found:?}");
    }
}

#[test]
fn every_algorithm_that_was_allowed_and_no_other() {
    let random = SystemRandom::new();
    let encode = Base64UrlUnpadded::encode_string;
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let rsa = RsaKeyPair::generate(rsa::KeySize::Rsa2048).unwrap();
    let point = ec.public_key().as_ref();
    // SEQUENCE, INTEGER of 257 bytes: a zero, the modulus; then the exponent.
    let modulus = &rsa.public_key().as_ref()[9..265];
    let jwks = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "e", "x": encode(&point[1..33]), "y": encode(&point[33..])},
        {"kty": "RSA", "kid": "r", "n": encode(modulus), "e": "AQAB"},
    ]});
    let keys = JwkSet::parse(jwks.to_string().as_bytes()).unwrap();
    let signed = |alg: &str, kid: &str| {
        let header = json!({"alg": alg, "typ": "at+jwt", "kid": kid});
        format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims().to_string().as_bytes()))
    };
    let es = signed("ES256", "e");
    let es = format!("{es}.{}", encode(ec.sign(&random, es.as_bytes()).unwrap().as_ref()));
    let rs = signed("RS256", "r");
    let mut signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&aws_lc_rs::signature::RSA_PKCS1_SHA256, &random, rs.as_bytes(), &mut signature).unwrap();
    let rs = format!("{rs}.{}", encode(&signature));
    let verify = |token: &str, algorithms: Vec<Algorithm>| {
        let delegating = Delegating { algorithms, ..delegating() };
        let session = key(SESSION).thumbprint();
        Delegated::verify(token, &provider(), &delegating, &keys, &session, NOW)
            .map(drop)
            .map_err(|refusal| refusal.code)
    };
    for (token, own, other) in [(&es, Algorithm::Es256, Algorithm::Rs256), (&rs, Algorithm::Rs256, Algorithm::Es256)] {
        assert_eq!(verify(token, vec![own]), Ok(()));
        assert_eq!(verify(token, vec![other, Algorithm::EdDsa]).unwrap_err(), "delegated.algorithm");
    }
    let stranger = key(STRANGER).sign(&header(), &claims());
    assert_eq!(check_with(&delegating(), &claims()).map(drop), Ok(()));
    assert_eq!(verify(&stranger, vec![Algorithm::EdDsa]).unwrap_err(), "delegated.unknown_key");
}
