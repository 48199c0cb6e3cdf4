//! Commands under sudo: decided here (`super::plan`), run by the launcher, recorded before they run.

use super::{Response, not_yours};
use crate::clock::Moment;
use crate::host::{CommandEnd, Host, PlanPhase, Way, ids_of};
use crate::session::Session;
use crate::world::net;
use crate::world::process::Process;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tether_bundle::Policy;
use tether_hostlink::{CommandLine, Refusal, Reply};
use tether_identity::SessionId;

/// The signal by which the launcher's keeper ends a command that printed too much (signal(7)).
const XFSZ: i32 = 25;
/// The one by which it ends a command that it could not record.
const PWR: i32 = 30;
/// How many bytes of `sudo -l` go into one answer; the rest is counted.
const LIST_MAX: usize = 40 * 1024;

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
                self.record_sudo_refused(id, line, Way::Sudo, &refusal);
                Err(refusal).into()
            }
        }
    }

    pub(super) fn record_sudo_refused(&mut self, id: &SessionId, line: &CommandLine, way: Way, refusal: &Refusal) {
        let Some(session) = self.sessions.get(id) else { return };
        let ids = ids_of(session);
        let about = json!({
            "argv": shortened(&line.argv), "cwd": start_of(&line.cwd), "tty": line.tty, "by": way.as_str(),
            "why": refusal.text,
        });
        self.record_command_refused(id, &refusal.code, ids, about);
    }

    /// sudo's plugin or the PAM module refused without asking: it goes on record as if agentd had.
    pub(super) fn report(
        &mut self,
        id: &SessionId,
        peer: &Process,
        refusal: &Refusal,
        argv: &[String],
    ) -> Result<Reply, Refusal> {
        let session = self.sessions.get(id).ok_or_else(not_yours)?;
        let known = |b: u8| b.is_ascii_lowercase() || matches!(b, b'.' | b'_');
        if refusal.code.len() > 64 || !refusal.code.bytes().all(known) {
            return Err(not_yours());
        }
        let ids = ids_of(session);
        let about = json!({"argv": shortened(argv), "why": refusal.text, "pid": peer.pid});
        self.record_command_refused(id, &refusal.code, ids, about);
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
    pub(super) fn begin(&mut self, id: &SessionId, peer: &Process, name: &str) -> Result<Reply, Refusal> {
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
        let (about, net) = (plan.about.clone(), plan.net.clone());
        let cgroup = |error: std::io::Error| Refusal::new("host.cgroup", error.to_string());
        self.cgroups.make_command(id, name).map_err(cgroup)?;
        if !net.is_empty() {
            self.hold_to(id, name, &net, &about["argv"])?;
        }
        self.cgroups.enter_command(id, name, peer.pid).map_err(cgroup)?;
        crash_point!(BeginCgroup);
        let ids = self.sessions.get(id).map(ids_of).ok_or_else(not_yours)?;
        if let Err(error) = self.record_done("sudo.command", ids, about) {
            // It did not run. The launcher goes back, so that it lives to say why; whatever stays ends with the cgroup.
            for undone in [self.cgroups.enter_login(id, peer.pid), self.cgroups.end_command(id, name)] {
                undone.unwrap_or_else(crate::log::warn);
            }
            return Err(Refusal::new("host.disk", error.to_string()));
        }
        crash_point!(BeginRecorded);
        if let Some(plan) = self.plans.get_mut(name) {
            plan.phase = PlanPhase::Running;
            plan.until = Moment::now().plus(plan.time_limit);
        }
        Ok(Reply::Done)
    }

    /// Before anybody is in the command's cgroup: sockets are held by where they were made.
    fn hold_to(&mut self, id: &SessionId, name: &str, net: &[SocketAddr], argv: &Value) -> Result<(), Refusal> {
        let cgroup = self.cgroups.open_command(id, name);
        let cgroup = cgroup.map_err(|error| Refusal::new("host.cgroup", error.to_string()));
        let Err(refusal) = cgroup.and_then(|cgroup| net::hold(&cgroup, net)) else { return Ok(()) };
        self.cgroups.end_command(id, name).unwrap_or_else(crate::log::warn);
        if let Some(ids) = self.sessions.get(id).map(ids_of) {
            self.record_command_refused(id, &refusal.code, ids, json!({"argv": argv, "why": refusal.text}));
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

/// A record keeps the whole command line up to 8 KiB; beyond, its beginning and how long it was.
pub(super) fn shortened(argv: &[String]) -> Value {
    let length: usize = argv.iter().map(String::len).sum();
    if length <= 8192 {
        return json!(argv);
    }
    let start: Vec<String> = argv.iter().take(8).map(|text| text.chars().take(256).collect()).collect();
    json!({"start": start, "arguments": argv.len(), "bytes": length})
}

/// The agent chooses how deep its folder lies.
pub(super) fn start_of(cwd: &str) -> String {
    cwd.chars().take(256).collect()
}

pub(super) fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("host.system", error.to_string())
}
