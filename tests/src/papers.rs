//! One exchange request before it is signed: a sign-in at the real provider, an agent's assertion, a proof, a form. A
//! valid one that a test changes in one place is a forgery.

use crate::central::{now, random_name, seed};
use crate::door::{Door, Said};
use crate::provider::{ALICE, BOB};
use crate::realm::Realm;
use anyhow::{Context, Result};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use tether_oauth::issue::PrivateKey;
use tether_oauth::{ASSERTION_TYP, GRANT_TYPE, PROOF_TYP, TOKEN_TYPE_ID, TOKEN_TYPE_JWT};

/// The token endpoint.
pub const TOKEN: &str = "/oauth/token";
/// The certificate endpoint.
pub const CERTIFICATE: &str = "/v1/certificate";
/// The host that tokens are asked for.
pub const HOST: &str = "web-01";
/// The agent.
pub const AGENT: &str = "triage";

/// Who signs, and what was signed by whom it should be.
pub struct World {
    /// Central.
    pub door: Door,
    /// The provider's own key, and its name.
    pub provider: (PrivateKey, String),
    /// The agent's.
    pub agent: PrivateKey,
    /// Another registered agent's.
    pub other_agent: PrivateKey,
    /// The session's.
    pub session: PrivateKey,
    /// Nobody's.
    pub stranger: PrivateKey,
    /// Alice's ID token.
    pub alice: String,
    /// Bob's.
    pub bob: String,
}

impl World {
    /// A realm without hosts gets two agents, `triage` and `patch`, and a host whose courier the test is.
    pub fn new(realm: &Realm) -> Result<Self> {
        let key = || Ok::<_, anyhow::Error>(PrivateKey::from_seed(&seed()?)?);
        let (agent, other_agent) = (key()?, key()?);
        for (name, key) in [(AGENT, &agent), ("patch", &other_agent)] {
            let path = realm.files.path().join(format!("{name}.jwk"));
            std::fs::write(&path, key.jwk().to_string())?;
            realm.central.register(name, &path)?;
        }
        Ok(Self {
            door: Door::of(realm)?,
            alice: realm.provider.sign_in(&ALICE)?,
            bob: realm.provider.sign_in(&BOB)?,
            provider: realm.provider.signing_key()?,
            agent,
            other_agent,
            session: key()?,
            stranger: key()?,
        })
    }
}

/// Header and claims, and who signs them.
pub struct Draft<'w> {
    /// The header.
    pub header: Value,
    /// The claims.
    pub claims: Value,
    /// Who signs.
    pub key: &'w PrivateKey,
    /// Used as it is, instead.
    pub text: Option<String>,
}

impl Draft<'_> {
    /// As it is sent.
    pub fn text(&self) -> String {
        self.text.clone().unwrap_or_else(|| self.key.sign(&self.header, &self.claims))
    }

    /// Sets a claim; a null takes it away.
    pub fn claim(&mut self, name: &str, value: Value) {
        set(&mut self.claims, name, value);
    }

    /// Sets a member of the header; a null takes it away.
    pub fn head(&mut self, name: &str, value: Value) {
        set(&mut self.header, name, value);
    }
}

fn set(object: &mut Value, name: &str, value: Value) {
    let Some(members) = object.as_object_mut() else { return };
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
}

/// Everything that an exchange is asked with.
pub struct Papers<'w> {
    /// The human's token.
    pub subject: Draft<'w>,
    /// The agent's.
    pub actor: Draft<'w>,
    /// The proof of the session key; none is sent if there is none.
    pub proof: Option<Draft<'w>>,
    /// Members of the form that are set in place of the usual ones, or taken away.
    pub form: Vec<(&'static str, Option<String>)>,
    /// More of the form, as it is.
    pub appended: String,
    /// What the body is said to be.
    pub content_type: &'static str,
}

impl<'w> Papers<'w> {
    /// Valid ones, of alice and the agent.
    pub fn new(world: &'w World) -> Result<Self> {
        let (header, claims) = opened(&world.alice)?;
        let url = world.door.at(TOKEN);
        let proof = Draft {
            header: json!({"typ": PROOF_TYP, "alg": "EdDSA", "jwk": world.session.jwk()}),
            claims: json!({
                "htm": "POST", "htu": url, "jti": random_name(26)?, "iat": now(), "nonce": world.door.nonce()?,
            }),
            key: &world.session,
            text: None,
        };
        let actor = Draft {
            header: json!({"alg": "EdDSA", "typ": ASSERTION_TYP}),
            claims: json!({
                "iss": AGENT, "sub": AGENT, "aud": world.door.at(""), "iat": now(), "exp": now() + 60,
                "jti": random_name(26)?, "instance": "run-7", "cnf": {"jkt": world.session.thumbprint()},
            }),
            key: &world.agent,
            text: None,
        };
        Ok(Self {
            subject: Draft { header, claims, key: &world.provider.0, text: None },
            actor,
            proof: Some(proof),
            form: Vec::new(),
            appended: String::new(),
            content_type: "application/x-www-form-urlencoded",
        })
    }

    /// Valid ones with a delegation of the provider's own in place of the human's token and the agent's. It is signed anew
    /// and can be used once more.
    pub fn delegated(world: &'w World, delegation: &str) -> Result<Self> {
        let mut papers = Self::new(world)?;
        let (header, claims) = opened(delegation)?;
        papers.subject = Draft { header, claims, key: &world.provider.0, text: None };
        papers.subject.claim("jti", json!(random_name(26)?));
        let kind = Some(TOKEN_TYPE_JWT.to_owned());
        papers.form = vec![("subject_token_type", kind), ("actor_token", None), ("actor_token_type", None)];
        Ok(papers)
    }

    /// Asks.
    pub fn send(&self, door: &Door) -> Result<Said> {
        let (subject, actor) = (self.subject.text(), self.actor.text());
        let usual = [
            ("grant_type", GRANT_TYPE),
            ("subject_token", &subject),
            ("subject_token_type", TOKEN_TYPE_ID),
            ("actor_token", &actor),
            ("actor_token_type", TOKEN_TYPE_JWT),
            ("audience", HOST),
        ];
        let changed = |name: &str| self.form.iter().any(|(other, _)| *other == name);
        let mut members: Vec<(&str, &str)> = usual.into_iter().filter(|(name, _)| !changed(name)).collect();
        members.extend(self.form.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
        let body = tether_centrallink::encode_form(&members) + &self.appended;
        let proof = self.proof.as_ref().map(Draft::text);
        let mut headers = vec![("Content-Type", self.content_type)];
        headers.extend(proof.as_deref().map(|proof| ("DPoP", proof)));
        door.post(TOKEN, &headers, body.as_bytes())
    }

    /// The proof.
    pub fn proof(&mut self) -> Result<&mut Draft<'w>> {
        self.proof.as_mut().context("no proof")
    }
}

/// A token's header and claims.
pub fn opened(token: &str) -> Result<(Value, Value)> {
    let part = |at: usize| -> Result<Value> {
        let text = token.split('.').nth(at).context("it has fewer parts")?;
        let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    Ok((part(0)?, part(1)?))
}
