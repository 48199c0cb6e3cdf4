//! What the machine is made of.

use serde::{Deserialize, Serialize};

/// An sshd process that serves one connection of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monitor {
    /// Its process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot (proc(5), field 22): tells it from a later namesake.
    pub start: u64,
    /// `SSH_CONNECTION`.
    pub connection: String,
    /// Number of the record of its login.
    #[serde(default)]
    pub record: Option<u64>,
}

/// Where a session is in its life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Phase {
    /// The account exists; nobody has logged in.
    Reserved,
    /// These connections are bound to it. Never empty.
    Open {
        /// The connections.
        monitors: Vec<Monitor>,
    },
    /// It is being taken down.
    Closing {
        /// Why.
        reason: Reason,
        /// The connections that were bound: they end too.
        monitors: Vec<Monitor>,
    },
    /// Nothing of it is left.
    Gone {
        /// Why it ended.
        reason: Reason,
    },
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its last connection closed.
    Disconnected,
    /// Its time is over.
    Expired,
    /// Central took it back.
    Revoked,
    /// Central has been silent for too long.
    Silence,
    /// The host's admin ended it, or all of them.
    Stopped,
    /// The machine was started anew since.
    Rebooted,
    /// It caused more records than one session may.
    Records,
    /// A channel's recorder is gone.
    Recorder,
    /// Something of it could not be made, or was found changed.
    Broken,
    /// Its recordings are as long as they may be, or cannot go on.
    Recording,
}

impl Reason {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Silence => "silence",
            Self::Stopped => "stopped",
            Self::Rebooted => "rebooted",
            Self::Records => "records",
            Self::Recorder => "recorder",
            Self::Broken => "broken",
            Self::Recording => "recording",
        }
    }
}
