//! Commands under sudo: decided here, run by the launcher, recorded before they run.

use super::{Response, not_yours};
use crate::clock::Moment;
use crate::host::{Host, OpenPlan, PlanPhase, ids_of};
use crate::session::Session;
use crate::watch::Watched;
use crate::world::process::Process;
use crate::world::program::{Program, resolve};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat};
use serde_json::{Value, json};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tether_bundle::Denied;
use tether_hostlink::{CommandLine, Plan, Refusal, Reply};
use tether_identity::SessionId;

/// How long a plan is good for.
const PLAN_SPAN: Duration = Duration::from_secs(2);
/// How many commands one session may have at a time.
const PLANS_MAX: usize = 32;
const NO_RULE: &str = "`sudo -l` lists what is allowed. This refusal is on record; asking again will not change it.";
/// The whole environment of a confined command, besides HOME and TMPDIR.
const ENVIRONMENT: [&str; 4] =
    ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/nonexistent", "LESSHISTFILE=-"];

impl Host {
    /// May this agent run this?
    pub(super) fn decide(&mut self, id: &SessionId, peer: &Process, line: &CommandLine) -> Response {
        match self.plan(id, peer, line) {
            Ok(response) => response,
            Err(refusal) => {
                self.record_sudo_refused(id, line, &refusal);
                Err(refusal).into()
            }
        }
    }

    fn record_sudo_refused(&mut self, id: &SessionId, line: &CommandLine, refusal: &Refusal) {
        let Some(session) = self.sessions.get(id) else { return };
        let ids = ids_of(session);
        let about =
            json!({"argv": shortened(&line.argv), "cwd": start_of(&line.cwd), "tty": line.tty, "why": refusal.text});
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

    fn plan(&mut self, id: &SessionId, peer: &Process, line: &CommandLine) -> Result<Response, Refusal> {
        let session = self.standing(id)?.clone();
        let typed = line.argv.first().ok_or_else(|| Refusal::new("program.not_found", "no command was given"))?;
        if self.plans.values().filter(|plan| plan.session == *id).count() >= PLANS_MAX {
            return Err(Refusal::new("session.too_many_commands", format!("{PLANS_MAX} commands run already")));
        }
        let program = self.program(&session, typed)?;
        let about = self.allowed(&session, &program, line)?;
        if !self.may_run_another(id) {
            return Err(Refusal::new(
                "session.too_many_commands",
                "this session ran very many commands within a minute",
            )
            .hint("each command is kept on record; wait a minute"));
        }
        let name = crate::host::random_id().map_err(|error| internal(&error))?;
        let until = Moment::now().plus(PLAN_SPAN);
        let plan = Plan {
            plan: name.clone(),
            session: id.clone(),
            program: program.path.clone(),
            device: program.device,
            inode: program.inode,
            argv: line.argv.clone(),
            environment: environment(&session),
            uid: session.uids.read_only,
            deadline_boottime_ms: until.millis(),
        };
        let descriptors = self.descriptors(&plan, program).map_err(|error| internal(&error))?;
        let asker = peer.pin().map_err(|error| internal(&error))?;
        let watched = asker.try_clone().map_err(|error| internal(&error))?;
        self.watch.add(watched, Watched::Asker { plan: name.clone() }).map_err(|error| internal(&error))?;
        let phase = PlanPhase::Allowed;
        let open = OpenPlan { session: id.clone(), phase, until, about, asker, asker_pid: peer.pid };
        self.plans.insert(name.clone(), open);
        crash_point!(DecidePlanned);
        Ok(Response { reply: Reply::Plan { plan: name }, descriptors })
    }

    /// The program that was typed. What the bundle has no rule for is one refusal in the agent's own words,
    /// whether it is there or not: agentd sees root's folders and every process's links, the agent does not.
    fn program(&mut self, session: &Session, typed: &str) -> Result<Program, Refusal> {
        let name = &session.grant.bundle;
        let bundle = self.bundle(name)?;
        let has_rule = |path: std::path::PathBuf| path.to_str().is_some_and(|path| bundle.has_rule_for(path));
        // A name without '/' is looked for in folders that everybody can list.
        if typed.starts_with('/') && !resolve(typed).is_ok_and(has_rule) {
            let text = format!("{typed} is in no rule of bundle {name}, version {}", bundle.version);
            return Err(Refusal::new("bundle.no_rule", text).hint(NO_RULE));
        }
        self.programs.open(typed).map_err(|error| Refusal::new(error.code(), error.to_string()))
    }

    /// The session, if it is open and everything that must hold for it holds.
    fn standing(&self, id: &SessionId) -> Result<&Session, Refusal> {
        let session = self.sessions.get(id).filter(|session| session.is_open());
        let session = session.ok_or_else(|| Refusal::new("session.ended", "the session has ended"))?;
        self.check_stands(session).map_err(|(code, text)| Refusal::new(&code, text))?;
        Ok(session)
    }

    fn bundle(&self, name: &tether_identity::Name) -> Result<&tether_bundle::Bundle, Refusal> {
        self.trust.bundles.get(name).ok_or_else(|| {
            Refusal::new("bundle.none", format!("the bundle {name} is not on this host"))
                .hint("nothing may be run under sudo until it comes")
        })
    }

    /// What the bundle says; for the record if it says yes.
    fn allowed(&self, session: &Session, program: &Program, line: &CommandLine) -> Result<Value, Refusal> {
        let name = &session.grant.bundle;
        let bundle = self.bundle(name)?;
        let arguments = line.argv.get(1..).unwrap_or_default();
        match bundle.decide(&program.path, arguments) {
            Ok(allowed) => Ok(json!({
                "argv": shortened(&line.argv), "program": program.path, "sha256": program.digest, "rule": allowed.rule,
                "bundle": name.as_str(), "version": bundle.version, "cwd": start_of(&line.cwd), "tty": line.tty,
                "uid": session.uids.read_only,
            })),
            Err(denied) => Err(denial(&denied, program, name.as_str(), bundle.version)),
        }
    }

    /// The sealed plan, the program, the host's mounts, the host's network.
    fn descriptors(&self, plan: &Plan, program: Program) -> std::io::Result<Vec<OwnedFd>> {
        let open = |path: &str| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        Ok(vec![sealed(plan)?, program.file, open("/proc/self/ns/mnt")?, open("/proc/self/ns/net")?])
    }

    /// The launcher's last word before exec: checked again, recorded, put into a cgroup of its own.
    pub(super) fn begin(&mut self, id: &SessionId, peer: &Process, name: &str) -> Result<Reply, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.phase == PlanPhase::Allowed);
        let plan = plan.ok_or_else(not_yours)?;
        // sudo runs the launcher itself, or through one process of its own when it keeps a terminal.
        let sudo = plan.asker_pid;
        let of_sudo =
            peer.pid == sudo || peer.parent == sudo || Process::look(peer.parent).is_ok_and(|p| p.parent == sudo);
        if !of_sudo || plan.until < Moment::now() {
            return Err(Refusal::new("plan.void", "the plan is over, or another sudo's"));
        }
        let about = plan.about.clone();
        self.standing(id)?;
        let cgroup = |error: std::io::Error| Refusal::new("host.cgroup", error.to_string());
        self.cgroups.make_command(id, name).map_err(cgroup)?;
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
        }
        Ok(Reply::Done)
    }

    /// sudo says that the command is over.
    pub(super) fn ended(&mut self, id: &SessionId, peer: &Process, name: &str, status: i32) -> Result<Reply, Refusal> {
        let plan = self.plans.get(name).filter(|plan| plan.session == *id && plan.asker_pid == peer.pid);
        plan.ok_or_else(not_yours)?;
        self.command_over(name, Some(status));
        Ok(Reply::Done)
    }

    /// `sudo -l`.
    pub(super) fn commands(&mut self, id: &SessionId) -> Result<Reply, Refusal> {
        let session = self.standing(id)?;
        let name = &session.grant.bundle;
        let bundle = self.trust.bundles.get(name);
        let bundle =
            bundle.ok_or_else(|| Refusal::new("bundle.none", format!("the bundle {name} is not on this host")))?;
        Ok(Reply::Commands { bundle: format!("{name} version {}", bundle.version), commands: bundle.commands() })
    }
}

/// Made for its reader, a model: what, by which rule of which version, what instead, that it is recorded.
fn denial(denied: &Denied, program: &Program, bundle: &str, version: u64) -> Refusal {
    let text = match denied.code {
        "bundle.arguments" => {
            format!("{} may not be run with these arguments (bundle {bundle}, version {version})", program.path)
        }
        _ => format!("{} is in no rule of bundle {bundle}, version {version}", program.path),
    };
    let hint = if denied.instead.is_empty() {
        NO_RULE.to_owned()
    } else {
        format!("allowed is: {}. This refusal is on record.", denied.instead.join("; "))
    };
    Refusal::new(denied.code, text).hint(hint)
}

fn environment(session: &Session) -> Vec<String> {
    let name = session.grant.account.read_only();
    let mut all: Vec<String> = ENVIRONMENT.iter().map(|text| (*text).to_owned()).collect();
    all.extend([
        format!("USER={name}"),
        format!("LOGNAME={name}"),
        format!("TETHER_SESSION={}", session.grant.session),
    ]);
    all
}

fn sealed(plan: &Plan) -> std::io::Result<OwnedFd> {
    let memfd = memfd_create("tether-plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(&serde_json::to_vec(plan)?)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

/// A record keeps the whole command line up to 8 KiB; beyond, its beginning and how long it was.
fn shortened(argv: &[String]) -> Value {
    let length: usize = argv.iter().map(String::len).sum();
    if length <= 8192 {
        return json!(argv);
    }
    let start: Vec<String> = argv.iter().take(8).map(|text| text.chars().take(256).collect()).collect();
    json!({"start": start, "arguments": argv.len(), "bytes": length})
}

/// The agent chooses how deep its folder lies.
fn start_of(cwd: &str) -> String {
    cwd.chars().take(256).collect()
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new("host.system", error.to_string())
}
