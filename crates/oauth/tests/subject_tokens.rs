//! Bad subject tokens, each with its code; the unchanged one is taken.

mod common;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64ct::{Base64UrlUnpadded, Encoding};
use common::{ISSUER, NOW, PROVIDER, STRANGER, key, keys, named, provider, set, subject_claims, subject_header};
use serde_json::{Value, json};
use tether_oauth::{Jwk, JwkError, JwkSet, Provider, Subject, TokenType, claimed_issuer, is_multi_factor};

fn check(token: &str) -> Result<Subject, String> {
    Subject::verify(token, TokenType::Id, &provider(), &keys(), NOW).map_err(|refusal| refusal.code)
}

fn sign(header: &Value, claims: &Value) -> String {
    key(PROVIDER).sign(header, claims)
}

#[test]
fn the_unchanged_token_is_taken() {
    let subject = check(&sign(&subject_header(), &subject_claims())).unwrap();
    assert_eq!(subject.human.as_str(), "alice@example.org");
    assert_eq!((subject.auth_time, subject.amr.len()), (NOW - 60, 2));
    assert!(subject.groups.contains("analysts"));
    // What OpenID Connect leaves open.
    for (name, value) in [
        ("aud", json!(["tether"])),
        ("amr", Value::Null),
        ("acr", Value::Null),
        ("groups", Value::Null),
        ("azp", json!("tether-cli")),
        ("nbf", json!(NOW - 10)),
    ] {
        let mut claims = subject_claims();
        set(&mut claims, name, value.clone());
        assert!(check(&sign(&subject_header(), &claims)).is_ok(), "{name} = {value}");
    }
}

#[test]
fn every_claim_missing_or_wrong_has_its_code() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("iss", Value::Null, "subject.iss"),
        ("iss", json!("https://evil.example.org"), "subject.iss"),
        ("iss", json!(format!("{ISSUER}/")), "subject.iss"),
        ("iss", json!(7), "subject.iss"),
        ("sub", Value::Null, "subject.sub"),
        ("sub", json!(""), "subject.sub"),
        ("aud", Value::Null, "subject.aud"),
        ("aud", json!("another"), "subject.aud"),
        ("aud", json!([]), "subject.aud"),
        ("aud", json!(["another", "tether"]), "subject.azp"),
        ("aud", json!(["tether", 7]), "subject.aud"),
        ("azp", json!("another"), "subject.azp"),
        ("exp", Value::Null, "subject.exp"),
        ("exp", json!(NOW), "subject.expired"),
        ("exp", json!(NOW - 3600), "subject.expired"),
        ("exp", json!("1900000000"), "subject.exp"),
        ("exp", json!(1.9e9), "subject.exp"),
        ("exp", json!(-1), "subject.exp"),
        ("iat", Value::Null, "subject.iat"),
        ("iat", json!(NOW + 31), "subject.not_yet"),
        ("nbf", json!(NOW + 31), "subject.not_yet"),
        ("nbf", json!("soon"), "subject.nbf"),
        ("auth_time", Value::Null, "subject.auth_time"),
        ("auth_time", json!("yesterday"), "subject.auth_time"),
        ("auth_time", json!(NOW + 3600), "subject.auth_time"),
        ("amr", json!("mfa"), "subject.amr"),
        ("amr", json!([["mfa"]]), "subject.amr"),
        ("acr", json!(3), "subject.acr"),
        ("email", Value::Null, "subject.email"),
        ("email", json!("alice"), "subject.namespace"),
        ("email", json!("alice@evil.example.org"), "subject.namespace"),
        ("email", json!("alice@example.org@example.org"), "subject.namespace"),
        ("email", json!("alice\u{202e}@example.org"), "subject.human"),
        ("email_verified", Value::Null, "subject.email_verified"),
        ("email_verified", json!(false), "subject.email_verified"),
        ("email_verified", json!("true"), "subject.email_verified"),
        ("groups", json!("analysts"), "subject.groups"),
        ("act", json!({"sub": "triage"}), "subject.act"),
        ("act", json!({"sub": "a", "act": {"sub": "b"}}), "subject.act"),
        ("act", json!({}), "subject.act"),
        ("may_act", json!("triage"), "subject.may_act"),
        ("may_act", json!({"iss": "x"}), "subject.may_act"),
        ("cnf", json!({"x5t#S256": "abc"}), "subject.cnf"),
    ];
    assert!(cases.len() >= 40);
    for (name, value, code) in cases {
        let mut claims = subject_claims();
        set(&mut claims, name, value.clone());
        assert_eq!(check(&sign(&subject_header(), &claims)).unwrap_err(), code, "{name} = {value}");
    }
}

#[test]
fn headers_cannot_choose_how_they_are_checked() {
    let cases: Vec<(&str, Value, &str)> = vec![
        ("alg", json!("none"), "subject.algorithm"),
        ("alg", json!("None"), "subject.algorithm"),
        ("alg", Value::Null, "subject.algorithm"),
        ("alg", json!("HS256"), "subject.algorithm"),
        ("alg", json!("RS384"), "subject.algorithm"),
        ("alg", json!("PS256"), "subject.algorithm"),
        ("alg", json!("RS256"), "subject.unknown_key"),
        ("alg", json!("ES256"), "subject.unknown_key"),
        ("kid", json!("p-2"), "subject.unknown_key"),
        ("kid", json!("../../dev/null"), "subject.unknown_key"),
        ("jwk", key(STRANGER).jwk(), "subject.header"),
        ("jku", json!("https://evil.example.org/jwks"), "subject.header"),
        ("x5u", json!("https://evil.example.org"), "subject.header"),
        ("x5c", json!([]), "subject.header"),
        ("crit", json!(["exp"]), "subject.header"),
        ("b64", json!(false), "subject.header"),
        ("zip", json!("DEF"), "subject.header"),
        ("typ", json!("delegation+jwt"), "subject.typ"),
        ("typ", json!("at+jwt"), "subject.typ"),
        ("typ", json!("client-authentication+jwt"), "subject.typ"),
        ("typ", json!("dpop+jwt"), "subject.typ"),
        ("typ", json!("logout+jwt"), "subject.typ"),
    ];
    for (name, value, code) in cases {
        let mut header = subject_header();
        set(&mut header, name, value.clone());
        assert_eq!(check(&sign(&header, &subject_claims())).unwrap_err(), code, "{name} = {value}");
    }
    let mut header = subject_header();
    set(&mut header, "typ", json!("at+jwt"));
    let token = sign(&header, &subject_claims());
    assert!(Subject::verify(&token, TokenType::Access, &provider(), &keys(), NOW).is_ok());
    let token = sign(&subject_header(), &subject_claims());
    let refused = Subject::verify(&token, TokenType::Access, &provider(), &keys(), NOW).unwrap_err();
    assert_eq!(refused.code, "subject.typ", "an ID token is no access token");
}

#[test]
fn only_the_providers_own_signature_counts() {
    let token = sign(&subject_header(), &subject_claims());
    assert_eq!(check(&key(STRANGER).sign(&subject_header(), &subject_claims())).unwrap_err(), "subject.signature");
    // A public key as the secret of an HMAC.
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "p-1"});
    let encode = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let signed = format!("{}.{}", encode(&header), encode(&subject_claims()));
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key(PROVIDER).public()), signed.as_bytes());
    let forged = format!("{signed}.{}", Base64UrlUnpadded::encode_string(mac.as_ref()));
    assert_eq!(check(&forged).unwrap_err(), "subject.algorithm");
    // Claims of one token under the signature of another.
    let mut other = subject_claims();
    set(&mut other, "email", json!("bob@example.org"));
    let other = sign(&subject_header(), &other);
    let (head, signature) = (token.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    assert_eq!(check(&format!("{head}.{signature}")).unwrap_err(), "subject.signature");
    for bad in [
        String::new(),
        "a".to_owned(),
        "a.b".to_owned(),
        format!("{token}."),
        format!("{head}."),
        format!("{token}=="),
        format!(" {token}"),
        format!("{head}.{}", "A".repeat(20_000)),
    ] {
        let code = check(&bad).unwrap_err();
        assert!(["subject.malformed", "subject.signature"].contains(&code.as_str()), "{bad:.40}: {code}");
    }
}

#[test]
fn a_claim_that_stands_twice_is_no_claim() {
    let text = subject_claims().to_string();
    let twice = text.replacen("{", "{\"email\":\"bob@example.org\",", 1);
    let encode = |text: &str| Base64UrlUnpadded::encode_string(text.as_bytes());
    let signed = format!("{}.{}", encode(&subject_header().to_string()), encode(&twice));
    assert_eq!(check(&format!("{signed}.AAAA")).unwrap_err(), "subject.malformed");
}

#[test]
fn the_class_of_the_sign_in_can_be_demanded() {
    let strict = Provider { acr: vec!["urn:mfa".to_owned()], ..provider() };
    let verify = |claims: &Value| {
        let token = sign(&subject_header(), claims);
        Subject::verify(&token, TokenType::Id, &strict, &keys(), NOW).map_err(|refusal| refusal.code)
    };
    assert!(verify(&subject_claims()).is_ok());
    for value in [Value::Null, json!("urn:single"), json!("URN:MFA")] {
        let mut claims = subject_claims();
        set(&mut claims, "acr", value.clone());
        assert_eq!(verify(&claims).unwrap_err(), "subject.acr", "{value}");
    }
}

#[test]
fn a_provider_may_have_words_of_its_own_for_factors() {
    let words = [("password".to_owned(), "pwd".to_owned())].into();
    let own = Provider { amr: words, ..provider() };
    let mut claims = subject_claims();
    set(&mut claims, "amr", json!(["password", "otp"]));
    let verify = |provider: &Provider| {
        let token = sign(&subject_header(), &claims);
        Subject::verify(&token, TokenType::Id, provider, &keys(), NOW).unwrap().amr
    };
    assert_eq!(verify(&own), ["pwd", "otp"]);
    assert!(is_multi_factor(&verify(&own)) && !is_multi_factor(&verify(&provider())));
}

#[test]
fn a_key_is_of_one_kind() {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let encode = Base64UrlUnpadded::encode_string;
    let jwk = json!({"kty": "EC", "crv": "P-256", "kid": "e", "x": encode(&point[1..33]), "y": encode(&point[33..])});
    let set_of = |jwks: Value| JwkSet::parse(json!({ "keys": jwks }).to_string().as_bytes()).unwrap();
    let keys = set_of(json!([named(PROVIDER, "p-1"), jwk]));
    let text = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    let signed = format!("{}.{}", text(&json!({"alg": "ES256", "kid": "e"})), text(&subject_claims()));
    let signature = pair.sign(&random, signed.as_bytes()).unwrap();
    let token = format!("{signed}.{}", encode(signature.as_ref()));
    assert!(Subject::verify(&token, TokenType::Id, &provider(), &keys, NOW).is_ok());
    // The same name, another kind.
    let token = key(PROVIDER).sign(&json!({"alg": "EdDSA", "kid": "e"}), &subject_claims());
    let refused = Subject::verify(&token, TokenType::Id, &provider(), &keys, NOW).unwrap_err();
    assert_eq!(refused.code, "subject.unknown_key");
}

#[test]
fn weak_private_and_strange_keys_are_not_taken() {
    let modulus = |bytes: usize| Base64UrlUnpadded::encode_string(&vec![0xff; bytes]);
    let rsa = |n: String, e: &str| Jwk::parse(&json!({"kty": "RSA", "n": n, "e": e})).map(drop);
    assert_eq!(rsa(modulus(256), "AQAB"), Ok(()));
    assert_eq!(rsa(modulus(128), "AQAB"), Err(JwkError::Weak));
    assert_eq!(rsa(modulus(255), "AQAB"), Err(JwkError::Weak));
    assert_eq!(rsa(modulus(2048), "AQAB"), Err(JwkError::Weak));
    assert_eq!(rsa(modulus(256), "Aw"), Err(JwkError::Weak));
    let padded = Base64UrlUnpadded::encode_string(&[vec![0; 128], vec![0xff; 128]].concat());
    assert_eq!(rsa(padded, "AQAB"), Err(JwkError::Weak), "leading zeros are no bits");
    let mut private = key(PROVIDER).jwk();
    set(&mut private, "d", json!("AAAA"));
    assert_eq!(Jwk::parse(&private).unwrap_err(), JwkError::Private);
    for (bad, error) in [
        (json!({"kty": "oct", "k": "AAAA"}), JwkError::Private),
        (json!({"kty": "oct"}), JwkError::Kind),
        (json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}), JwkError::Kind),
        (json!({"kty": "OKP", "crv": "X25519", "x": "AA"}), JwkError::Kind),
        (json!({}), JwkError::Kind),
    ] {
        assert_eq!(Jwk::parse(&bad).unwrap_err(), error, "{bad}");
    }
    let mut other_use = key(PROVIDER).jwk();
    set(&mut other_use, "use", json!("enc"));
    assert!(matches!(Jwk::parse(&other_use), Err(JwkError::Malformed(_))));
}

#[test]
fn the_issuer_is_read_before_anything_is_believed() {
    let token = sign(&subject_header(), &subject_claims());
    assert_eq!(claimed_issuer(&token).unwrap(), (ISSUER.to_owned(), Some("p-1".to_owned())));
    let mut claims = subject_claims();
    set(&mut claims, "iss", Value::Null);
    assert_eq!(claimed_issuer(&sign(&subject_header(), &claims)).unwrap_err().code, "subject.iss");
}
