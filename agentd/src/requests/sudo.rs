//! Commands under sudo: decided here (`super::plan`), run by the launcher, recorded before they run.

use super::{Response, not_yours};
use crate::clock::Moment;
use crate::host::{CommandEnd, Host, PlanPhase, Way, ids_of};
use crate::log::{LogError, Ticket};
use crate::session::Session;
use crate::world::net;
use crate::world::process::{self, Process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use tether_audit::Parent;
use tether_bundle::Policy;
use tether_hostlink::{CommandLine, Refusal, Reply, Word};
use tether_identity::SessionId;

/// The signal by which the launcher's keeper ends a command that printed too much (signal(7)).
const XFSZ: i32 = 25;
/// The one by which it ends a command that it could not record.
const PWR: i32 = 30;
/// How many bytes of `sudo -l` go into one answer; the rest is counted.
const LIST_MAX: usize = 40 * 1024;

/// A command whose record is on its way to the disk.
#[derive(Debug)]
pub struct Recorded {
    /// The record.
    pub ticket: Ticket,
    session: SessionId,
    /// The launcher.
    pid: u32,
    plan: String,
}

impl Host {
    /// May this agent run this?
    pub(super) fn decide(&mut self, id: &SessionId, peer: &Process, line: &CommandLine) -> Response {
        let planned = self.plan(id, peer, line, Way::Sudo).and_then(|planned| {
            let reply = planned.reply();
            Ok(Response::with(reply, planned.descriptors().map_err(|error| internal(&error))?))
        });
        match planned {
            Ok(response) => response,
            Err(refusal) => {
                self.record_sudo_refused((id, peer), line, Way::Sudo, &refusal);
                Err(refusal).into()
            }
        }
    }

    pub(super) fn record_sudo_refused(
        &mut self,
        (id, peer): (&SessionId, &Process),
        line: &CommandLine,
        way: Way,
        refusal: &Refusal,
    ) {
        let Some(session) = self.sessions.get(id) else { return };
        let ids = ids_of(session);
        let about = json!({
            "argv": self.redaction.texts(&line.argv), "cwd": start_of(&line.cwd), "tty": line.tty, "by": way.as_str(),
            "why": self.redaction.words(&refusal.text, &line.argv),
        });
        let login = self.login_of(id, peer);
        self.record_command_refused(id, &refusal.code, login, ids, about);
    }

    /// sudo's plugin or the PAM module refused without asking: it goes on record as if agentd had.
    pub(super) fn report(
        &mut self,
        id: &SessionId,
        peer: &Process,
        refusal: &Refusal,
        argv: &[Word],
    ) -> Result<Reply, Refusal> {
        let session = self.sessions.get(id).ok_or_else(not_yours)?;
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_');
        if refusal.code.len() > 64 || !refusal.code.bytes().all(known) {
            return Err(not_yours());
        }
        let ids = ids_of(session);
        let words: Vec<Value> = argv.iter().map(|word| tether_audit::bytes(word.as_bytes())).collect();
        let texts: Vec<String> = argv.iter().map(|word| word.text().unwrap_or_default().to_owned()).collect();
        let why = self.redaction.words(&refusal.text, &texts);
        let about = json!({"argv": self.redaction.argv(&words), "why": why, "pid": peer.pid});
        let login = self.login_of(id, peer);
        self.record_command_refused(id, &refusal.code, login, ids, about);
        Ok(Reply::Done)
    }

    /// The session, if it is open and everything that must hold for it holds.
    pub(super) fn standing(&self, id: &SessionId) -> Result<&Session, Refusal> {
        let session = self.sessions.get(id).filter(|session| session.is_open());
        let session = session.ok_or_else(|| Refusal::new("session.ended", "the session has ended"))?;
        self.check_stands(session).map_err(|(code, text)| Refusal::new(&code, text))?;
        Ok(session)
    }

    /// The launcher's last word before exec: checked again, recorded, put into a cgroup of its own.
    pub(super) fn begin(&mut self, id: &SessionId, peer: &Process, name: &str) -> Result<Response, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.phase == PlanPhase::Allowed);
        let plan = plan.ok_or_else(not_yours)?;
        // sudo runs the launcher itself, or through one process of its own when it keeps a terminal; the runner's
        // launcher splits in two.
        let sudo = plan.asker_pid;
        let of_sudo =
            peer.pid == sudo || peer.parent == sudo || Process::look(peer.parent).is_ok_and(|p| p.parent == sudo);
        if !of_sudo || plan.until < Moment::now() {
            return Err(Refusal::new("plan.void", "the plan is over, or another sudo's"));
        }
        self.still_allowed(plan)?;
        let (about, net, login) = (plan.about.clone(), plan.net.clone(), plan.login.clone());
        let cgroup = |error: std::io::Error| Refusal::new("host.cgroup", error.to_string());
        self.cgroups.make_command(id, name).map_err(cgroup)?;
        if !net.is_empty() {
            self.hold_to(id, name, &net, &about["argv"], login.clone())?;
        }
        self.cgroups.enter_command(id, name, peer.pid).map_err(cgroup)?;
        crash_point!(BeginCgroup);
        let ids = self.sessions.get(id).map(ids_of).ok_or_else(not_yours)?;
        let begun = self.begin_record("sudo.command", login, ids, about);
        let ticket = begun.map_err(|error| self.undo(id, peer.pid, name, &error))?;
        if let Some(plan) = self.plans.get_mut(name) {
            plan.phase = PlanPhase::Recording;
            plan.record = Some(ticket.number());
        }
        let recorded = Recorded { ticket, session: id.clone(), pid: peer.pid, plan: name.to_owned() };
        Ok(Response { recorded: Some(recorded), ..Response::with(Reply::Done, Vec::new()) })
    }

    /// The record of a command is on stable storage, or will never be: the launcher's answer.
    pub fn begun(&mut self, recorded: &Recorded, written: Result<(), LogError>) -> Reply {
        let Recorded { session, pid, plan: name, .. } = recorded;
        if let Err(error) = written {
            return Reply::Refused(self.undo(session, *pid, name, &error));
        }
        crash_point!(BeginRecorded);
        match self.plans.get_mut(name) {
            Some(plan) if plan.phase == PlanPhase::Recording => {
                plan.phase = PlanPhase::Running;
                plan.until = Moment::now().plus(plan.time_limit);
                Reply::Done
            }
            // Its asker or its session ended while the record was on its way: its cgroup was killed.
            _ => Reply::Refused(Refusal::new("plan.void", "the plan is over")),
        }
    }

    /// It did not run. The launcher goes back, so that it lives to say why; whatever stays ends with the cgroup.
    fn undo(&mut self, id: &SessionId, pid: u32, name: &str, error: &LogError) -> Refusal {
        if let Some(plan) = self.plans.get_mut(name) {
            plan.phase = PlanPhase::Allowed;
            plan.record = None;
        }
        for undone in [self.cgroups.enter_login(id, pid), self.cgroups.end_command(id, name).map(drop)] {
            undone.unwrap_or_else(crate::log::warn);
        }
        Refusal::new(error.code(), error.to_string())
    }

    /// The record of the login that a process came by: of the session's only connection, or of the one that is its
    /// ancestor. Else the reservation's.
    pub(super) fn login_of(&self, id: &SessionId, peer: &Process) -> Option<Parent> {
        let session = self.sessions.get(id)?;
        let monitors = session.monitors();
        let login = match monitors {
            [only] => only.record,
            _ => process::ancestors(peer.pid).find_map(|pid| monitors.iter().find(|m| m.pid == pid)?.record),
        };
        login.or(session.causes.reserved).map(|number| self.record_number(number))
    }

    /// Before anybody is in the command's cgroup: sockets are held by where they were made.
    fn hold_to(
        &mut self,
        id: &SessionId,
        name: &str,
        net: &[SocketAddr],
        argv: &Value,
        login: Option<Parent>,
    ) -> Result<(), Refusal> {
        let cgroup = self.cgroups.open_command(id, name);
        let cgroup = cgroup.map_err(|error| Refusal::new("host.cgroup", error.to_string()));
        let Err(refusal) = cgroup.and_then(|cgroup| net::hold(&cgroup, net)) else { return Ok(()) };
        self.cgroups.end_command(id, name).map(drop).unwrap_or_else(crate::log::warn);
        if let Some(ids) = self.sessions.get(id).map(ids_of) {
            let about = json!({"argv": argv, "why": refusal.text});
            self.record_command_refused(id, &refusal.code, login, ids, about);
        }
        Err(refusal)
    }

    /// sudo, or the runner, says that the command is over.
    pub(super) fn ended(&mut self, id: &SessionId, peer: &Process, name: &str, status: i32) -> Result<Reply, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.asker_pid == peer.pid);
        plan.ok_or_else(not_yours)?;
        let end = match status & 0x7f {
            XFSZ => CommandEnd::Output,
            PWR if !self.is_recorded_to_its_end(id, name) => CommandEnd::Unrecorded,
            _ => CommandEnd::Status(status),
        };
        self.command_over(name, end);
        Ok(Reply::Done)
    }

    /// sudo's plugin counted more output than the rule gives.
    pub(super) fn exceeded(&mut self, id: &SessionId, peer: &Process, name: &str) -> Result<Reply, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.asker_pid == peer.pid);
        plan.ok_or_else(not_yours)?;
        self.command_over(name, CommandEnd::Output);
        Ok(Reply::Done)
    }

    /// sudo's plugin could not write down what a terminal showed.
    pub(super) fn unrecorded(&mut self, id: &SessionId, peer: &Process, name: &str) -> Result<Reply, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.asker_pid == peer.pid);
        plan.ok_or_else(not_yours)?;
        self.command_over(name, CommandEnd::Unrecorded);
        Ok(Reply::Done)
    }

    /// Whether a command's recording has its end: then it ended by that signal itself.
    fn is_recorded_to_its_end(&self, id: &SessionId, name: &str) -> bool {
        let recording = self.plans.get(name).and_then(|plan| plan.recording.as_deref());
        recording.is_none_or(|recording| self.recordings.ends_with_status(id, recording, PWR))
    }

    /// `sudo -l`: for a person, and as data for a model.
    pub(super) fn commands(&mut self, id: &SessionId) -> Result<Reply, Refusal> {
        let name = self.standing(id)?.grant.bundle.clone();
        let policy = self.bundle(&name)?;
        let version = policy.bundle().version;
        let (commands, left_out) = first_of(policy.commands(), String::len);
        let rules = listing(policy)?;
        Ok(Reply::Commands { bundle: format!("{name} version {version}"), commands, left_out, rules })
    }
}

/// All rules as data; of a long list as many as fit.
fn listing(policy: &Policy) -> Result<Value, Refusal> {
    let mut data = serde_json::to_value(policy.commands_json()).map_err(|error| internal(&error))?;
    for kind in ["allowed", "denied"] {
        let Some(rules) = data.get_mut(kind).and_then(Value::as_array_mut) else { continue };
        let (kept, left_out) = first_of(std::mem::take(rules), |rule| rule.to_string().len());
        *rules = kept;
        if left_out > 0 {
            data[format!("{kind}_left_out")] = left_out.into();
        }
    }
    Ok(data)
}

/// As many as fit into one answer, and how many do not.
fn first_of<T>(all: Vec<T>, length: impl Fn(&T) -> usize) -> (Vec<T>, u64) {
    let (count, mut used) = (all.len(), 0);
    let fits = |item: &T| {
        used += length(item);
        used <= LIST_MAX / 2
    };
    let kept: Vec<T> = all.into_iter().take_while(fits).collect();
    let left_out = count - kept.len();
    (kept, left_out as u64)
}

/// The agent chooses how deep its folder lies, and how it is called.
pub(super) fn start_of(cwd: &Word) -> Value {
    let whole = cwd.as_bytes();
    if whole.len() <= 512 {
        return tether_audit::bytes(whole);
    }
    let digest: String = Sha256::digest(whole).iter().map(|byte| format!("{byte:02x}")).collect();
    let start = whole.get(..256).unwrap_or_default();
    json!({"start": tether_audit::bytes(start), "bytes": whole.len(), "sha256": digest})
}

pub(super) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("host.system", error.to_string())
}
