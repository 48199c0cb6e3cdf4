//! What a refused request is answered: the standard's error, and a code of ours that says which rule it broke.

use std::fmt;

/// The `error` of RFC 6749 (5.2), RFC 8693 (2.2.2), RFC 8707, RFC 9449 and RFC 6750.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standard {
    /// The request is malformed, or one of its tokens is not acceptable (RFC 8693, 2.2.2).
    InvalidRequest,
    /// The caller is not who it has to be.
    InvalidClient,
    /// The grant type is not token exchange.
    UnsupportedGrantType,
    /// The scope names what cannot be had.
    InvalidScope,
    /// No token is given for this host (RFC 8693, 2.2.2).
    InvalidTarget,
    /// The proof of the key is wrong (RFC 9449, 7.1).
    InvalidDpopProof,
    /// The proof must carry a nonce of ours (RFC 9449, 8).
    UseDpopNonce,
    /// The access token is not valid here (RFC 6750, 3.1).
    InvalidToken,
    /// The token type cannot be revoked (RFC 7009, 2.2.1).
    UnsupportedTokenType,
    /// The caller may not do this (RFC 6750, 3.1).
    InsufficientScope,
    /// Not now: what it depends on does not answer.
    TemporarilyUnavailable,
    /// Our own fault.
    ServerError,
}

impl Standard {
    /// The text of `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::InvalidToken => "invalid_token",
            Self::UnsupportedTokenType => "unsupported_token_type",
            Self::InsufficientScope => "insufficient_scope",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{description} [{code}]")]
pub struct Refusal {
    /// What the standard calls it.
    pub error: Standard,
    /// Which rule it broke; stable.
    pub code: String,
    /// In words, for whoever has to mend it.
    pub description: String,
    /// After how many seconds to ask again, if there was nothing wrong but too much of it (RFC 6585, 4).
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal.
    pub fn new(error: Standard, code: impl Into<String>, description: impl fmt::Display) -> Self {
        Self { error, code: code.into(), description: description.to_string(), retry_after: None }
    }

    /// Too many requests.
    pub fn too_many(retry_after: u64, description: impl fmt::Display) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(Standard::TemporarilyUnavailable, "rate.limited", description)
        }
    }

    /// A malformed request or an unacceptable token.
    pub fn request(code: impl Into<String>, description: impl fmt::Display) -> Self {
        Self::new(Standard::InvalidRequest, code, description)
    }
}
