//! The proof that the caller holds a key now, for this very request (RFC 9449).
//!
//! Time plays no part: a nonce of ours does, which is only good for a few minutes of our own clock. So a host or an
//! agent whose clock is an hour off can still prove its key, and a proof made ahead of time is worth nothing.

use crate::claims::Claims;
use crate::jwk::Jwk;
use crate::jwt::Jwt;
use crate::refusal::{Refusal, Standard};
use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};
use tether_identity::Thumbprint;

/// The `typ` of a proof.
pub const PROOF_TYP: &str = "dpop+jwt";

/// The request that a proof has to be for.
#[derive(Debug, Clone, Copy)]
pub struct ProofRequest<'r> {
    /// The HTTP method.
    pub method: &'r str,
    /// The URL without query and fragment, as central's own name for it.
    pub url: &'r str,
    /// The access token that is used with it.
    pub access_token: Option<&'r str>,
}

/// A proof that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The key.
    pub key: Jwk,
    /// Its RFC 7638 thumbprint.
    pub jkt: Thumbprint,
    /// Used once.
    pub jti: String,
    /// The nonce that it carries. The caller checks that it is one of its own and young.
    pub nonce: String,
}

/// What `ath` holds for a token (RFC 9449, 4.2).
pub fn access_token_hash(token: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(token.as_bytes()))
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::new(
        Standard::InvalidDpopProof,
        format!("proof.{code}"),
        format_args!("the proof of the key is refused: {why}"),
    )
}

impl Proof {
    /// Checks a proof. The caller takes care that nonce and `jti` are good and used once.
    pub fn verify(text: &str, request: ProofRequest<'_>) -> Result<Self, Refusal> {
        let jwt = Jwt::split(text, &["jwk"]).map_err(|error| refuse(error.code(), error))?;
        jwt.check_typ(PROOF_TYP).map_err(|error| refuse(error.code(), error))?;
        let key = jwt.header("jwk").ok_or_else(|| refuse("jwk", "its header has no jwk"))?;
        let key = Jwk::parse(key).map_err(|error| refuse("jwk", error))?;
        let jkt = key.thumbprint().ok_or_else(|| refuse("jwk", "the key is neither Ed25519 nor P-256"))?;
        let map = jwt.verify(&key).map_err(|error| refuse(error.code(), error))?;
        let claims = Claims { map: &map, what: "proof" };
        let text_of = |name: &str| claims.text(name).map_err(|why| refuse(name, why.description));
        if text_of("htm")? != request.method {
            return Err(refuse("htm", format_args!("it is not for the method {}", request.method)));
        }
        if text_of("htu")? != request.url {
            return Err(refuse("htu", format_args!("it is not for {}", request.url)));
        }
        claims.time("iat").map_err(|why| refuse("iat", why.description))?;
        let wanted = request.access_token.map(access_token_hash);
        if claims.optional("ath").map_err(|why| refuse("ath", why.description))? != wanted.as_deref() {
            return Err(refuse("ath", "it is not for the access token of the request"));
        }
        let jti = text_of("jti")?;
        if jti.len() > 128 {
            return Err(refuse("jti", "its jti has more than 128 characters"));
        }
        let nonce = match claims.optional("nonce").map_err(|why| refuse("nonce", why.description))? {
            Some(nonce) => nonce.to_owned(),
            None => {
                let why = "the proof needs the nonce of the DPoP-Nonce header";
                return Err(Refusal::new(Standard::UseDpopNonce, "proof.no_nonce", why));
            }
        };
        Ok(Self { jkt, jti: jti.to_owned(), nonce, key })
    }
}
