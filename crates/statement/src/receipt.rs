//! Central has a recording whole, as the host's audit chain tells of it, and says so: from then on the host may let its
//! own copy go.

use crate::UnixTime;
use crate::feed::FeedError;
use crate::jws::Typ;
use crate::keyset::TrustedKeys;
use serde::{Deserialize, Serialize};
use tether_identity::{HostId, SessionId};

/// Central had a recording of `host` whole at `time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Whose recording.
    pub host: HostId,
    /// The session.
    pub session: SessionId,
    /// Its name in the session, such as `sudo-1`.
    pub recording: String,
    /// How many bytes.
    pub bytes: u64,
    /// SHA-256 of them, base64url.
    pub sha256: String,
    /// When.
    pub time: UnixTime,
}

impl Receipt {
    /// Checks a compact receipt for this host.
    pub fn verify(compact: &str, keys: &TrustedKeys, host: &HostId) -> Result<Self, FeedError> {
        let found: Self = keys.verify_statement(compact, Typ::Receipt)?;
        if found.host != *host {
            return Err(FeedError::OtherHost { found: found.host, wanted: host.clone() });
        }
        Ok(found)
    }
}
