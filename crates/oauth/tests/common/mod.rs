//! A provider, an agent and a session key of the tests' own; valid papers that a test changes in one place.
#![allow(dead_code, reason = "each test binary uses a part")]

use serde_json::{Value, json};
use tether_oauth::issue::PrivateKey;
use tether_oauth::{JwkSet, Provider};

pub const NOW: u64 = 1_800_000_000;
pub const ISSUER: &str = "https://idp.example.org";
pub const CENTRAL: &str = "https://central.example.org";

pub fn key(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(&[seed; 32]).unwrap()
}

/// The provider's signing key, the agent's, the session's, and a stranger's.
pub const PROVIDER: u8 = 1;
pub const AGENT: u8 = 2;
pub const SESSION: u8 = 3;
pub const STRANGER: u8 = 4;

pub fn named(seed: u8, kid: &str) -> Value {
    let mut jwk = key(seed).jwk();
    jwk["kid"] = json!(kid);
    jwk
}

pub fn keys() -> JwkSet {
    JwkSet::parse(json!({"keys": [named(PROVIDER, "p-1")]}).to_string().as_bytes()).unwrap()
}

pub fn provider() -> Provider {
    Provider {
        issuer: ISSUER.to_owned(),
        audiences: vec!["tether".to_owned(), "tether-cli".to_owned()],
        human_claim: "email".to_owned(),
        groups_claim: Some("groups".to_owned()),
        namespaces: vec!["@example.org".to_owned()],
        acr: Vec::new(),
        amr: [].into(),
    }
}

pub fn subject_header() -> Value {
    json!({"alg": "EdDSA", "typ": "JWT", "kid": "p-1"})
}

pub fn subject_claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "u-1", "aud": "tether", "iat": NOW - 10, "exp": NOW + 300, "auth_time": NOW - 60,
        "amr": ["pwd", "otp"], "acr": "urn:mfa", "email": "alice@example.org", "email_verified": true,
        "groups": ["analysts"], "nonce": "n",
    })
}

pub fn assertion_header() -> Value {
    json!({"alg": "EdDSA", "typ": "client-authentication+jwt"})
}

pub fn assertion_claims() -> Value {
    json!({
        "iss": "triage", "sub": "triage", "aud": CENTRAL, "iat": NOW - 5, "exp": NOW + 55, "jti": "a-1",
        "instance": "run-7", "cnf": {"jkt": key(SESSION).thumbprint()},
    })
}

/// Sets a member; a null takes it away.
pub fn set(object: &mut Value, name: &str, value: Value) {
    let members = object.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}
