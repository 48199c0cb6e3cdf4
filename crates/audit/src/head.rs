//! Heads: signed marks in a chain, by keys that evolve and erase their past.
//!
//! Each head is signed with a key of its own and names the public half of the next one. The private halves come one
//! from the other by a hash that has no way back, and each is erased once its successor is there. Whoever takes a host
//! has the key of that moment: they can sign what comes, not what was. (Bellare and Yee, "Forward-security in
//! private-key cryptography", 2003, is the notion; this is its simplest form, with certificates from key to key.)

use crate::canonical::canonical;
use crate::chain::ChainError;
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;

/// Separate these bytes from all others that are hashed or signed.
const SIGNED: &[u8] = b"tether audit head v1\0";
const EVOLVED: &[u8] = b"tether audit seed v1\0";
const KEY: &[u8] = b"tether audit key v1\0";

/// A public key of a head: Ed25519, base64url.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeadKey(pub String);

impl fmt::Display for HeadKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How far a chain goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The host's id.
    pub host: String,
    /// The kernel's boot id.
    pub boot: String,
    /// Number of the last record; 0 if there is none.
    pub number: u64,
    /// Its hash; empty if there is none.
    pub hash: String,
    /// When: microseconds since 1970 by the host's clock. A head that says nothing else new is a heartbeat.
    pub time_us: u64,
    /// The number of the key, from 0.
    pub key: u64,
    /// Its public half.
    pub public: HeadKey,
    /// The public half of the key after it.
    pub next: HeadKey,
    /// Digest of the head before; empty for the first.
    pub previous: String,
}

/// A head with its signature, as a line of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedHead {
    /// What it says.
    pub head: Head,
    /// Ed25519, base64url.
    pub signature: String,
}

impl SignedHead {
    /// The one spelling of its line, without a newline.
    pub fn line(&self) -> Result<String, ChainError> {
        Ok(format!("{{\"head\":{},\"signature\":\"{}\"}}", self.head.body()?, self.signature))
    }

    /// Whether the key that it names has signed it.
    pub fn is_signed(&self) -> bool {
        let read = || {
            let key: [u8; 32] = decoded(&self.head.public.0)?;
            let signature: [u8; 64] = decoded(&self.signature)?;
            let body = self.head.body().ok()?;
            let key = VerifyingKey::from_bytes(&key).ok()?;
            key.verify_strict(&[SIGNED, body.as_bytes()].concat(), &Signature::from_bytes(&signature)).ok()
        };
        read().is_some()
    }
}

impl Head {
    fn body(&self) -> Result<String, ChainError> {
        let wrong = |error: serde_json::Error| ChainError::Malformed { line: self.number, why: error.to_string() };
        Ok(canonical(&serde_json::to_value(self).map_err(wrong)?)?)
    }

    /// What the next head names as its `previous`.
    pub fn digest(&self) -> Result<String, ChainError> {
        Ok(encoded(&Sha256::new().chain_update(SIGNED).chain_update(self.body()?).finalize()))
    }
}

/// The private side: one key after another.
pub struct HeadSigner {
    index: u64,
    seed: [u8; 32],
}

impl fmt::Debug for HeadSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HeadSigner({})", self.index)
    }
}

impl Drop for HeadSigner {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.seed);
    }
}

impl HeadSigner {
    /// The key of this number, from its 32 secret bytes. The first comes from a secure source.
    pub fn new(index: u64, seed: [u8; 32]) -> Self {
        Self { index, seed }
    }

    /// Its number.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its secret bytes, to be kept where only the host's root reads.
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// Its public half.
    pub fn public(&self) -> HeadKey {
        HeadKey(encoded(self.key().verifying_key().as_bytes()))
    }

    /// The key after this one. This one is to be erased, wherever it is kept, once the head that it signed is durable.
    pub fn next(&self) -> Self {
        let seed = Sha256::new().chain_update(EVOLVED).chain_update(self.seed).finalize();
        Self { index: self.index + 1, seed: seed.into() }
    }

    /// Signs how far the chain goes.
    pub fn sign(&self, at: &HeadAt<'_>) -> Result<SignedHead, ChainError> {
        let head = Head {
            host: at.host.to_owned(),
            boot: at.boot.to_owned(),
            number: at.number,
            hash: at.hash.to_owned(),
            time_us: at.time_us,
            key: self.index,
            public: self.public(),
            next: self.next().public(),
            previous: at.previous.to_owned(),
        };
        let signed = self.key().sign(&[SIGNED, head.body()?.as_bytes()].concat());
        Ok(SignedHead { head, signature: encoded(&signed.to_bytes()) })
    }

    fn key(&self) -> SigningKey {
        let seed = Sha256::new().chain_update(KEY).chain_update(self.seed).finalize();
        SigningKey::from_bytes(&seed.into())
    }
}

/// What a head is to say.
#[derive(Debug, Clone, Copy)]
pub struct HeadAt<'a> {
    /// The host's id.
    pub host: &'a str,
    /// The kernel's boot id.
    pub boot: &'a str,
    /// Number of the last record.
    pub number: u64,
    /// Its hash.
    pub hash: &'a str,
    /// Now, in microseconds since 1970.
    pub time_us: u64,
    /// Digest of the head before.
    pub previous: &'a str,
}

fn encoded(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

fn decoded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    (Base64UrlUnpadded::decode(text, &mut out).ok()?.len() == N).then_some(out)
}
