//! Commands under sudo: allowed, begun, over.

use crate::clock::Moment;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tether_identity::SessionId;

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanPhase {
    /// Allowed; the launcher has not come yet.
    Allowed,
    /// Recorded and running.
    Running,
}

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself; the wait status as waitpid(2) gives it.
    Status(i32),
    /// The sudo that asked for it is gone.
    AskerGone,
    /// Its session ended.
    Session,
    /// It ran longer than its rule or the host allows.
    Time,
    /// It printed more than its rule or the host allows.
    Output,
}

impl CommandEnd {
    /// The code of its record; empty if nothing was cut short.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Status(_) | Self::AskerGone | Self::Session => "",
            Self::Time => "command.time_limit",
            Self::Output => "command.output_limit",
        }
    }

    /// The wait status, if it is known.
    pub const fn status(self) -> Option<i32> {
        if let Self::Status(status) = self { Some(status) } else { None }
    }
}

/// A command that was allowed and is not over.
#[derive(Debug)]
pub struct OpenPlan {
    /// Whose.
    pub session: SessionId,
    /// Where it is.
    pub phase: PlanPhase,
    /// Until when the launcher must come; once it runs, when its time is over.
    pub until: Moment,
    /// How long it may run.
    pub time_limit: Duration,
    /// For its records: program, digest, arguments, rule, bundle.
    pub about: serde_json::Value,
    /// The sudo that asked.
    pub asker: OwnedFd,
    /// sudo's pid.
    pub asker_pid: u32,
}
