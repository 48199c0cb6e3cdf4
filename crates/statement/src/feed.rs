//! A host's one feed: numbered without gaps, each statement with the hash of the one before, so that
//! whoever carries it cannot drop one and deliver the next.

use crate::UnixTime;
use crate::grant::{BundlePin, Grant, Revocation};
use crate::jws::{JwsError, Typ};
use crate::keyset::TrustedKeys;
use crate::object::object;
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tether_identity::HostId;

/// How far a host has read its feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Number of the last statement taken; 0 before the first.
    pub number: u64,
    /// SHA-256 of its compact JWS, base64url; empty before the first.
    pub hash: String,
}

impl Position {
    /// Before the first statement.
    pub fn start() -> Self {
        Self { number: 0, hash: String::new() }
    }

    /// After a statement.
    pub fn after(number: u64, compact: &str) -> Self {
        Self { number, hash: digest(compact) }
    }
}

/// SHA-256 of a compact JWS, base64url without padding: how statements name one another.
pub fn digest(compact: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(compact.as_bytes()))
}

/// When a statement says that it was signed. Nothing is checked: for whoever signed it.
pub fn issued_at(compact: &str) -> Option<UnixTime> {
    #[derive(Deserialize)]
    struct Dated {
        issued_at: UnixTime,
    }
    let payload = Base64UrlUnpadded::decode_vec(compact.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Dated>(&payload).ok().map(|dated| dated.issued_at)
}

/// What a feed statement says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A session may be had.
    Grant(Box<Grant>),
    /// Something is taken back.
    Revocation(Revocation),
    /// A bundle's name gets a meaning.
    Pin(BundlePin),
}

/// One statement of the feed, checked and in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedStatement {
    /// Where the feed stands after it.
    pub position: Position,
    /// When it was signed.
    pub issued_at: UnixTime,
    /// What it says.
    pub body: Body,
}

/// The payload on the wire: an envelope around the body.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound(deserialize = "B: Deserialize<'de>"))]
pub(crate) struct Envelope<B> {
    pub(crate) host: HostId,
    pub(crate) number: u64,
    pub(crate) previous: String,
    pub(crate) issued_at: UnixTime,
    #[serde(deserialize_with = "object")]
    pub(crate) body: B,
}

/// Why a statement is not taken. The feed does not move then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// Its form, key or signature.
    #[error("the statement is refused: {0}")]
    Jws(#[from] JwsError),
    /// It is for another host.
    #[error("the statement is addressed to {found}, this host is {wanted}")]
    OtherHost {
        /// Whom it names.
        found: HostId,
        /// Who this is.
        wanted: HostId,
    },
    /// Statements are missing, or it was taken already.
    #[error("the statement has number {found}, next is {wanted}")]
    Gap {
        /// Its number.
        found: u64,
        /// The next in order.
        wanted: u64,
    },
    /// It does not follow the one that was taken last.
    #[error("statement {0} does not carry the hash of the one before it")]
    WrongHash(u64),
}

impl FeedError {
    /// The stable code of the refusal.
    pub fn code(&self) -> String {
        match self {
            Self::Jws(error) => format!("feed.{}", error.code()),
            Self::OtherHost { .. } => "feed.other_host".to_owned(),
            Self::Gap { .. } => "feed.gap".to_owned(),
            Self::WrongHash(_) => "feed.wrong_hash".to_owned(),
        }
    }
}

impl FeedStatement {
    /// Checks one compact statement: signed for its `typ`, addressed to `host`, next after `at`.
    pub fn verify(compact: &str, keys: &TrustedKeys, host: &HostId, at: &Position) -> Result<Self, FeedError> {
        match keys.verify_statement(compact, Typ::Grant) {
            Err(JwsError::Typ { found, .. }) if found == Typ::Revocation.as_str() => {
                let envelope = keys.verify_statement(compact, Typ::Revocation)?;
                Self::place(compact, envelope, host, at, Body::Revocation)
            }
            Err(JwsError::Typ { found, .. }) if found == Typ::Pin.as_str() => {
                let envelope = keys.verify_statement(compact, Typ::Pin)?;
                Self::place(compact, envelope, host, at, Body::Pin)
            }
            other => Self::place(compact, other?, host, at, |grant| Body::Grant(Box::new(grant))),
        }
    }

    fn place<B>(
        compact: &str,
        envelope: Envelope<B>,
        host: &HostId,
        at: &Position,
        body: impl FnOnce(B) -> Body,
    ) -> Result<Self, FeedError> {
        if envelope.host != *host {
            return Err(FeedError::OtherHost { found: envelope.host, wanted: host.clone() });
        }
        let wanted = at.number.saturating_add(1);
        if envelope.number != wanted {
            return Err(FeedError::Gap { found: envelope.number, wanted });
        }
        if envelope.previous != at.hash {
            return Err(FeedError::WrongHash(envelope.number));
        }
        let position = Position::after(envelope.number, compact);
        Ok(Self { position, issued_at: envelope.issued_at, body: body(envelope.body) })
    }
}
