//! Recordings of hosts: what central has of each. The bytes are files beside the store.

use super::{Entry, StoreError};
use serde::{Deserialize, Serialize};
use tether_identity::{HostId, SessionId};
use tether_statement::UnixTime;

/// What central has of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// Whose it is.
    pub host: HostId,
    /// The session.
    pub session: SessionId,
    /// Its name there.
    pub name: String,
    /// How many bytes from its beginning are there: each was compared with the host's chain, and is on stable storage.
    pub bytes: u64,
    /// When something of it was last taken.
    pub taken: UnixTime,
    /// Our word that all of it is there, as it was signed then.
    pub receipt: Option<String>,
    /// What did not agree with the chain.
    pub aside: Option<Aside>,
    /// When it was removed since it was kept long enough.
    pub removed: Option<UnixTime>,
}

/// Bytes that did not agree with the chain, the first of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aside {
    /// Where they begin.
    pub offset: u64,
    /// SHA-256 of them, base64url.
    pub sha256: String,
    /// When they came.
    pub time: UnixTime,
    /// The file that they are kept in, within the folder of recordings; none if they were not kept.
    pub file: Option<String>,
}

/// How many bytes there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Use {
    /// Of one host.
    pub host: u64,
    /// Of all.
    pub total: u64,
}

/// A host's, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct OfHost {
    /// How many bytes are here.
    pub bytes: u64,
    /// How many recordings there are that the host had otherwise than its chain says, and not as it says.
    pub differ: u64,
}

/// What a store keeps of them.
pub trait Recordings {
    /// What central has of one.
    fn recording(&self, session: &SessionId, name: &str) -> Result<Option<Recording>, StoreError>;
    /// What central has of a session, by name.
    fn recordings(&self, session: &SessionId) -> Result<Vec<Recording>, StoreError>;
    /// Those that have something here, by session and name, after one of them, at most `most`.
    fn all_recordings(&self, after: Option<(&str, &str)>, most: usize) -> Result<Vec<Recording>, StoreError>;
    /// Those that have something here of which nothing came since that time, at most `most`.
    fn old_recordings(&self, before: UnixTime, most: usize) -> Result<Vec<Recording>, StoreError>;
    /// Writes one.
    fn put_recording(&mut self, recording: &Recording) -> Result<(), StoreError>;
    /// How many bytes there are, a host's and all.
    fn recordings_use(&self, host: Option<&HostId>) -> Result<Use, StoreError>;
    /// A host's, for people.
    fn recordings_of_host(&self, host: &HostId) -> Result<OfHost, StoreError>;
    /// A host's records about recordings of a session, or about one of them, from that place in the log on, at most `most`.
    fn told_of_recordings(
        &self,
        host: &HostId,
        session: &SessionId,
        name: Option<&str>,
        from: u64,
        most: usize,
    ) -> Result<Vec<Entry>, StoreError>;
}
