//! Freshness: how far the feed goes and when that was true, and that a restart saw all of it.

use crate::UnixTime;
use crate::feed::{FeedError, Position};
use crate::jws::Typ;
use crate::keyset::TrustedKeys;
use crate::object::object;
use serde::{Deserialize, Serialize};
use tether_identity::HostId;

/// The feed of `host` went this far at `time`. Central signs one every ten seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Whose feed.
    pub host: HostId,
    /// Its last statement.
    #[serde(deserialize_with = "object")]
    pub position: Position,
    /// When.
    pub time: UnixTime,
}

impl Head {
    /// Checks a compact head for this host.
    pub fn verify(compact: &str, keys: &TrustedKeys, host: &HostId) -> Result<Self, FeedError> {
        let head: Self = keys.verify_statement(compact, Typ::Head)?;
        if head.host != *host {
            return Err(FeedError::OtherHost { found: head.host, wanted: host.clone() });
        }
        Ok(head)
    }
}

/// What a host asks when agentd starts: nothing is accepted until central answers this very nonce, so a
/// disk put back to an earlier state cannot replay what was taken since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeRequest {
    /// Who asks.
    pub host: HostId,
    /// Random, new at each start.
    pub nonce: String,
    /// The kernel's boot id.
    pub boot_id: String,
    /// How far the host has read.
    pub position: Position,
    /// The greatest uid ever given out.
    pub uid_mark: u32,
}

/// Central's answer: the mark and the position that the host must have at least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// To whom.
    pub host: HostId,
    /// The request's nonce.
    pub nonce: String,
    /// How far the feed goes.
    #[serde(deserialize_with = "object")]
    pub position: Position,
    /// How far central has ever seen this host read. A grant up to there that the host reads only now was
    /// read before, on a disk that has been put back since: it is void.
    pub seen: u64,
    /// The greatest uid that central has seen from this host: the mark never falls below.
    pub uid_mark: u32,
    /// When.
    pub time: UnixTime,
}

impl Resume {
    /// Checks a compact resume for this host. The caller compares the nonce.
    pub fn verify(compact: &str, keys: &TrustedKeys, host: &HostId) -> Result<Self, FeedError> {
        let resume: Self = keys.verify_statement(compact, Typ::Resume)?;
        if resume.host != *host {
            return Err(FeedError::OtherHost { found: resume.host, wanted: host.clone() });
        }
        Ok(resume)
    }
}
