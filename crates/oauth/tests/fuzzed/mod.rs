//! What must hold for any input. The fuzz targets and the ordinary tests run these same bodies.

use std::collections::BTreeMap;
use tether_oauth::issue::PrivateKey;
use tether_oauth::{ACT_MAX, Delegated, Delegating, claims_an_actor};
use tether_oauth::{Actor, ExchangeRequest, Form, Jwk, JwkSet, Proof, ProofRequest, Provider, Registered, Subject};
use tether_oauth::{Algorithm, LEEWAY, TokenType, claimed_issuer, parse_json};

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://idp.example.org";
const CENTRAL: &str = "https://central.example.org";
const URL: &str = "https://central.example.org/oauth/token";

/// As what a token is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    pub subject: bool,
    pub actor: bool,
    pub delegated: bool,
    pub proof: bool,
}

/// A token; or, as HEADER newline CLAIMS, one that everybody signed whose key is known: what is taken as a sign-in is a
/// living one of the provider's own people, what is taken as an agent's names that agent, a provider's own delegation
/// says both, and nothing is two of these. As what it is taken.
pub fn any_token(bytes: &[u8]) -> Taken {
    let key = PrivateKey::from_seed(&[1; 32]).expect("a key");
    let Some(at) = bytes.iter().position(|byte| *byte == b'\n') else {
        let Ok(text) = std::str::from_utf8(bytes) else { return Taken::default() };
        let _ = claimed_issuer(text);
        return read(text, &key);
    };
    let token = key.sign_parts(&bytes[..at], &bytes[at + 1..]);
    let taken = read(&token, &key);
    let Taken { subject, actor, delegated, proof } = taken;
    assert!(
        [subject, actor, delegated, proof].into_iter().filter(|one| *one).count() < 2,
        "one token is two: {taken:?}"
    );
    assert!(claims_an_actor(&token) || !delegated, "a delegation in which nobody acts");
    taken
}

fn provider() -> Provider {
    Provider {
        issuer: ISSUER.to_owned(),
        audiences: vec!["tether".to_owned()],
        human_claim: "email".to_owned(),
        groups_claim: Some("groups".to_owned()),
        namespaces: vec!["@example.org".to_owned()],
        acr: Vec::new(),
        amr: [].into(),
    }
}

fn delegating() -> Delegating {
    Delegating {
        audiences: vec!["central".to_owned()],
        typ: "at+jwt".to_owned(),
        algorithms: vec![Algorithm::EdDsa],
        human_claim: "email".to_owned(),
        agent_member: "sub".to_owned(),
        client_claims: vec!["client_id".to_owned()],
        agents: BTreeMap::new(),
        max_seconds: 300,
    }
}

fn read(token: &str, key: &PrivateKey) -> Taken {
    let mut jwk = key.jwk();
    jwk["kid"] = "p-1".into();
    let keys = JwkSet::parse(serde_json::json!({ "keys": [jwk] }).to_string().as_bytes()).expect("a key set");
    let agent = Registered { name: "triage".parse().expect("a name"), key: Jwk::from(key) };
    let actor = Actor::verify(token, &agent, &[CENTRAL, URL], &key.thumbprint(), NOW);
    if let Ok(actor) = &actor {
        assert!(actor.agent.as_str() == "triage" && !actor.jti.is_empty() && actor.expires_at > NOW);
    }
    let proof = Proof::verify(token, ProofRequest { method: "POST", url: URL, access_token: None });
    assert!(proof.as_ref().is_ok_and(|proof| !proof.jti.is_empty()) || proof.is_err());
    Taken {
        subject: is_sign_in(token, &keys),
        actor: actor.is_ok(),
        delegated: is_delegation(token, key, &keys),
        proof: proof.is_ok(),
    }
}

fn check_human(subject: &Subject) {
    assert!(subject.human.is_in("@example.org") && subject.expires_at > NOW && !subject.sub.is_empty());
    assert!(subject.issued_at <= NOW + LEEWAY && subject.auth_time <= subject.issued_at + LEEWAY);
}

fn is_sign_in(token: &str, keys: &JwkSet) -> bool {
    let verify = |kind| Subject::verify(token, kind, &provider(), keys, NOW);
    assert!(verify(TokenType::Jwt).is_err(), "a sign-in of no kind");
    let taken: Vec<Subject> =
        [TokenType::Id, TokenType::Access].into_iter().filter_map(|kind| verify(kind).ok()).collect();
    taken.iter().for_each(check_human);
    !taken.is_empty()
}

fn is_delegation(token: &str, key: &PrivateKey, keys: &JwkSet) -> bool {
    let delegated = Delegated::verify(token, &provider(), &delegating(), keys, &key.thumbprint(), NOW);
    if let Ok(delegated) = &delegated {
        check_human(&delegated.subject);
        assert!(delegated.subject.expires_at <= delegated.subject.issued_at + 300 && !delegated.jti.is_empty());
        assert!(
            delegated.chain.len() <= ACT_MAX
                && delegated.chain.first().map(String::as_str) == Some(delegated.agent.as_str())
        );
        assert_eq!(delegated.subject.bound_to, Some(key.thumbprint()));
    }
    delegated.is_ok()
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
