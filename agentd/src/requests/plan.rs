//! From a command line to a plan: the program that would run, the rule that allows it, and what the launcher is to
//! enforce.

use super::confinement::{Orders, orders};
use super::sudo::{internal, start_of};
use crate::clock::Moment;
use crate::host::{Host, OpenPlan, PlanPhase, Way};
use crate::recordings::Wanted;
use crate::redaction::Redaction;
use crate::session::Session;
use crate::watch::Watched;
use crate::world::process::Process;
use crate::world::program::{Program, resolve};
use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, memfd_create, openat};
use serde_json::{Value, json};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tether_bundle::{Command, Decision, Denied, PathArgument, Policy, Rule};
use tether_hostlink::{CommandLine, Plan, Recorder, Refusal, Reply};
use tether_identity::{Name, SessionId};
use tether_recording::Kind;

/// How long a plan is good for, once who runs the launcher has it.
pub(super) const PLAN_SPAN: Duration = Duration::from_secs(2);
/// How long systemd may take to start a runner, which then takes the plan.
const RUNNER_SPAN: Duration = Duration::from_secs(6);
/// How many commands one session may have at a time.
const PLANS_MAX: usize = 32;
const MIB: u64 = 1 << 20;
const NO_RULE: &str =
    "`sudo -l`, or `tether run -l`, lists what is allowed. This refusal is on record; asking again will not change it.";
/// The environment of a confined command, besides what its rule adds and the launcher's HOME and TMPDIR.
const ENVIRONMENT: [&str; 3] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "LESSHISTFILE=-"];

/// What was decided: everything that goes into the plan.
struct Decided {
    argv: Vec<String>,
    orders: Orders,
    environment: Vec<String>,
    bundle_version: u64,
    about: Value,
    time_limit: Duration,
    output_limit: u64,
}

/// A plan that was opened, with what is to go with it.
#[derive(Debug)]
pub struct Planned {
    plan: Plan,
    /// The program, the host's mounts and network, and what path arguments mean.
    others: Vec<OwnedFd>,
    /// What is printed is written to it.
    sink: Option<OwnedFd>,
}

impl Planned {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.plan
    }

    /// What who asked is told.
    pub fn reply(&self) -> Reply {
        let Plan { plan, output_limit, recorder, .. } = &self.plan;
        Reply::Plan { plan: plan.clone(), output_limit: *output_limit, recorder: *recorder }
    }

    /// The same plan, void only after `until`, with what is known of the folders of programs by now.
    pub fn taken(mut self, until: Moment, ground: Vec<tether_hostlink::Ground>) -> Self {
        self.plan.deadline_boottime_ms = until.millis();
        self.plan.confinement.ground = ground;
        self
    }

    /// The launcher's descriptors, first the sealed plan; last of all the recording.
    pub fn descriptors(mut self) -> std::io::Result<Vec<OwnedFd>> {
        let sealed = sealed(&self.plan)?;
        self.others.insert(0, sealed);
        self.others.extend(self.sink);
        Ok(self.others)
    }
}

impl Host {
    pub(super) fn plan(
        &mut self,
        id: &SessionId,
        peer: &Process,
        line: &CommandLine,
        way: Way,
    ) -> Result<Planned, Refusal> {
        let session = self.standing(id)?.clone();
        let typed = line.argv.first().ok_or_else(|| Refusal::new("program.not_found", "no command was given"))?;
        if self.plans.values().filter(|plan| plan.session == *id).count() >= PLANS_MAX {
            return Err(Refusal::new("session.too_many_commands", format!("{PLANS_MAX} commands run already")));
        }
        let program = self.program(&session, typed)?;
        let mut decided = self.decided(&session, &program, line)?;
        decided.about["by"] = way.as_str().into();
        if !self.may_run_another(id) {
            let text = "this session ran very many commands within a minute";
            return Err(
                Refusal::new("session.too_many_commands", text).hint("each command is kept on record; wait a minute")
            );
        }
        self.open_plan(&session, peer, program, decided, way, line.terminal)
    }

    fn open_plan(
        &mut self,
        session: &Session,
        peer: &Process,
        program: Program,
        decided: Decided,
        way: Way,
        terminal: Option<[u16; 2]>,
    ) -> Result<Planned, Refusal> {
        let name = crate::host::random_id().map_err(|error| internal(&error))?;
        let id = &session.grant.session;
        let wanted = Wanted {
            kind: if way == Way::Run { Kind::Run } else { Kind::Sudo },
            command: decided.about["argv"].clone(),
            size: terminal.map_or((0, 0), |[columns, rows]| (columns, rows)),
            plan: Some(name.clone()),
        };
        let sink = self.begin_recording(id, &wanted)?;
        let recording = sink.as_ref().map(|sink| sink.name.clone());
        let recorder = match (&sink, terminal) {
            (None, _) => Recorder::Nobody,
            (Some(_), None) => Recorder::Launcher,
            (Some(_), Some(_)) => Recorder::Sudo,
        };
        let opened = self.opened(session, peer, program, decided, (&name, recording.clone(), recorder), way);
        if let (Err(_), Some(recording)) = (&opened, &recording) {
            self.recordings.ended(id, recording, None);
        }
        let sink = sink.map(|sink| sink.file);
        opened.map(|planned| Planned { sink, ..planned }).map_err(|error| internal(&error))
    }

    fn opened(
        &mut self,
        session: &Session,
        peer: &Process,
        program: Program,
        mut decided: Decided,
        (name, recording, recorder): (&str, Option<String>, Recorder),
        way: Way,
    ) -> std::io::Result<Planned> {
        if let Some(recording) = &recording {
            decided.about["recording"] = recording.as_str().into();
        }
        let until = Moment::now().plus(if way == Way::Run { RUNNER_SPAN } else { PLAN_SPAN });
        let plan = Plan {
            plan: name.to_owned(),
            session: session.grant.session.clone(),
            program: program.path.clone(),
            device: program.device,
            inode: program.inode,
            argv: decided.argv,
            environment: decided.environment,
            uid: session.uids.read_only,
            deadline_boottime_ms: until.millis(),
            output_limit: decided.output_limit,
            // Whether it is there is known to who asked alone; and what sudo's is, the launcher looks at.
            terminals: way == Way::Sudo && recorder != Recorder::Launcher,
            recorder,
            confinement: decided.orders.confinement,
        };
        let mut others = around(program)?;
        others.extend(decided.orders.arguments.into_iter().map(|reached| reached.descriptor));
        let asker = peer.pin()?;
        self.watch.add(asker.try_clone()?, Watched::Asker { plan: name.to_owned() })?;
        let open = OpenPlan {
            session: session.grant.session.clone(),
            phase: PlanPhase::Allowed,
            until,
            time_limit: decided.time_limit,
            net: plan.confinement.net.clone(),
            bundle_version: decided.bundle_version,
            about: decided.about,
            login: self.login_of(&session.grant.session, peer),
            record: None,
            asker,
            asker_pid: peer.pid,
            recording,
            run: None,
        };
        self.plans.insert(name.to_owned(), open);
        crash_point!(DecidePlanned);
        Ok(Planned { plan, others, sink: None })
    }

    /// The program that was typed. What the bundle has no rule for is one refusal in the agent's own words,
    /// whether it is there or not: agentd sees root's folders and every process's links, the agent does not.
    fn program(&mut self, session: &Session, typed: &str) -> Result<Program, Refusal> {
        let name = &session.grant.bundle;
        let policy = self.bundle(name)?;
        let has_rule = |path: PathBuf| path.to_str().is_some_and(|path| policy.has_rule_for(path));
        // A name without '/' is looked for in folders that everybody can list.
        if typed.starts_with('/') && !resolve(typed).is_ok_and(has_rule) {
            let version = policy.bundle().version;
            let text = format!("{typed} is in no rule of bundle {name}, version {version}");
            return Err(Refusal::new("bundle.no_rule", text).hint(NO_RULE));
        }
        self.programs.open(typed).map_err(|error| Refusal::new(error.code(), error.to_string()))
    }

    /// The bundle of that name, if it may be used now.
    pub(super) fn bundle(&self, name: &Name) -> Result<&Policy, Refusal> {
        self.trust.bundle(name, Moment::now()).map_err(|error| {
            Refusal::new(error.code(), error.to_string())
                .hint("nothing may be run under sudo until a bundle that the security team confirmed comes")
        })
    }

    /// Whether a plan may begin: its session stands, and the bundle that allowed it is in force as it was.
    pub(super) fn still_allowed(&self, plan: &OpenPlan) -> Result<&Session, Refusal> {
        let session = self.standing(&plan.session)?;
        if self.bundle(&session.grant.bundle)?.bundle().version != plan.bundle_version {
            let text = format!("another version of bundle {} came since this was allowed", session.grant.bundle);
            return Err(Refusal::new("plan.void", text).hint("run it again"));
        }
        Ok(session)
    }

    fn decided(&self, session: &Session, program: &Program, line: &CommandLine) -> Result<Decided, Refusal> {
        let policy = self.bundle(&session.grant.bundle)?;
        let arguments = line.argv.get(1..).unwrap_or_default();
        let cwd = starting_folder(line.cwd.text().unwrap_or("/"));
        let command = Command { program: &program.path, sha256: Some(&program.digest), argv: arguments, cwd };
        let (rule, paths) = match policy.decide(&command) {
            Decision::Allowed { rule, paths } => (rule, paths),
            Decision::Denied(denied) => return Err(denial(&denied, program, policy)),
        };
        let cwd = rule.run.cwd.as_deref().unwrap_or(cwd);
        let ceiling = &self.config.ceiling;
        let mut orders = orders(policy.bundle(), rule, &paths, cwd, ceiling)?;
        orders.confinement.ground = self.ground.known();
        let most = MIB.saturating_mul(ceiling.command_output_mib);
        let seconds =
            rule.run.time_limit_s.map_or(ceiling.command_seconds, |own| ceiling.command_seconds.min(own.into()));
        let argv = if rule.run.cwd.is_some() { with_whole_paths(&line.argv, &paths) } else { line.argv.clone() };
        Ok(Decided {
            argv,
            environment: environment(session, rule),
            bundle_version: policy.bundle().version,
            about: self.about(session, policy, rule, program, line, &orders),
            time_limit: Duration::from_secs(seconds),
            output_limit: rule.run.output_limit.map_or(most, |own| most.min(own)),
            orders,
        })
    }

    /// What the record says.
    fn about(
        &self,
        session: &Session,
        policy: &Policy,
        rule: &Rule,
        program: &Program,
        line: &CommandLine,
        orders: &Orders,
    ) -> Value {
        let bundle = policy.bundle();
        let reached: Vec<String> = orders.arguments.iter().map(|reached| reached.path.display().to_string()).collect();
        let mut about = json!({
            "argv": self.redaction.texts(&line.argv), "program": program.path, "sha256": program.digest, "rule": rule.id,
            "bundle": bundle.name.as_str(), "version": bundle.version, "cwd": start_of(&line.cwd), "tty": line.tty,
            "uid": session.uids.read_only,
        });
        if let Value::Object(about) = &mut about {
            if !reached.is_empty() {
                about.insert("paths".to_owned(), Redaction::default().texts(&reached));
            }
            if let tether_hostlink::Identity::RunAs { uid, .. } = orders.confinement.identity {
                about.insert("uid".to_owned(), uid.into());
                about.insert("writes".to_owned(), Redaction::default().texts(&orders.confinement.writes));
            }
        }
        about
    }
}

/// Where the command starts: where it was typed, if the host has such a folder. The session's own folders are not the
/// host's.
fn starting_folder(typed: &str) -> &str {
    let plain = typed.starts_with('/') && !Path::new(typed).starts_with(tether_hostlink::paths::HOME);
    if plain && Path::new(typed).is_dir() { typed } else { "/" }
}

/// A relative path means the folder where it was typed; the rule starts the command elsewhere.
fn with_whole_paths(argv: &[String], paths: &[PathArgument]) -> Vec<String> {
    let mut argv = argv.to_vec();
    for path in paths {
        if let Some(argument) = argv.get_mut(path.index + 1) {
            let prefix = argument.get(..path.prefix_len).unwrap_or_default();
            *argument = format!("{prefix}{}", path.path);
        }
    }
    argv
}

/// The program, the host's mounts, the host's network.
fn around(program: Program) -> std::io::Result<Vec<OwnedFd>> {
    let open = |path: &str| openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    Ok(vec![program.file, open("/proc/self/ns/mnt")?, open("/proc/self/ns/net")?])
}

/// Made for its reader, a model: what, by which rule of which version, what instead, that it is recorded.
fn denial(denied: &Denied, program: &Program, policy: &Policy) -> Refusal {
    let (path, name, version) = (&program.path, &policy.bundle().name, policy.bundle().version);
    let of = format!("bundle {name}, version {version}");
    let text = match (denied.code, &denied.rule) {
        ("bundle.arguments", _) => format!("{path} may not be run with these arguments ({of})"),
        ("bundle.digest", _) => format!("{path} is not the file that the rule names: its SHA-256 is another ({of})"),
        (_, Some(rule)) => format!("the rule {rule:?} denies {path} with these arguments ({of})"),
        _ => format!("{path} is in no rule of {of}"),
    };
    let hint = if denied.instead.is_empty() {
        NO_RULE.to_owned()
    } else {
        format!("allowed is: {}. This refusal is on record.", denied.instead.join("; "))
    };
    Refusal::new(denied.code, text).hint(hint)
}

fn environment(session: &Session, rule: &Rule) -> Vec<String> {
    let name = session.grant.account.read_only();
    let mut all: Vec<String> = ENVIRONMENT.iter().map(|text| (*text).to_owned()).collect();
    all.extend([
        format!("USER={name}"),
        format!("LOGNAME={name}"),
        format!("TETHER_SESSION={}", session.grant.session),
    ]);
    // The rule's own come last in the text and first in meaning: no name stands twice.
    let own = &rule.run.environment;
    all.retain(|text| text.split_once('=').is_none_or(|(name, _)| !own.contains_key(name)));
    all.extend(own.iter().map(|(name, value)| format!("{name}={value}")));
    all
}

fn sealed(plan: &Plan) -> std::io::Result<OwnedFd> {
    let memfd = memfd_create("tether-plan", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(&serde_json::to_vec(plan)?)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_made_whole_behind_their_prefix() {
        let argv = ["tail", "-n", "1", "--file=a.log"].map(str::to_owned);
        let path = PathArgument { index: 2, prefix_len: 7, path: "/var/log/a.log".into(), under: "/var/log".into() };
        assert_eq!(with_whole_paths(&argv, &[path]), ["tail", "-n", "1", "--file=/var/log/a.log"]);
        assert_eq!(with_whole_paths(&argv, &[]), argv);
    }

    #[test]
    fn a_command_starts_where_it_was_typed_if_the_host_has_that() {
        assert_eq!(starting_folder("/usr/bin"), "/usr/bin");
        for elsewhere in ["/no/such/folder", "usr", "", "/run/tether/home", "/run/tether/home/x", "/etc/passwd"] {
            assert_eq!(starting_folder(elsewhere), "/", "{elsewhere}");
        }
    }
}
