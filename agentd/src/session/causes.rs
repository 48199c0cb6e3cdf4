//! What a session's records came of, by their numbers: kept with its state, so that its tree goes on over a restart.

use serde::{Deserialize, Serialize};

/// Numbers of records in the host's chain, and of statements in its feed. None where nothing of the kind happened yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Causes {
    /// The statement that granted it.
    pub granted: Option<u64>,
    /// `session.reserved`.
    pub reserved: Option<u64>,
    /// The statement that took it back.
    pub revoked: Option<u64>,
    /// `session.ending`.
    pub ending: Option<u64>,
}
