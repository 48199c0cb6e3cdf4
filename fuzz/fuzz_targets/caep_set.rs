#![no_main]

use base64ct::{Base64UrlUnpadded, Encoding};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tether_fuzz::NOW;
use tether_oauth::issue::PrivateKey;
use tether_oauth::{EventKind, JwkSet, Provider, SecurityEvent, Subject, TokenType, Transmitter, parse_json};

const ISSUER: &str = "https://idp.example.org";

static KEY: LazyLock<PrivateKey> = LazyLock::new(|| PrivateKey::from_seed(&[6; 32]).unwrap());
static KEYS: LazyLock<JwkSet> = LazyLock::new(|| {
    JwkSet::parse(serde_json::json!({"keys": [KEY.jwk()]}).to_string().as_bytes()).unwrap()
});

fuzz_target!(|data: &[u8]| {
    let from = Transmitter { issuer: ISSUER.to_owned(), audience: "https://central.example.org".to_owned() };
    // Claims that the sender has signed, whatever they are; else the whole token.
    let token = match parse_json(data) {
        Ok(claims) => KEY.sign(&serde_json::json!({"alg": "EdDSA", "typ": "secevent+jwt"}), &claims),
        Err(_) => match std::str::from_utf8(data) {
            Ok(text) => text.to_owned(),
            Err(_) => Base64UrlUnpadded::encode_string(data),
        },
    };
    let _ = SecurityEvent::claimed(&token);
    if let Ok(event) = SecurityEvent::verify(&token, &from, &KEYS, NOW) {
        assert!(!event.jti.is_empty() && !event.events.is_empty());
        assert!(event.events.iter().all(|one| one.kind == EventKind::Verification || !one.subjects.is_empty()));
    }
    let provider = Provider {
        issuer: ISSUER.to_owned(),
        audiences: vec!["tether".to_owned()],
        human_claim: "email".to_owned(),
        groups_claim: None,
        namespaces: vec!["@example.org".to_owned()],
        acr: Vec::new(),
        amr: [].into(),
    };
    // An event is no sign-in.
    for kind in [TokenType::Id, TokenType::Access] {
        assert!(Subject::verify(&token, kind, &provider, &KEYS, NOW).is_err());
    }
});
