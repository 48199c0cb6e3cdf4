//! What must hold for any input. The fuzz targets and the ordinary tests run these same bodies.

use tether_oauth::issue::PrivateKey;
use tether_oauth::{Actor, ExchangeRequest, Form, Jwk, JwkSet, Proof, ProofRequest, Provider, Registered, Subject};
use tether_oauth::{LEEWAY, TokenType, claimed_issuer, parse_json};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example.org";
const CENTRAL: &str = "https://central.example.org";
const URL: &str = "https://central.example.org/oauth/token";

/// A token; or, as HEADER newline CLAIMS, one that everybody signed whose key is known: what is taken as a sign-in is a
/// living one of the provider's own people, what is taken as an agent's names that agent, and nothing is both. Whether it
/// is taken as the one, and as the other.
pub fn any_token(bytes: &[u8]) -> (bool, bool) {
    let key = PrivateKey::from_seed(&[1; 32]).expect("a key");
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        let Ok(text) = std::str::from_utf8(bytes) else { return (false, false) };
        let _ = claimed_issuer(text);
        return read(text, &key);
    };
    let (subject, actor) = read(&key.sign_parts(&bytes[..at], &bytes[at + 1..]), &key);
    assert!(!(subject && actor), "one token is a human's and an agent's");
    (subject, actor)
}

/// Whether it is taken as a human's and as an agent's.
fn read(token: &str, key: &PrivateKey) -> (bool, bool) {
    let mut jwk = key.jwk();
    jwk["kid"] = "p-1".into();
    let keys = JwkSet::parse(serde_json::json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a key set");
    let provider = Provider {
        issuer: ISSUER.to_owned(),
        audiences: vec!["tether".to_owned()],
        human_claim: "email".to_owned(),
        groups_claim: Some("groups".to_owned()),
        namespaces: vec!["@example.org".to_owned()],
        acr: Vec::new(),
    };
    let mut as_subject = false;
    for kind in [TokenType::Id, TokenType::Access] {
        if let Ok(subject) = Subject::verify(token, kind, &provider, &keys, NOW) {
            assert!(subject.human.is_in("@example.org") && subject.expires_at > NOW && !subject.sub.is_empty());
            assert!(subject.issued_at <= NOW + LEEWAY && subject.auth_time <= subject.issued_at + LEEWAY);
            as_subject = true;
        }
    }
    let agent = Registered { name: "triage".parse().expect("a name"), key: Jwk::from(key) };
    let actor = Actor::verify(token, &agent, &[CENTRAL, URL], &key.thumbprint(), NOW);
    if let Ok(actor) = &actor {
        assert!(actor.agent.as_str() == "triage" && !actor.jti.is_empty() && actor.expires_at > NOW);
    }
    if let Ok(proof) = Proof::verify(token, ProofRequest { method: "POST", url: URL, access_token: None }) {
        assert!(!proof.jti.is_empty() && actor.is_err() && !as_subject, "a proof is another token too");
    }
    (as_subject, actor.is_ok())
}

/// A form: what is a request has a human's token, an agent's or one that may name it, and a host, and says each once.
pub fn any_form(bytes: &[u8]) {
    if let Ok(form) = Form::parse(bytes)
        && let Ok(request) = ExchangeRequest::parse(&form)
    {
        assert!(!request.subject_token.is_empty() && request.actor_token.as_deref() != Some(""));
        assert!(request.actor_token.is_some() || request.subject_token_type != TokenType::Id, "a human alone");
        assert!(!request.audience.as_str().is_empty());
        let twice = [bytes, b"&audience=another"].concat();
        assert!(Form::parse(&twice).is_err(), "a member twice");
    }
    if let Ok(value) = parse_json(bytes) {
        let text = value.to_string();
        assert_eq!(parse_json(text.as_bytes()).ok(), Some(value), "JSON that is read is written and read back");
    }
}
