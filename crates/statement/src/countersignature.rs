//! Central has a host's audit chain up to a head, and says so: from then on neither the host's root nor its courier can
//! take a record back unseen.

use crate::UnixTime;
use crate::feed::FeedError;
use crate::jws::Typ;
use crate::keyset::TrustedKeys;
use serde::{Deserialize, Serialize};
use tether_identity::HostId;

/// Central had all records of `host` up to `number` at `time`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Countersignature {
    /// Whose chain.
    pub host: HostId,
    /// Its last record that a signed head covers; 0 if there is none.
    pub number: u64,
    /// That record's hash; empty if there is none.
    pub hash: String,
    /// Digest of the head.
    pub head: String,
    /// When.
    pub time: UnixTime,
}

impl Countersignature {
    /// Checks a compact countersignature for this host.
    pub fn verify(compact: &str, keys: &TrustedKeys, host: &HostId) -> Result<Self, FeedError> {
        let found: Self = keys.verify_statement(compact, Typ::Countersignature)?;
        if found.host != *host {
            return Err(FeedError::OtherHost { found: found.host, wanted: host.clone() });
        }
        Ok(found)
    }
}
