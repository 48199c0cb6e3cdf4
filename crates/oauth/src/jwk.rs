//! Public keys as JSON (RFC 7517): RSA of at least 2048 bits, P-256, Ed25519, and no others.

use crate::json::{self, NotJson};
use crate::jwt::Algorithm;
use aws_lc_rs::signature;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};
use tether_identity::Thumbprint;

/// The most keys that are looked at in a set.
const KEYS_MAX: usize = 64;
/// Bits of the smallest RSA modulus that is taken.
const RSA_BITS_MIN: usize = 2048;
/// Bytes of the greatest: a signature over more would be a way to burn our time.
const RSA_BYTES_MAX: usize = 1024;

/// Why a key is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Not an object of texts.
    #[error("the key is malformed: {0}")]
    Malformed(String),
    /// Another kind of key.
    #[error("the key is neither RSA, P-256 nor Ed25519")]
    Kind,
    /// Too small a modulus, or a small exponent.
    #[error("the RSA key is weak: it needs a modulus of 2048 to 8192 bits and the exponent 65537")]
    Weak,
    /// It holds the private half.
    #[error("the key holds a private part, which nobody should have sent")]
    Private,
}

impl From<NotJson> for JwkError {
    fn from(error: NotJson) -> Self {
        Self::Malformed(error.to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519([u8; 32]),
}

/// One public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    /// Its name in its set.
    pub kid: Option<String>,
    material: Material,
}

impl Jwk {
    /// Reads a key.
    pub fn parse(value: &Value) -> Result<Self, JwkError> {
        let object = value.as_object().ok_or_else(|| JwkError::Malformed("it is no object".to_owned()))?;
        if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| object.contains_key(*name)) {
            return Err(JwkError::Private);
        }
        let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        let material = match (text("kty"), text("crv")) {
            ("RSA", _) => rsa(object)?,
            ("EC", "P-256") => Material::P256 { x: coordinate(object, "x")?, y: coordinate(object, "y")? },
            ("OKP", "Ed25519") => Material::Ed25519(coordinate(object, "x")?),
            _ => return Err(JwkError::Kind),
        };
        let key = Self { kid: object.get("kid").and_then(Value::as_str).map(str::to_owned), material };
        let algorithm = object.get("alg").and_then(Value::as_str);
        if algorithm.is_some_and(|named| named != key.algorithm().as_str() && named != "Ed25519") {
            return Err(JwkError::Malformed("its alg is not that of its kind".to_owned()));
        }
        if object.get("use").is_some_and(|named| named != "sig") {
            return Err(JwkError::Malformed("it is not for signatures".to_owned()));
        }
        Ok(key)
    }

    /// An Ed25519 key without a name.
    pub fn from_ed25519(public: [u8; 32]) -> Self {
        Self { kid: None, material: Material::Ed25519(public) }
    }

    /// Reads a key from text.
    pub fn parse_text(text: &str) -> Result<Self, JwkError> {
        Self::parse(&json::parse(text.as_bytes())?)
    }

    /// The only algorithm that it is used with.
    pub fn algorithm(&self) -> Algorithm {
        match self.material {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::P256 { .. } => Algorithm::Es256,
            Material::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    /// RFC 7638 thumbprint, for the kinds that session keys have.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        match &self.material {
            Material::Rsa { .. } => None,
            Material::P256 { x, y } => Some(Thumbprint::of_p256(x, y)),
            Material::Ed25519(x) => Some(Thumbprint::of_ed25519(x)),
        }
    }

    /// The 32 bytes of an Ed25519 key.
    pub fn ed25519(&self) -> Option<&[u8; 32]> {
        if let Material::Ed25519(x) = &self.material { Some(x) } else { None }
    }

    /// The affine coordinates of a P-256 key.
    pub fn p256(&self) -> Option<(&[u8; 32], &[u8; 32])> {
        if let Material::P256 { x, y } = &self.material { Some((x, y)) } else { None }
    }

    /// The key as JSON: its required members only, in the order of RFC 7638.
    pub fn to_json(&self) -> Value {
        let encode = Base64UrlUnpadded::encode_string;
        match &self.material {
            Material::Rsa { n, e } => serde_json::json!({"e": encode(e), "kty": "RSA", "n": encode(n)}),
            Material::P256 { x, y } => {
                serde_json::json!({"crv": "P-256", "kty": "EC", "x": encode(x), "y": encode(y)})
            }
            Material::Ed25519(x) => serde_json::json!({"crv": "Ed25519", "kty": "OKP", "x": encode(x)}),
        }
    }

    /// Whether the signature over the message is this key's.
    pub fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => signature::RsaPublicKeyComponents { n, e }
                .verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
                .is_ok(),
            Material::P256 { x, y } => {
                let mut point = vec![4];
                point.extend_from_slice(x);
                point.extend_from_slice(y);
                verifies(&signature::ECDSA_P256_SHA256_FIXED, &point, message, signed)
            }
            Material::Ed25519(x) => verifies(&signature::ED25519, x, message, signed),
        }
    }
}

fn verifies(how: &'static dyn signature::VerificationAlgorithm, key: &[u8], message: &[u8], signed: &[u8]) -> bool {
    signature::UnparsedPublicKey::new(how, key).verify(message, signed).is_ok()
}

fn rsa(object: &Map<String, Value>) -> Result<Material, JwkError> {
    let (n, e) = (bytes(object, "n")?, bytes(object, "e")?);
    let leading = n.first().map_or(8, |byte| byte.leading_zeros() as usize);
    if n.len() * 8 - leading.min(n.len() * 8) < RSA_BITS_MIN || n.len() > RSA_BYTES_MAX || e != [1, 0, 1] {
        return Err(JwkError::Weak);
    }
    Ok(Material::Rsa { n, e })
}

fn bytes(object: &Map<String, Value>, name: &str) -> Result<Vec<u8>, JwkError> {
    let text = object.get(name).and_then(Value::as_str);
    text.and_then(|text| Base64UrlUnpadded::decode_vec(text).ok())
        .filter(|bytes| !bytes.is_empty())
        .ok_or_else(|| JwkError::Malformed(format!("its {name} is not base64url")))
}

fn coordinate(object: &Map<String, Value>, name: &str) -> Result<[u8; 32], JwkError> {
    bytes(object, name)?.try_into().map_err(|_| JwkError::Malformed(format!("its {name} has not 32 bytes")))
}

/// A provider's keys. Those of kinds that are not used here are passed over, as RFC 7517 (5) asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JwkSet(Vec<Jwk>);

impl JwkSet {
    /// Reads a set.
    pub fn parse(text: &[u8]) -> Result<Self, JwkError> {
        let value = json::parse(text)?;
        let keys = value.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| JwkError::Malformed("the set has no keys".to_owned()))?;
        Ok(Self(keys.iter().take(KEYS_MAX).filter_map(|key| Jwk::parse(key).ok()).collect()))
    }

    /// The key that a header means: by its name, or the only one of the algorithm if it has none.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Jwk> {
        let mut fitting = self.0.iter().filter(|key| key.algorithm() == algorithm);
        match kid {
            Some(kid) => fitting.find(|key| key.kid.as_deref() == Some(kid)),
            None => fitting.next().filter(|_| fitting.next().is_none()),
        }
    }

    /// Whether it has a key of that name, of whatever kind.
    pub fn names(&self, kid: &str) -> bool {
        self.0.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// How many keys it has that can be used.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
