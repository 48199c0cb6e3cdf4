//! Sessions through their lives: steps, effects, deadlines, the end.

use super::{CommandEnd, Host, OpenPlan, Over, PlanPhase, RunPart, TearDown, file_of, ids_of};
use crate::clock::Moment;
use crate::log::{note, warn};
use crate::session::{Effect, Input, Monitor, Phase, Reason, Refused, Session};
use crate::store::StoreError;
use crate::watch::{Service, Watched};
use crate::world::keyrings;
use crate::world::process;
use crate::world::remains::Remains;
use serde_json::json;
use std::time::Duration;
use tether_audit::{Ids, Outcome};
use tether_identity::SessionId;

/// How long until a session that could not be taken down is tried again.
const STUCK: Duration = Duration::from_secs(5);

/// Why a step was not made.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// There is no such session.
    #[error("there is no such session")]
    NoSession,
    /// The machine says no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The new state cannot be kept, so nothing was done.
    #[error("the session's state cannot be kept: {0}")]
    Store(#[from] StoreError),
    /// The connection's process ended meanwhile.
    #[error("the connection's process is gone")]
    ProcessGone,
}

impl Host {
    /// One step of one session: the new state on disk, then its effects.
    pub fn step(&mut self, id: &SessionId, input: Input) -> Result<(), StepError> {
        let session = self.sessions.get(id).ok_or(StepError::NoSession)?;
        let mut next = session.clone();
        let effects = next.step(input)?;
        match (&next.phase, self.keep_unless_gone(&next)) {
            // An end is not put off because a disk is full: the state on disk then leads to the same end.
            (Phase::Closing { .. } | Phase::Gone { .. }, Err(error)) => warn(error),
            (_, kept) => kept?,
        }
        match next.phase {
            Phase::Open { .. } => {
                crash_point!(BindKept);
            }
            Phase::Closing { .. } => {
                crash_point!(ClosingKept);
            }
            Phase::Reserved | Phase::Gone { .. } => {}
        }
        self.sessions.insert(id.clone(), next.clone());
        for effect in effects {
            self.do_effect(&next, effect);
        }
        Ok(())
    }

    /// What is gone is forgotten next; its last state on disk, Closing, leads there too.
    fn keep_unless_gone(&self, session: &Session) -> Result<(), StoreError> {
        if matches!(session.phase, Phase::Gone { .. }) { Ok(()) } else { self.keep(session) }
    }

    fn do_effect(&mut self, session: &Session, effect: Effect) {
        match effect {
            Effect::Watch(monitor) => self.watch_monitor(&session.grant.session, &monitor),
            Effect::RemoveAccount => {
                self.close_door(session);
                if let Err(error) = self.accounts.remove(session) {
                    self.record_error("account.stuck", "host.disk", ids_of(session), json!({"why": error.to_string()}));
                }
                crash_point!(ClosingAccounts);
            }
            Effect::TearDown { monitors, reason } => self.tear_down(session, monitors, reason),
            Effect::Forget => self.forget(session),
        }
    }

    /// Listens for a session's `tether run` and its recorders.
    pub(super) fn open_door(&mut self, session: &Session) -> std::io::Result<()> {
        Service::ALL.into_iter().try_for_each(|service| {
            let listener = self.doors.make(session, service)?;
            self.watch.add_door(session.grant.session.clone(), service, listener)
        })
    }

    /// Listens no longer.
    pub(super) fn close_door(&mut self, session: &Session) {
        self.watch.forget_doors(&session.grant.session);
        if let Err(error) = self.doors.remove(session) {
            warn(format_args!("session {}: its socket cannot be removed: {error}", session.grant.session));
        }
    }

    fn watch_monitor(&mut self, session: &SessionId, monitor: &Monitor) {
        let watched = Watched::Monitor { session: session.clone(), pid: monitor.pid };
        let pinned =
            process::pin_pid(monitor.pid).ok().filter(|_| process::start_of(monitor.pid) == Some(monitor.start));
        let gone = match pinned {
            Some(process) => self.watch.add(process, watched).is_err(),
            None => true,
        };
        if gone {
            self.step(session, Input::MonitorGone(monitor.pid)).unwrap_or_default();
        }
    }

    fn tear_down(&mut self, session: &Session, monitors: Vec<Monitor>, reason: Reason) {
        let about = json!({"reason": reason.as_str(), "connections": monitors.len()});
        self.record_ending(session, about);
        crash_point!(ClosingRecorded);
        let job = TearDown {
            session: Box::new(session.clone()),
            monitors: monitors.into_iter().map(pinned).collect(),
            world: self.worlds.remove(&session.grant.session),
            reason,
        };
        let id = session.grant.session.clone();
        self.pending.retain(|_, pending| {
            let of_it = pending.session == id;
            if of_it {
                process::kill(&pending.process);
            }
            !of_it
        });
        if self.workers.send(job).is_err() {
            warn("no worker is left to take a session down; agentd must be restarted");
        }
    }

    fn record_ending(&mut self, session: &Session, about: serde_json::Value) {
        let causes = &session.causes;
        let parent = match (causes.revoked, causes.reserved) {
            (Some(number), _) => Some(self.statement_number(number)),
            (None, reserved) => reserved.map(|number| self.record_number(number)),
        };
        let number = match self.record_under("session.ending", parent, ids_of(session), about) {
            Ok(number) => number,
            Err(error) => return warn(error),
        };
        let Some(known) = self.sessions.get_mut(&session.grant.session) else { return };
        known.causes.ending = Some(number);
        let known = known.clone();
        self.keep(&known).unwrap_or_else(warn);
    }

    /// A worker took a session down and looked for remains.
    pub fn torn_down(&mut self, session: &Session, remains: &Remains, trouble: Option<String>) {
        let id = &session.grant.session;
        let plans: Vec<String> = self.plans.iter().filter(|(_, p)| p.session == *id).map(|(n, _)| n.clone()).collect();
        for plan in plans {
            self.command_over(&plan, CommandEnd::Session);
        }
        self.recordings.session_ended(id);
        if let Some(why) = trouble {
            self.record_error("session.stuck", "session.teardown", ids_of(session), json!({"why": why}));
            self.stuck.insert(id.clone(), Moment::now().plus(STUCK));
            return;
        }
        if remains.is_clean() {
            if let Err(error) = self.record_done("session.removed", ids_of(session), remains.details()) {
                warn(error);
            }
        } else {
            self.record_error("session.removed", "session.remains", ids_of(session), remains.details());
        }
        crash_point!(GoneRecorded);
        self.step(id, Input::TornDown).unwrap_or_else(|error| warn(format_args!("session {id}: {error}")));
    }

    fn forget(&mut self, session: &Session) {
        let id = &session.grant.session;
        if let Err(error) = self.uids.release(session.uids, self.any_time()) {
            warn(format_args!("the uid ledger cannot be written: {error}"));
        }
        crash_point!(GoneUids);
        if let Err(error) = self.store.remove(&file_of(id)) {
            warn(error);
        }
        crash_point!(GoneFile);
        self.sessions.remove(id);
        self.channels.remove(id);
        self.counted.remove(id);
        if self.sessions.is_empty() {
            self.ground.let_go();
        }
    }

    /// A watched process is gone.
    pub fn process_gone(&mut self, watched: Watched) {
        match watched {
            Watched::Monitor { session, pid } => {
                self.step(&session, Input::MonitorGone(pid)).unwrap_or_default();
            }
            Watched::Pending { pid } => {
                self.pending.remove(&pid);
            }
            Watched::Asker { plan } => self.command_over(&plan, CommandEnd::AskerGone),
        }
    }

    /// Who asked is gone, or said that the command is over: whatever is left of it is killed.
    pub fn command_over(&mut self, name: &str, end: CommandEnd) {
        let Some(mut plan) = self.plans.remove(name) else { return };
        // An agent can stop its own sudo for ever: the plan's end is the end of the descriptor, too.
        self.watch.forget(&Watched::Asker { plan: name.to_owned() });
        let never_began = plan.phase == PlanPhase::Allowed;
        if let Some(recording) = plan.recording.as_ref().filter(|_| never_began) {
            self.recordings.never_began(&plan.session, recording);
        }
        if let Some(recording) = plan.recording.as_ref().filter(|_| !never_began) {
            // Who told its end has written all that it will.
            let writer = if end.status().is_some() { None } else { plan.asker.try_clone().ok() };
            self.recordings.ended(&plan.session, recording, writer);
        }
        let run = plan.run.take();
        self.command_closed(name, &plan, end);
        if let Some(RunPart { handed, teller }) = run {
            // Before the other half wakes, and drops what was lent: not here, under the lock.
            drop(handed);
            teller.tell(Over { end, begun: plan.phase == PlanPhase::Running, asker: plan.asker });
        }
    }

    fn command_closed(&mut self, name: &str, plan: &OpenPlan, end: CommandEnd) {
        if plan.phase == PlanPhase::Allowed {
            return self.command_never_ran(plan);
        }
        let used = self.cgroups.end_command(&plan.session, name).unwrap_or_else(|error| {
            warn(format_args!("a command of session {} cannot be ended: {error}", plan.session));
            None
        });
        crash_point!(EndedKilled);
        let Some(session) = self.sessions.get(&plan.session) else { return };
        let ids = ids_of(session);
        let mut about = super::details(plan.about.clone());
        about.insert("status".to_owned(), end.status().map_or(serde_json::Value::Null, Into::into));
        about.extend(end.exit());
        about.extend(used.map(|used| ("used".to_owned(), used.details())));
        let outcome = if end.code().is_empty() { Outcome::Allowed } else { Outcome::Refused };
        let parent = plan.record.map(|number| self.record_number(number));
        self.record_best("sudo.ended", (outcome, end.code()), parent, ids, about.into());
        crash_point!(EndedRecorded);
    }

    /// Allowed, and then the launcher did not come, or refused: something the agent handed over did not suit.
    fn command_never_ran(&mut self, plan: &OpenPlan) {
        let Some(session) = self.sessions.get(&plan.session) else { return };
        let ids = ids_of(session);
        let about = plan.about.clone();
        self.record_command_refused(&plan.session, "plan.not_begun", plan.login.clone(), ids, about);
    }

    /// Takes down again what could not be taken down.
    fn retry_stuck(&mut self, now: Moment) {
        let due: Vec<SessionId> = self.stuck.iter().filter(|(_, at)| **at <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            self.stuck.remove(&id);
            if let Some(session) = self.sessions.get(&id).cloned() {
                self.close_again(&session);
            }
        }
    }

    /// Ends what is over. Returns when to look again.
    pub fn run_deadlines(&mut self, now: Moment) -> Duration {
        self.tell_of_silence(now);
        self.end_sessions_that_are_over(now);
        self.kill_unbound(now);
        self.ask_again_if_unanswered(now);
        self.retry_stuck(now);
        self.end_late_plans(now);
        self.end_unrecorded(now);
        Duration::from_millis(500)
    }

    /// Says once that central is not heard any more, and once that it is heard again: whoever withholds statements is
    /// seen, by people who read the journal and in the chain.
    fn tell_of_silence(&mut self, now: Moment) {
        let (silence, most) = (self.trust.silence(now), self.config.host.times.silence());
        if (silence > most) == self.silent {
            return;
        }
        self.silent = !self.silent;
        let ids = Ids::unknown("of the host");
        let about =
            json!({"seconds": silence.as_secs(), "most": most.as_secs(), "position": self.trust.position().number});
        if self.silent {
            return self.record_error("feed.silent", "feed.stale", ids, about);
        }
        note("central is heard again");
        if let Err(error) = self.record_done("feed.heard", ids, about) {
            warn(error);
        }
    }

    /// Plans that the launcher did not come for, and commands whose time is over.
    fn end_late_plans(&mut self, now: Moment) {
        let over: Vec<String> =
            self.plans.iter().filter(|(_, plan)| plan.until <= now).map(|(n, _)| n.clone()).collect();
        for plan in over {
            self.command_over(&plan, CommandEnd::Time);
        }
    }

    fn end_sessions_that_are_over(&mut self, now: Moment) {
        let silent = self.trust.silence(now) > self.config.host.times.silence_live();
        // Its own span on CLOCK_BOOTTIME, and central's time where that is known: whichever is over first.
        let time = self.trust.time(now).unwrap_or(0);
        let over: Vec<(SessionId, Reason)> = self
            .sessions
            .iter()
            .filter(|(_, session)| matches!(session.phase, Phase::Reserved | Phase::Open { .. }))
            .filter_map(|(id, session)| {
                let over = session.grant.expires_at <= time || session.until_boottime_ms <= now.millis();
                let reason = match (over, self.has_too_many_records(id)) {
                    (true, _) => Reason::Expired,
                    (false, true) => Reason::Records,
                    (false, false) => Reason::Silence,
                };
                (silent || reason != Reason::Silence).then(|| (id.clone(), reason))
            })
            .collect();
        for (id, reason) in over {
            self.end_session(&id, reason);
        }
    }

    /// Connections that passed the account gate and were not bound in time.
    fn kill_unbound(&mut self, now: Moment) {
        let late: Vec<u32> = self.pending.iter().filter(|(_, p)| p.until <= now).map(|(pid, _)| *pid).collect();
        for pid in late {
            let Some(pending) = self.pending.remove(&pid) else { continue };
            process::kill(&pending.process);
            let ids = self.sessions.get(&pending.session).map_or_else(|| Ids::unknown("the session is gone"), ids_of);
            self.record_error("login.unbound", "session.not_bound", ids, json!({"pid": pid}));
        }
    }
}

/// A connection with a descriptor of its process, if that is still the same.
pub(super) fn pinned(monitor: Monitor) -> (Monitor, Option<std::os::fd::OwnedFd>) {
    let alive = process::start_of(monitor.pid) == Some(monitor.start);
    let process = alive.then(|| process::pin_pid(monitor.pid).ok()).flatten();
    (monitor, process)
}

impl TearDown {
    /// Kills, waits, drops, looks. Returns what is left and what went wrong.
    pub fn run(self, cgroups: &crate::world::cgroup::Cgroups) -> (Box<Session>, Remains, Option<String>) {
        let trouble = cgroups.end(&self.session.grant.session).err().map(|error| error.to_string());
        crash_point!(TornKilled);
        for (_, process) in self.monitors.iter().filter_map(|(m, p)| Some((m, p.as_ref()?))) {
            // With its child gone a monitor closes its PAM session and goes; one that hangs is killed.
            if !process::has_ended_within(process, Duration::from_millis(200)) {
                process::kill(process);
                process::has_ended_within(process, Duration::from_secs(2));
            }
        }
        drop(self.world);
        let keyrings = [self.session.uids.login, self.session.uids.read_only].map(keyrings::drop_of);
        let mut remains = Remains::look(&self.session);
        remains.keyrings(keyrings.into_iter().all(|gone| gone));
        crash_point!(TornLooked);
        (self.session, remains, trouble)
    }
}
