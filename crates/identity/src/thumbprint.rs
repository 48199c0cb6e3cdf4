//! RFC 7638 thumbprints of session keys: what `cnf.jkt` holds.

use crate::text::{Malformed, text_type};
use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use std::str::FromStr;

/// SHA-256 thumbprint of a public key's JWK, base64url without padding (RFC 7638).
///
/// It is not the `SHA256:…` that ssh prints: that one hashes SSH's own encoding of the key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(String);
text_type!(Thumbprint);

impl FromStr for Thumbprint {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        match Base64UrlUnpadded::decode_vec(text) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned())),
            _ => Err(Malformed::new("key thumbprint (jkt)", text, "it must be base64url of 32 bytes without padding")),
        }
    }
}

impl Thumbprint {
    /// Of an Ed25519 public key (RFC 8037, appendix A.3).
    pub fn of_ed25519(public: &[u8; 32]) -> Self {
        let x = Base64UrlUnpadded::encode_string(public);
        Self::of_jwk(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#))
    }

    /// Of a P-256 public key, given by its two affine coordinates.
    pub fn of_p256(x: &[u8; 32], y: &[u8; 32]) -> Self {
        let (x, y) = (Base64UrlUnpadded::encode_string(x), Base64UrlUnpadded::encode_string(y));
        Self::of_jwk(&format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#))
    }

    /// `jwk` has the required members only, in lexicographic order, without blanks (RFC 7638, 3).
    fn of_jwk(jwk: &str) -> Self {
        Self(Base64UrlUnpadded::encode_string(&Sha256::digest(jwk.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.3.
    #[test]
    fn the_thumbprint_of_the_rfc() {
        let key = Base64UrlUnpadded::decode_vec("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let thumbprint = Thumbprint::of_ed25519(&key.try_into().unwrap());
        assert_eq!(thumbprint.as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn an_ssh_fingerprint_is_not_a_thumbprint() {
        assert!("SHA256:uNiVztksCsDhcc0u9e8BrNw8Z2mCPmYEEu5RxlNVGQ0".parse::<Thumbprint>().is_err());
        assert!("".parse::<Thumbprint>().is_err());
    }
}
