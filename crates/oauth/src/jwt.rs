//! JWS in compact form as others make them: header and claims, split but not believed until a key says so.

use crate::json;
use crate::jwk::Jwk;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};
use std::fmt;

/// The most characters that a token may have.
pub const TOKEN_MAX: usize = 16 * 1024;

/// What tokens may be signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// The header's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// By the header's text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // RFC 9864 names the curve.
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not three base64url parts, too long, or not JSON.
    #[error("it is not a compact JWS: {0}")]
    Form(String),
    /// An algorithm that is not used here.
    #[error("its algorithm is {0:?}; RS256, ES256 and EdDSA are accepted")]
    Algorithm(String),
    /// The header has what no token here needs: `crit`, or a key that the token brings along.
    #[error("its header has {0:?}, which is not accepted")]
    Header(String),
    /// The explicit type is another.
    #[error("its typ is {found:?}, wanted is {wanted:?}")]
    Typ {
        /// Its typ.
        found: String,
        /// The one that belongs here.
        wanted: &'static str,
    },
    /// The key is of another kind than the algorithm.
    #[error("its algorithm is {found}, the key is for {key}")]
    OtherKind {
        /// The header's.
        found: Algorithm,
        /// The key's.
        key: Algorithm,
    },
    /// The signature is not the key's.
    #[error("its signature is not that of the key")]
    Signature,
}

impl JwtError {
    /// The last part of the stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Form(_) => "malformed",
            Self::Algorithm(_) => "algorithm",
            Self::Header(_) => "header",
            Self::Typ { .. } => "typ",
            Self::OtherKind { .. } => "key_kind",
            Self::Signature => "signature",
        }
    }
}

/// A token, split. Its claims are worth nothing before [`Jwt::verify`].
#[derive(Debug, Clone)]
pub struct Jwt<'t> {
    /// The algorithm that the header names.
    pub algorithm: Algorithm,
    /// The key that the header names.
    pub kid: Option<String>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'t str,
    signature: Vec<u8>,
}

impl<'t> Jwt<'t> {
    /// Splits a token. `carries` are the header's members that may hold or lead to a key; all others of them are
    /// refused.
    pub fn split(text: &'t str, carries: &[&str]) -> Result<Self, JwtError> {
        let form = |why: &str| JwtError::Form(why.to_owned());
        if text.len() > TOKEN_MAX {
            return Err(form("it is longer than 16 KiB"));
        }
        let (signed, signature) = text.rsplit_once('.').ok_or_else(|| form("it has no '.'"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| form("it has only two parts"))?;
        if payload.contains('.') {
            return Err(form("it has more than three parts"));
        }
        let header = object(header)?;
        let text_of = |name: &str| header.get(name).and_then(Value::as_str);
        let named = text_of("alg").unwrap_or_default();
        let algorithm = Algorithm::parse(named).ok_or_else(|| JwtError::Algorithm(named.to_owned()))?;
        let suspicious = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc"];
        if let Some(name) = suspicious.iter().find(|name| header.contains_key(**name) && !carries.contains(name)) {
            return Err(JwtError::Header((*name).to_owned()));
        }
        let kid = text_of("kid").map(str::to_owned);
        Ok(Self { algorithm, kid, claims: object(payload)?, signature: decode(signature)?, header, signed })
    }

    /// A member of the header.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.header.get(name)
    }

    /// The `typ`, without the prefix that media types may have (RFC 7515, 4.1.9); empty if there is none.
    pub fn typ(&self) -> &str {
        let typ = self.header.get("typ").and_then(Value::as_str).unwrap_or_default();
        typ.strip_prefix("application/").unwrap_or(typ)
    }

    /// Demands an explicit type (RFC 8725, 3.11).
    pub fn check_typ(&self, wanted: &'static str) -> Result<(), JwtError> {
        if self.typ().eq_ignore_ascii_case(wanted) {
            return Ok(());
        }
        Err(JwtError::Typ { found: self.typ().to_owned(), wanted })
    }

    /// The claims, if the key signed them.
    pub fn verify(self, key: &Jwk) -> Result<Map<String, Value>, JwtError> {
        if key.algorithm() != self.algorithm {
            return Err(JwtError::OtherKind { found: self.algorithm, key: key.algorithm() });
        }
        if !key.verify(self.signed.as_bytes(), &self.signature) {
            return Err(JwtError::Signature);
        }
        Ok(self.claims)
    }

    /// Whether there is such a claim, before it is believed.
    pub fn has(&self, name: &str) -> bool {
        self.claims.contains_key(name)
    }

    /// A claim before it is believed: to choose among keys, nothing else.
    pub fn unverified(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(Value::as_str)
    }
}

fn object(part: &str) -> Result<Map<String, Value>, JwtError> {
    match json::parse(&decode(part)?) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(JwtError::Form("a part is no JSON object".to_owned())),
        Err(error) => Err(JwtError::Form(error.to_string())),
    }
}

fn decode(part: &str) -> Result<Vec<u8>, JwtError> {
    Base64UrlUnpadded::decode_vec(part)
        .map_err(|_| JwtError::Form("a part is not base64url without padding".to_owned()))
}
