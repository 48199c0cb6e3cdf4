//! Commands under sudo: allowed, begun, over.

use crate::clock::Moment;
use std::os::fd::OwnedFd;
use tether_identity::SessionId;

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanPhase {
    /// Allowed; the launcher has not come yet.
    Allowed,
    /// Recorded and running.
    Running,
}

/// A command that was allowed and is not over.
#[derive(Debug)]
pub struct OpenPlan {
    /// Whose.
    pub session: SessionId,
    /// Where it is.
    pub phase: PlanPhase,
    /// Until when the launcher must come.
    pub until: Moment,
    /// For its records: program, digest, arguments, rule, bundle.
    pub about: serde_json::Value,
    /// The sudo that asked.
    pub asker: OwnedFd,
    /// sudo's pid.
    pub asker_pid: u32,
}
