//! The issuing half: signing. Central uses it, and so do the demo and the tests.

use crate::UnixTime;
use crate::feed::{Body, Envelope, Position};
use crate::jws::{Header, PublicKey, Typ};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signer, SigningKey};
use serde::Serialize;
use tether_identity::HostId;

/// A private key and the name that JWS headers give it.
#[derive(Debug, Clone)]
pub struct Signing {
    /// The name.
    pub kid: String,
    key: SigningKey,
}

impl Signing {
    /// From 32 secret bytes, which the caller took from a secure source.
    pub fn from_seed(kid: &str, seed: [u8; 32]) -> Self {
        Self { kid: kid.to_owned(), key: SigningKey::from_bytes(&seed) }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.key.verifying_key().into()
    }

    /// Signs a payload as a `typ`.
    pub fn sign(&self, typ: Typ, payload: &impl Serialize) -> Result<String, serde_json::Error> {
        let header = Header { alg: "EdDSA".to_owned(), typ: typ.as_str().to_owned(), kid: self.kid.clone() };
        self.sign_parts(&serde_json::to_vec(&header)?, &serde_json::to_vec(payload)?)
    }

    /// Signs a header and a payload as they are: how forgeries are made for tests.
    pub fn sign_parts(&self, header: &[u8], payload: &[u8]) -> Result<String, serde_json::Error> {
        let encode = Base64UrlUnpadded::encode_string;
        let signed = format!("{}.{}", encode(header), encode(payload));
        let signature = self.key.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", encode(&signature.to_bytes())))
    }
}

/// The issuer's side of one host's feed: gives each statement its number and its predecessor's hash.
#[derive(Debug, Clone)]
pub struct FeedWriter {
    host: HostId,
    position: Position,
}

impl FeedWriter {
    /// A feed that has no statement yet.
    pub fn new(host: HostId) -> Self {
        Self { host, position: Position::start() }
    }

    /// A feed that goes this far already.
    pub fn after(host: HostId, position: Position) -> Self {
        Self { host, position }
    }

    /// How far it goes.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Signs the next statement with the key of the body's role. Returns its number and its text.
    pub fn append(&mut self, key: &Signing, body: &Body, now: UnixTime) -> Result<(u64, String), serde_json::Error> {
        let number = self.position.number + 1;
        let compact = match body {
            Body::Grant(grant) => key.sign(Typ::Grant, &self.envelope(number, grant, now)),
            Body::Revocation(revocation) => key.sign(Typ::Revocation, &self.envelope(number, revocation, now)),
            Body::Pin(pin) => key.sign(Typ::Pin, &self.envelope(number, pin, now)),
        }?;
        self.position = Position::after(number, &compact);
        Ok((number, compact))
    }

    fn envelope<'b, B>(&self, number: u64, body: &'b B, issued_at: UnixTime) -> Envelope<&'b B> {
        Envelope { host: self.host.clone(), number, previous: self.position.hash.clone(), issued_at, body }
    }
}
