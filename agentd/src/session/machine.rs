//! The machine.

use super::causes::Causes;
use super::types::{Monitor, Phase, Reason};
use crate::world::namespaces::WorldId;
use serde::{Deserialize, Serialize};
use tether_identity::AccountPair;
use tether_statement::Grant;

/// One session: its grant, its uids, where it is in its life. This is also its form on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// What central granted.
    pub grant: Grant,
    /// Its two uids.
    pub uids: AccountPair,
    /// The boot in which it was reserved.
    pub boot: String,
    /// When it was reserved, by the wall clock: for people.
    pub since: u64,
    /// When its time is over: milliseconds of that boot's CLOCK_BOOTTIME.
    pub until_boottime_ms: u64,
    /// Which namespaces are its own, once they are made.
    pub world: Option<WorldId>,
    /// What its records came of.
    #[serde(default)]
    pub causes: Causes,
    /// Where it is in its life.
    pub phase: Phase,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A connection proved its certificate and asks to be bound.
    Bind(Monitor),
    /// A connection's process is gone.
    MonitorGone(u32),
    /// It has to end.
    End(Reason),
    /// Everything was taken down.
    TornDown,
}

/// What to do, in this order, after the new state is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Watch this connection's process.
    Watch(Monitor),
    /// Remove the account files: no look-up finds it from here on.
    RemoveAccount,
    /// Kill its processes and these connections, drop its namespaces, check; then [`Input::TornDown`].
    TearDown {
        /// The connections that were bound.
        monitors: Vec<Monitor>,
        /// Why.
        reason: Reason,
    },
    /// Forget it; its file may go.
    Forget,
}

/// A connection that may not be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// As many connections as the grant allows are bound already.
    #[error("the session has all of the {0} connections that it may have")]
    AlreadyBound(u32),
    /// The session is ending, or gone.
    #[error("the session has ended")]
    Ended,
}

impl Session {
    /// Moves on. Nothing changes when a connection is refused.
    pub fn step(&mut self, input: Input) -> Result<Vec<Effect>, Refused> {
        match input {
            Input::Bind(monitor) => self.bind(monitor),
            Input::MonitorGone(pid) => Ok(self.monitor_gone(pid)),
            Input::End(reason) => Ok(self.end(reason)),
            Input::TornDown => Ok(self.torn_down()),
        }
    }

    /// Whether a further connection could be bound.
    pub fn can_bind(&self) -> Result<(), Refused> {
        let bound = match &self.phase {
            Phase::Reserved => 0,
            Phase::Open { monitors } => monitors.len(),
            Phase::Closing { .. } | Phase::Gone { .. } => return Err(Refused::Ended),
        };
        let most = self.grant.connections;
        if bound >= most as usize { Err(Refused::AlreadyBound(most)) } else { Ok(()) }
    }

    /// The connections that are bound.
    pub fn monitors(&self) -> &[Monitor] {
        match &self.phase {
            Phase::Open { monitors } => monitors,
            _ => &[],
        }
    }

    /// Whether commands may run in it.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    fn bind(&mut self, monitor: Monitor) -> Result<Vec<Effect>, Refused> {
        self.can_bind()?;
        if let Phase::Open { monitors } = &mut self.phase {
            monitors.push(monitor.clone());
        } else {
            self.phase = Phase::Open { monitors: vec![monitor.clone()] };
        }
        Ok(vec![Effect::Watch(monitor)])
    }

    fn monitor_gone(&mut self, pid: u32) -> Vec<Effect> {
        let Phase::Open { monitors } = &mut self.phase else { return Vec::new() };
        monitors.retain(|monitor| monitor.pid != pid);
        if monitors.is_empty() { self.close(Vec::new(), Reason::Disconnected) } else { Vec::new() }
    }

    fn end(&mut self, reason: Reason) -> Vec<Effect> {
        match &self.phase {
            Phase::Reserved => self.close(Vec::new(), reason),
            Phase::Open { monitors } => {
                let monitors = monitors.clone();
                self.close(monitors, reason)
            }
            Phase::Closing { .. } | Phase::Gone { .. } => Vec::new(),
        }
    }

    fn close(&mut self, monitors: Vec<Monitor>, reason: Reason) -> Vec<Effect> {
        self.phase = Phase::Closing { reason, monitors: monitors.clone() };
        vec![Effect::RemoveAccount, Effect::TearDown { monitors, reason }]
    }

    fn torn_down(&mut self) -> Vec<Effect> {
        let Phase::Closing { reason, .. } = self.phase else { return Vec::new() };
        self.phase = Phase::Gone { reason };
        vec![Effect::Forget]
    }
}
