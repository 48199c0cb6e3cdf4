//! Starting: what is on disk and on the host is taken up where it was.

use super::feed::BUNDLES_FILE;
use super::{Host, HostError, Refusals, Spent, TearDown, ids_of};
use crate::clock::Moment;
use crate::config::Config;
use crate::log::{AUDIT_FOLDER, AuditLog, JOURNAL_SOCKET, Journal, of_this_host, warn};
use crate::recorders::Recorders;
use crate::recordings::{FOLDER, Recordings};
use crate::redaction::Redaction;
use crate::session::{Input, Phase, Reason, Session};
use crate::store::Store;
use crate::trust::{Kept, Trust};
use crate::watch::Watch;
use crate::world::accounts::Accounts;
use crate::world::cgroup::Cgroups;
use crate::world::doors::Doors;
use crate::world::ground::Ground;
use crate::world::namespaces::World;
use crate::world::process;
use crate::world::program::Programs;
use crate::world::uids::Uids;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use tether_audit::Ids;
use tether_hostlink::paths;
use tether_identity::SessionId;

/// Where agentd keeps what outlives it.
pub const STATE: &str = "/var/lib/tether";
/// Present while the admin has stopped all agents.
pub const STOPPED_FILE: &str = "stopped.json";

impl Host {
    /// Reads everything, asks central, and takes up the sessions that were there.
    pub fn start(config: Config, watch: Watch, workers: Sender<TearDown>) -> Result<Self, HostError> {
        let asked = Moment::now();
        let boot = boot_id().map_err(|source| system("the boot id", source))?;
        let store = Store::open(STATE)?;
        make_run_folders().map_err(|source| system("the folders under /run/tether", source))?;
        let kept: Option<Kept> = store.get("trust.json")?;
        let begins_anew = kept.is_none();
        let kept = kept.unwrap_or_default();
        let kept_floor = kept.floor;
        let bundles = store.get(BUNDLES_FILE)?.unwrap_or_default();
        let trust = Trust::restore(&config.host, kept, bundles, nonce()?, asked);
        let host = Self {
            log: open_log(&config.host, &boot)?,
            unwaited: None,
            counted: BTreeMap::new(),
            redaction: Redaction::new(&config.host.audit.redact),
            trust,
            sessions: read_sessions(&store)?,
            worlds: BTreeMap::new(),
            pending: BTreeMap::new(),
            spent: Spent::load(&store, kept_floor)?,
            uids: Uids::open(&store.path("uids")).map_err(|source| system("the uid ledger", source))?,
            accounts: Accounts::open(paths::ACCOUNTS).map_err(|source| system("the account folders", source))?,
            doors: Doors::open(paths::RUN_FOLDER).map_err(|source| system(paths::RUN_FOLDER, source))?,
            cgroups: Cgroups::open().map_err(|source| system("the cgroup of sessions", source))?,
            programs: Programs::default(),
            ground: Ground::new().map_err(|source| system("an eventfd", source))?,
            recordings: Recordings::open(FOLDER, config.host.recording.clone())
                .map_err(|source| system(FOLDER, source))?,
            plans: BTreeMap::new(),
            recorders: Recorders::new(config.host.recording.rate_bytes())
                .map_err(|source| system("an epoll for recorders", source))?,
            channels: BTreeMap::new(),
            refusals: Refusals::default(),
            stuck: BTreeMap::new(),
            kept_floor,
            stopped: store.get::<bool>(STOPPED_FILE)?.unwrap_or(false),
            silent: false,
            config,
            boot,
            store,
            watch,
            workers,
        };
        host.started(begins_anew)
    }

    fn started(mut self, begins_anew: bool) -> Result<Self, HostError> {
        let about = json!({"version": env!("CARGO_PKG_VERSION"), "sessions": self.sessions.len()});
        if self.has_a_broken_chain() {
            warn("this start is not on record, and no agent is let in");
        } else {
            self.record_done("agentd.started", Ids::unknown("of the host"), about)?;
        }
        if self.log.torn() > 0 {
            let about = json!({"bytes": self.log.torn(), "kept": "/var/lib/tether/audit/torn"});
            self.record_error("audit.torn", "audit.torn", Ids::unknown("of the host"), about);
        }
        self.take_up_counts();
        self.take_up_recordings();
        self.write_ca_keys().map_err(|source| system(paths::USER_CA_KEYS, source))?;
        self.write_question().map_err(|source| system("the resume request", source))?;
        self.sweep();
        self.expect_recorders();
        let ids: Vec<SessionId> = self.sessions.keys().cloned().collect();
        for id in ids {
            self.take_up(&id, begins_anew);
        }
        if !self.sessions.is_empty() {
            self.ground.want();
        }
        Ok(self)
    }

    /// A session has as many records as it caused, whoever was agentd then.
    fn take_up_counts(&mut self) {
        let counts = self.log.left().records.iter().filter_map(|(id, count)| Some((id.parse().ok()?, *count)));
        self.counted = counts.filter(|(id, _)| self.sessions.contains_key(id)).collect();
    }

    /// What began to be recorded has an end on record, whatever a power cut took of it.
    fn take_up_recordings(&mut self) {
        for ((session, name), begun) in self.log.left().recordings.clone() {
            let Ok(id) = session.parse() else { continue };
            let (ids, started) = (begun.ids.clone(), begun.record);
            if self.recordings.take_up(&id, &name, begun) {
                let why = "the machine ended while it was recorded: its file may hold less than was shown";
                self.record_gap(&name, why, Some(started), ids);
            }
        }
    }

    /// The same question with how far this host has come: central notes it, against a disk that is put back.
    pub(super) fn tell_central(&self) {
        if let Err(error) = self.write_question() {
            warn(format_args!("{}: {error}", super::feed::RESUME_REQUEST));
        }
    }

    /// Puts the question to central where the courier finds it.
    fn write_question(&self) -> io::Result<()> {
        let request = self.trust.resume_request(&self.boot, self.uids.mark());
        crate::store::replace_readable(super::feed::RESUME_REQUEST.as_ref(), &serde_json::to_vec(&request)?)
    }

    /// Asks anew when central has been silent since the start: an answer is worth only as much time as it took.
    pub(super) fn ask_again_if_unanswered(&mut self, now: Moment) {
        let patience = self.config.host.times.silence() / 2;
        if self.trust.unanswered(now).is_none_or(|span| span < patience) {
            return;
        }
        let asked = random_id().and_then(|nonce| {
            self.trust.ask_again(nonce, now);
            self.write_question()
        });
        if let Err(error) = asked {
            warn(format_args!("central cannot be asked again: {error}"));
        }
    }

    /// Whether the chain that is here must not be continued.
    fn has_a_broken_chain(&self) -> bool {
        self.log.closed().is_some_and(|closed| closed.code != "audit.full")
    }

    /// What belongs to no session goes: account files, and cgroups under our own folder.
    fn sweep(&mut self) {
        let sessions: Vec<&Session> = self.sessions.values().collect();
        if let Err(error) = self.accounts.sweep(&sessions) {
            warn(format_args!("account files cannot be swept: {error}"));
        }
        if let Err(error) = self.doors.sweep(&sessions) {
            warn(format_args!("{} cannot be swept: {error}", paths::RUN_FOLDER));
        }
        for id in self.cgroups.sessions().unwrap_or_default() {
            if !self.sessions.contains_key(&id)
                && let Err(error) = self.cgroups.end(&id)
            {
                warn(format_args!("the cgroup of an unknown session {id} cannot be ended: {error}"));
            }
        }
    }

    fn take_up(&mut self, id: &SessionId, begins_anew: bool) {
        let Some(session) = self.sessions.get(id).cloned() else { return };
        // Enrolled anew: who granted it may be another central, whose revocations come here no more.
        let anew = begins_anew.then_some(Reason::Stopped);
        let rebooted = (session.boot != self.boot).then_some(Reason::Rebooted);
        let ends = anew.or(rebooted).or_else(|| self.has_a_broken_chain().then_some(Reason::Broken));
        if let Some(reason) = ends
            && !matches!(session.phase, Phase::Closing { .. } | Phase::Gone { .. })
        {
            return self.end_session(id, reason);
        }
        match session.phase {
            Phase::Reserved => self.take_up_reserved(id),
            Phase::Open { .. } => self.take_up_open(&session),
            Phase::Closing { .. } => self.close_again(&session),
            Phase::Gone { .. } => self.forget_gone(&session),
        }
    }

    fn take_up_reserved(&mut self, id: &SessionId) {
        // agentd died before its namespaces were made, perhaps before the reservation was on record: better twice
        // there than not at all.
        if let Some(mut session) = self.sessions.get(id).filter(|session| session.world.is_none()).cloned() {
            match self.record_reserved(&mut session) {
                Ok(()) => self.sessions.insert(id.clone(), session),
                Err(error) => {
                    warn(error);
                    return self.end_session(id, Reason::Broken);
                }
            };
        }
        if let Err(why) = self.make_visible(id) {
            warn(format_args!("session {id}: {why}"));
            self.end_session(id, Reason::Broken);
        }
    }

    /// The account files outlived agentd in /run; the namespaces live in the session's processes.
    fn take_up_open(&mut self, session: &Session) {
        let id = &session.grant.session;
        // Without a door `tether run` is refused, and all else goes on.
        for made in [self.accounts.write(session), self.open_door(session)] {
            made.unwrap_or_else(|error| warn(format_args!("session {id}: {error}")));
        }
        let pids = self.cgroups.logins(id);
        let world = session.world.as_ref().and_then(|id| pids.iter().find_map(|pid| World::of_process(*pid, id).ok()));
        if let Some(world) = world {
            self.worlds.insert(id.clone(), world);
        }
        for monitor in session.monitors() {
            let watched = crate::watch::Watched::Monitor { session: id.clone(), pid: monitor.pid };
            let alive = process::start_of(monitor.pid) == Some(monitor.start);
            let pinned = alive.then(|| process::pin_pid(monitor.pid).ok()).flatten();
            let is_watched = pinned.is_some_and(|process| self.watch.add(process, watched).is_ok());
            if !is_watched {
                self.step(id, Input::MonitorGone(monitor.pid)).unwrap_or_default();
            }
        }
    }

    pub(super) fn close_again(&mut self, session: &Session) {
        let Phase::Closing { reason, monitors } = &session.phase else { return };
        self.close_door(session);
        if let Err(error) = self.accounts.remove(session) {
            self.record_error("account.stuck", "host.disk", ids_of(session), json!({"why": error.to_string()}));
        }
        let monitors = monitors.iter().cloned().map(super::life::pinned).collect();
        let world = self.worlds.remove(&session.grant.session);
        let job = TearDown { session: Box::new(session.clone()), monitors, world, reason: *reason };
        if self.workers.send(job).is_err() {
            warn("no worker is left to take a session down; agentd must be restarted");
        }
    }

    fn forget_gone(&mut self, session: &Session) {
        let id = &session.grant.session;
        if let Err(error) = self.store.remove(&super::file_of(id)) {
            warn(error);
        }
        self.sessions.remove(id);
    }
}

/// The chain, which the courier reads.
fn open_log(config: &crate::config::Host, boot: &str) -> Result<AuditLog, HostError> {
    let folder = of_this_host(AUDIT_FOLDER.as_ref()).map_err(|source| system(AUDIT_FOLDER, source))?;
    let log = AuditLog::open(Arc::new(folder), config.audit.clone(), config.host.as_str(), boot)?;
    let journal = config.audit.journal.then(|| Journal::start(JOURNAL_SOCKET.as_ref(), config.host.as_str()));
    if let Some(journal) = journal.flatten() {
        log.copy_to(journal);
    }
    Ok(log)
}

fn read_sessions(store: &Store) -> Result<BTreeMap<SessionId, Session>, HostError> {
    let mut sessions = BTreeMap::new();
    for name in store.list("sessions")? {
        let file = format!("sessions/{name}");
        match store.get::<Session>(&file) {
            Ok(Some(session)) => {
                sessions.insert(session.grant.session.clone(), session);
            }
            Ok(None) => {}
            // The machine ended while it was written: that session is over, and the sweep takes what is left.
            Err(error) => {
                warn(format_args!("a session's file is damaged, and its session is over: {error}"));
                store.remove(&file)?;
            }
        }
    }
    Ok(sessions)
}

fn make_run_folders() -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create("/run/tether")?;
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(paths::HOME)
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// 128 random bits in hex.
pub fn random_id() -> io::Result<String> {
    let mut bytes = [0_u8; 16];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(io::Error::other("the kernel gave too few random bytes"));
    }
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn nonce() -> Result<String, HostError> {
    random_id().map_err(|source| system("random bytes", source))
}

fn system(what: &'static str, source: io::Error) -> HostError {
    HostError::System { what, source }
}
