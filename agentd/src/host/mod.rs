//! Everything agentd knows, behind one lock, and the deeds that follow from it.
//!
//! What takes long (killing and waiting) is not done here but by [`TearDown`] workers.

mod feed;
mod life;
mod plans;
mod recorded;
mod recordings;
mod records;
mod recover;
mod refusals;
mod spent;

use crate::clock::{Moment, wall_seconds};
use crate::config::Config;
use crate::log::{AuditLog, LogError, Ticket};
use crate::recorders::Recorders;
use crate::recordings::Recordings;
use crate::redaction::Redaction;
use crate::session::{Monitor, Reason, Session};
use crate::store::{Store, StoreError};
use crate::trust::Trust;
use crate::watch::Watch;
use crate::world::accounts::Accounts;
use crate::world::cgroup::Cgroups;
use crate::world::doors::Doors;
use crate::world::ground::Ground;
use crate::world::namespaces::World;
use crate::world::program::Programs;
use crate::world::uids::Uids;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use tether_identity::SessionId;

pub use feed::{INBOX, RESUME_REQUEST};
pub use life::StepError;
pub use plans::{Awaited, CommandEnd, Handed, Lent, OpenPlan, Over, PlanPhase, RunPart, Way, awaiting};
pub use recorded::Recorded;
pub use recordings::Unfit;
pub use records::{details, ids_of, ids_of_grant};
pub use recover::{STATE, STOPPED_FILE, random_id};
pub use refusals::Refusals;
pub use spent::{Spent, Used};

/// Why agentd cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Its state on disk.
    #[error("state: {0}")]
    Store(#[from] StoreError),
    /// The audit chain.
    #[error("audit: {0}")]
    Log(#[from] LogError),
    /// Folders, cgroups and the like.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A session to take down; done by a worker that does not hold the lock.
#[derive(Debug)]
pub struct TearDown {
    /// Which.
    pub session: Box<Session>,
    /// Its connections.
    pub monitors: Vec<(Monitor, Option<OwnedFd>)>,
    /// Its namespaces: dropping them takes time.
    pub world: Option<World>,
    /// Why.
    pub reason: Reason,
}

/// A connection that passed the account gate and is not bound yet.
#[derive(Debug)]
pub struct Pending {
    /// Its monitor.
    pub process: OwnedFd,
    /// When that started, in clock ticks since boot.
    pub start: u64,
    /// When it is killed.
    pub until: Moment,
    /// The session whose grant it passed with.
    pub session: SessionId,
}

/// The state.
#[derive(Debug)]
pub struct Host {
    /// What the admin wrote down.
    pub config: Config,
    /// The kernel's boot id.
    pub boot: String,
    /// State on disk.
    pub store: Store,
    /// What central says.
    pub trust: Trust,
    /// The chain.
    pub log: AuditLog,
    /// The last record that nobody waited for under the lock.
    pub unwaited: Option<Ticket>,
    /// How many records each session caused since agentd's start.
    pub counted: BTreeMap<SessionId, u64>,
    /// What of arguments no record shows.
    pub redaction: Redaction,
    /// Sessions that are not gone.
    pub sessions: BTreeMap<SessionId, Session>,
    /// Their namespaces.
    pub worlds: BTreeMap<SessionId, World>,
    /// Connections between the account gate and being bound, by pid.
    pub pending: BTreeMap<u32, Pending>,
    /// Delegations and sessions that were used.
    pub spent: Spent,
    /// The uid ledger.
    pub uids: Uids,
    /// Account files.
    pub accounts: Accounts,
    /// Listeners of `tether run`.
    pub doors: Doors,
    /// Cgroups.
    pub cgroups: Cgroups,
    /// Digests of programs.
    pub programs: Programs,
    /// What of the folders of programs is not to be read.
    pub ground: Ground,
    /// What is recorded.
    pub recordings: Recordings,
    /// Commands that were allowed and are not over.
    pub plans: BTreeMap<String, OpenPlan>,
    /// Who records channels.
    pub recorders: Recorders,
    /// What of each session is recorded.
    pub recorded: BTreeMap<SessionId, Recorded>,
    /// Refusals that are counted rather than recorded one by one.
    pub refusals: Refusals,
    /// Sessions whose taking down failed, and when to try again.
    pub stuck: BTreeMap<SessionId, Moment>,
    /// The clock's floor as it is on disk.
    pub kept_floor: u64,
    /// Whether the admin stopped all agents.
    pub stopped: bool,
    /// Whether it was said that central is not heard.
    pub silent: bool,
    /// Who watches processes.
    pub watch: Watch,
    /// Who takes sessions down.
    pub workers: Sender<TearDown>,
}

impl Host {
    /// The session that has this login name.
    pub fn by_account(&self, account: &str) -> Option<&Session> {
        self.sessions.values().find(|session| session.grant.account.as_str() == account)
    }

    /// Central's time; before central answered, the wall clock's, but never before what was seen signed. For
    /// what has to note a time even then, such as when a uid was last in use.
    pub fn any_time(&self) -> u64 {
        self.trust.time(Moment::now()).unwrap_or_else(|| wall_seconds().max(self.trust.floor()))
    }

    /// Writes a session's state to disk, for agentd's next start in this boot.
    pub fn keep(&self, session: &Session) -> Result<(), StoreError> {
        self.store.put_for_restart(&file_of(&session.grant.session), session)
    }
}

fn file_of(session: &SessionId) -> String {
    format!("sessions/{session}.json")
}
