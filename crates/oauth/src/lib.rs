//! OAuth as central speaks it: token exchange (RFC 8693), the tokens of identity providers, an agent's assertion
//! (RFC 7523), the proof of a key (RFC 9449).
//!
//! - [`ExchangeRequest`]: the form that asks for a delegation, no member twice.
//! - [`Subject`]: a human's sign-in, read from a token of a trusted provider.
//! - [`Delegated`]: a delegation that a trusted provider made itself.
//! - [`Actor`]: an agent's own proof, bound to the session key.
//! - [`SecurityEvent`]: what a provider says happened to a human (RFC 8417).
//! - [`Proof`]: that the caller holds a key now, for this request.
//!
//! Pure: no I/O and no clock. Whoever calls says what time it is, and remembers which `jti` was used.
//! Signatures are RS256, ES256 or EdDSA. The algorithm that a header names is compared with the key's own kind, so
//! a public key is never an HMAC secret and "none" is no algorithm.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod actor;
mod claims;
mod delegated;
mod form;
#[cfg(feature = "issue")]
pub mod issue;
mod json;
mod jwk;
mod jwt;
mod proof;
mod refusal;
mod request;
mod set;
mod subject;

pub use actor::{ASSERTION_SECONDS, ASSERTION_TYP, Actor, Registered};
pub use delegated::{ACT_MAX, Delegated, Delegating, claims_an_actor};
pub use form::Form;
pub use json::{NotJson, parse as parse_json};
pub use jwk::{Jwk, JwkError, JwkSet};
pub use jwt::{Algorithm, Jwt, JwtError, TOKEN_MAX};
pub use proof::{PROOF_TYP, Proof, ProofRequest, access_token_hash};
pub use refusal::{Refusal, Standard};
pub use request::{ExchangeRequest, GRANT_TYPE, TOKEN_TYPE_ACCESS, TOKEN_TYPE_ID, TOKEN_TYPE_JWT, TokenType};
pub use set::{Event, EventKind, SET_SECONDS, SET_TYP, SecurityEvent, SubjectId, Transmitter};
pub use subject::{Provider, Subject, claimed_issuer, is_multi_factor};

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixTime = u64;

/// By how much another's clock may be ahead, in seconds: at the start of a token, never at its end.
pub const LEEWAY: u64 = 30;
