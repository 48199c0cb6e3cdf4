//! The issuing half: an agent's assertion, a proof of a key. Agents and couriers use it; tests make forgeries with it.

use crate::UnixTime;
use crate::actor::ASSERTION_TYP;
use crate::jwk::Jwk;
use crate::proof::{PROOF_TYP, ProofRequest, access_token_hash};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use tether_identity::{Name, Thumbprint};

/// An Ed25519 private key: a session's, an agent's, a courier's.
#[derive(Debug)]
pub struct PrivateKey(Ed25519KeyPair, [u8; 32]);

/// A seed that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seed is no Ed25519 key")]
pub struct BadSeed;

impl PrivateKey {
    /// From 32 secret bytes, which the caller took from a secure source.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BadSeed> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BadSeed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| BadSeed)?;
        Ok(Self(pair, public))
    }

    /// The public half.
    pub fn public(&self) -> &[u8; 32] {
        &self.1
    }

    /// The public half as JSON.
    pub fn jwk(&self) -> Value {
        json!({"crv": "Ed25519", "kty": "OKP", "x": Base64UrlUnpadded::encode_string(&self.1)})
    }

    /// RFC 7638 thumbprint.
    pub fn thumbprint(&self) -> Thumbprint {
        Thumbprint::of_ed25519(&self.1)
    }

    /// Signs a header and claims as they are.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs two parts, whatever bytes they are.
    pub fn sign_parts(&self, header: &[u8], claims: &[u8]) -> String {
        let encode = Base64UrlUnpadded::encode_string;
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.0.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    /// A proof for a request, with central's nonce if there is one already.
    pub fn proof(&self, request: ProofRequest<'_>, nonce: Option<&str>, jti: &str, now: UnixTime) -> String {
        let header = json!({"typ": PROOF_TYP, "alg": "EdDSA", "jwk": self.jwk()});
        let mut claims = json!({"htm": request.method, "htu": request.url, "jti": jti, "iat": now});
        if let Some(members) = claims.as_object_mut() {
            members.extend(nonce.map(|nonce| ("nonce".to_owned(), json!(nonce))));
            members.extend(request.access_token.map(|token| ("ath".to_owned(), json!(access_token_hash(token)))));
        }
        self.sign(&header, &claims)
    }

    /// An agent's assertion for a session key.
    pub fn assertion(&self, assertion: &Assertion<'_>) -> String {
        let Assertion { agent, instance, audience, session, jti, now } = assertion;
        let header = json!({"typ": ASSERTION_TYP, "alg": "EdDSA"});
        let claims = json!({
            "iss": agent, "sub": agent, "aud": audience, "iat": now, "exp": now + 60, "jti": jti,
            "instance": instance, "cnf": {"jkt": session},
        });
        self.sign(&header, &claims)
    }
}

/// What an assertion says.
#[derive(Debug)]
pub struct Assertion<'a> {
    /// The agent.
    pub agent: &'a Name,
    /// Which running instance of it.
    pub instance: &'a Name,
    /// Central's issuer.
    pub audience: &'a str,
    /// The session key.
    pub session: &'a Thumbprint,
    /// New each time.
    pub jti: &'a str,
    /// When.
    pub now: UnixTime,
}

impl From<&PrivateKey> for Jwk {
    fn from(key: &PrivateKey) -> Self {
        Self::from_ed25519(*key.public())
    }
}
