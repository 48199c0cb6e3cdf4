//! JWS in compact form (RFC 7515), EdDSA over Ed25519 only (RFC 8037), `typ` explicit (RFC 8725, 3.11).
//!
//! The header must have exactly `alg`, `typ` and `kid`. There is no way to say "none", to bring a key
//! along, or to have a public key read as an HMAC secret: the algorithm is not looked up, it is compared.

use crate::object::Object;
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The most characters that a statement or token may have; a bundle, with its up to 10,000 rules, may be longer.
pub const COMPACT_MAX: usize = 256 * 1024;
/// The most characters that a bundle may have.
pub const BUNDLE_MAX: usize = 8 * 1024 * 1024;

/// What a key may sign. A key has one role; a `typ` belongs to one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Offline; signs key sets only.
    Root,
    /// Central: heads and resumes.
    Feed,
    /// Central: grants, and which bundle a name means.
    Grant,
    /// Central: revocations.
    Revocation,
    /// The security team's, never central's: bundles.
    Bundle,
    /// A token issuer's: delegation tokens.
    Token,
    /// Central: countersignatures of hosts' audit heads, receipts of recordings, and checkpoints of the log.
    Audit,
}

/// The `typ` of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Typ {
    /// A set of keys.
    Keys,
    /// A grant.
    Grant,
    /// A revocation.
    Revocation,
    /// Which bundle a name means on this host.
    Pin,
    /// How far the feed goes, and when.
    Head,
    /// The answer to a host that started.
    Resume,
    /// A bundle of commands.
    Bundle,
    /// That a bundle still holds.
    Confirmation,
    /// A delegation token.
    Delegation,
    /// That central has a host's chain up to a head.
    Countersignature,
    /// That central has a recording whole.
    Receipt,
}

impl Typ {
    /// The header's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys => "tether-keys+jws",
            Self::Grant => "tether-grant+jws",
            Self::Revocation => "tether-revocation+jws",
            Self::Pin => "tether-pin+jws",
            Self::Head => "tether-head+jws",
            Self::Resume => "tether-resume+jws",
            Self::Bundle => "tether-bundle+jws",
            Self::Confirmation => "tether-bundle-confirmation+jws",
            Self::Delegation => "delegation+jwt",
            Self::Countersignature => "tether-audit-countersignature+jws",
            Self::Receipt => "tether-recording-receipt+jws",
        }
    }

    /// The most characters that it may have as a compact JWS.
    pub const fn longest(self) -> usize {
        if matches!(self, Self::Bundle) { BUNDLE_MAX } else { COMPACT_MAX }
    }

    /// The only role whose keys may sign it.
    pub const fn role(self) -> Role {
        match self {
            Self::Keys => Role::Root,
            Self::Grant | Self::Pin => Role::Grant,
            Self::Revocation => Role::Revocation,
            Self::Head | Self::Resume => Role::Feed,
            Self::Bundle | Self::Confirmation => Role::Bundle,
            Self::Delegation => Role::Token,
            Self::Countersignature | Self::Receipt => Role::Audit,
        }
    }
}

impl fmt::Display for Typ {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a compact JWS is not accepted. Nothing of its payload has been used then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Not three base64url parts, or too long.
    #[error("it is not a compact JWS: {0}")]
    Form(&'static str),
    /// The header is not JSON with `alg`, `typ`, `kid` and nothing else.
    #[error("its header is not exactly alg, typ and kid: {0}")]
    Header(String),
    /// Another algorithm than EdDSA.
    #[error("its algorithm is {0:?}, only EdDSA is accepted")]
    Algorithm(String),
    /// Another `typ` than was asked for.
    #[error("its typ is {found:?}, here it must be {wanted:?}")]
    Typ {
        /// The header's.
        found: String,
        /// What belongs here.
        wanted: &'static str,
    },
    /// No key of the right role has this `kid`.
    #[error("no key with the role {role:?} has the kid {kid:?}")]
    UnknownKey {
        /// The header's.
        kid: String,
        /// Which role the `typ` asks for.
        role: Role,
    },
    /// The signature does not fit.
    #[error("its signature is not that of the key {kid:?}")]
    Signature {
        /// Whose it should be.
        kid: String,
    },
    /// The payload is not what the `typ` says.
    #[error("its payload is not a {typ}: {why}")]
    Payload {
        /// What it should be.
        typ: Typ,
        /// What the parser said.
        why: String,
    },
}

impl JwsError {
    /// The last part of the code under which a refusal is recorded.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "malformed",
            Self::Header(_) => "header",
            Self::Algorithm(_) => "algorithm",
            Self::Typ { .. } => "typ",
            Self::UnknownKey { .. } => "unknown_key",
            Self::Signature { .. } => "signature",
            Self::Payload { .. } => "payload",
        }
    }
}

/// An Ed25519 public key, on the wire base64url of its 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl From<VerifyingKey> for PublicKey {
    fn from(key: VerifyingKey) -> Self {
        Self(key)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&Base64UrlUnpadded::encode_string(self.0.as_bytes()))
    }
}

impl FromStr for PublicKey {
    type Err = JwsError;

    fn from_str(text: &str) -> Result<Self, JwsError> {
        let bytes = Base64UrlUnpadded::decode_vec(text).map_err(|_| JwsError::Form("a key is not base64url"))?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| JwsError::Form("a key has not 32 bytes"))?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| JwsError::Form("a key is not a curve point"))?;
        if key.is_weak() {
            return Err(JwsError::Form("a key is of low order"));
        }
        Ok(Self(key))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) alg: String,
    pub(crate) typ: String,
    pub(crate) kid: String,
}

/// Checks a compact JWS and reads its payload. `key` finds the key with a role and a `kid`.
pub fn verify<'k, P: serde::de::DeserializeOwned>(
    compact: &str,
    typ: Typ,
    key: impl FnOnce(&str) -> Option<&'k PublicKey>,
) -> Result<P, JwsError> {
    let (signed, header, payload, signature) = split(compact, typ.longest())?;
    let kid = checked_kid(header, typ)?;
    let key = key(&kid).ok_or(JwsError::UnknownKey { kid: kid.clone(), role: typ.role() })?;
    let signature = Signature::from_slice(&decode(signature)?).map_err(|_| JwsError::Form("signature length"))?;
    key.0.verify_strict(signed.as_bytes(), &signature).map_err(|_| JwsError::Signature { kid })?;
    let read: Result<Object<P>, _> = serde_json::from_slice(&decode(payload)?);
    read.map(|Object(payload)| payload).map_err(|error| JwsError::Payload { typ, why: error.to_string() })
}

fn split(compact: &str, longest: usize) -> Result<(&str, &str, &str, &str), JwsError> {
    if compact.len() > longest {
        return Err(JwsError::Form("it is longer than any of its kind may be"));
    }
    let (signed, signature) = compact.rsplit_once('.').ok_or(JwsError::Form("it has no '.'"))?;
    let (header, payload) = signed.split_once('.').ok_or(JwsError::Form("it has only two parts"))?;
    if payload.contains('.') {
        return Err(JwsError::Form("it has more than three parts"));
    }
    Ok((signed, header, payload, signature))
}

fn checked_kid(header: &str, typ: Typ) -> Result<String, JwsError> {
    // `alg` first, on its own: a token with alg "none" often has no kid, and the code should say why.
    let bytes = decode(header)?;
    let loose: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| JwsError::Header(error.to_string()))?;
    let member = |name: &str| loose.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    if member("alg") != "EdDSA" {
        return Err(JwsError::Algorithm(member("alg")));
    }
    if member("typ") != typ.as_str() {
        return Err(JwsError::Typ { found: member("typ"), wanted: typ.as_str() });
    }
    let header: Header = serde_json::from_slice(&bytes).map_err(|error| JwsError::Header(error.to_string()))?;
    Ok(header.kid)
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    Base64UrlUnpadded::decode_vec(part).map_err(|_| JwsError::Form("a part is not base64url without padding"))
}
