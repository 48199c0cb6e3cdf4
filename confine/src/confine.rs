//! `tether-confine`: from sudo's root to the planned program. One step after the other; the first that fails
//! ends it.
#![forbid(unsafe_code)]

use crate::identity::Who;
use crate::landlock::Features;
use crate::layers::{Layer, Layers};
use crate::refusal::failed;
use crate::seccomp::{self, Filter};
use crate::world::{self, World};
use crate::{identity, keeper, limits, mounts, plan, proof, readable, standard, sys};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::chdir;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;
use tether_hostlink::{
    Confinement, DESCRIPTORS_MAX, Deadline, Identity, Link, LinkError, Plan, Recorder, Refusal, Reply, Request, Word,
    codes,
};

/// How long agentd may take to say go.
const GO: Duration = Duration::from_secs(2);

/// Becomes the planned program. Comes back only when it refuses; then agentd has it on record, if it can be reached.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<Infallible, Refusal> {
    refuse_unless_root()?;
    let numbers = parse(arguments)?;
    sys::close_others_at_exec().map_err(|error| failed("confine.descriptor", "closing other descriptors", error))?;
    let mut agentd = Agentd::default();
    let mut argv = Vec::new();
    launch(&numbers, &mut agentd, &mut argv).inspect_err(|refusal| agentd.record(refusal, argv))
}

/// The connection, opened as root and from the session's own mounts: agentd knows this process by its credentials at
/// that moment.
#[derive(Default)]
struct Agentd {
    link: Option<Link>,
    was_asked: bool,
}

impl Agentd {
    fn connect(&mut self) -> Result<(), Refusal> {
        self.link = Some(Link::open().map_err(unreachable_agentd)?);
        Ok(())
    }

    /// The last act before exec: agentd looks again, writes the record, and says go.
    fn begin(&mut self, plan: &Plan) -> Result<(), Refusal> {
        // agentd waits as long as the plan is good, and no longer. The link stays: this is a refusal of our own.
        if plan::boottime_ms() > plan.deadline_boottime_ms {
            return Err(late());
        }
        let link = self.link.take().ok_or_else(|| Refusal::new(codes::INTERNAL, "there is no agentd to ask"))?;
        self.was_asked = true;
        let request = Request::Begin { plan: plan.plan.clone() };
        match link.ask(&request, Deadline::after(GO)).map_err(unreachable_agentd)?.reply {
            Reply::Done => Ok(()),
            Reply::Refused(refusal) => Err(refusal),
            _ => Err(Refusal::new(codes::INTERNAL, "agentd answered something that was not asked; nothing was run")),
        }
    }

    /// A refusal of our own goes on record, if agentd can be reached. What it refused itself is there already.
    fn record(self, refusal: &Refusal, argv: Vec<String>) {
        let link = if self.was_asked { None } else { self.link.or_else(|| Link::open().ok()) };
        if let Some(link) = link {
            let argv = argv.iter().map(|text| Word::from(text.as_str())).collect();
            let _ = link.ask(&Request::Report { refusal: refusal.clone(), argv }, Deadline::after(GO));
        }
    }
}

fn launch(numbers: &[RawFd], agentd: &mut Agentd, typed: &mut Vec<String>) -> Result<Infallible, Refusal> {
    let Given { sealed, program, mounts, network, mut arguments } = take(numbers)?;
    let plan = plan::read(sealed)?;
    typed.clone_from(&plan.argv);
    let sink = if plan.recorder == Recorder::Launcher { arguments.pop() } else { None };
    let has_sink = sink.is_some() == (plan.recorder == Recorder::Launcher);
    if !has_sink || plan.confinement.arguments as usize != arguments.len() {
        return Err(failed("confine.arguments", "taking the plan's descriptors", "there are not as many as it says"));
    }
    let layers = Layers::new();
    plan::check_program(&program, &plan)?;
    let (argv, environment) = (c_texts(&plan.argv)?, environment(&plan)?);
    let is_script = plan::is_script(&program)?;
    if layers.has(Layer::Descriptors) {
        // Before there is a connection: the keeper must not hold it, and the command has a number of its own.
        keeper::stand_between(&plan, sink)?;
    }
    let terminal = standard::check(plan.confinement.stdin, plan.terminals, layers)?;
    if terminal.is_none() && layers.has(Layer::Descriptors) {
        // What it wrote to /dev/tty would reach the agent's own, and no recording.
        sys::leave_terminal().map_err(|errno| failed("confine.output", "leaving the agent's terminal", errno))?;
    }
    agentd.connect()?;
    let who = Who::of(&plan);
    let world = world::enter(&mounts, &network, &who, &plan.confinement, terminal.as_ref(), layers)?;
    let features = hold(&plan, &program, &arguments, &who, &world, layers)?;
    if is_script {
        // The interpreter opens /dev/fd/N, so the descriptor must live on.
        fcntl_setfd(&program, FdFlags::empty())
            .map_err(|errno| failed("confine.program", "keeping the script open", errno))?;
    }
    sys::default_sigpipe();
    agentd.begin(&plan)?;
    // agentd has just attached what holds them, so it is looked at only now.
    proof::destinations(&plan.confinement.net, features.keeps_tcp() && layers.has(Layer::Landlock))?;
    sys::exec(&program, &argv, &environment).map_err(|error| not_run(&plan, &error))
}

/// From root in its own view of the host to who the command is, held by every layer, and proved to be. What Landlock
/// could do is told.
fn hold(
    plan: &Plan,
    program: &OwnedFd,
    arguments: &[OwnedFd],
    who: &Who,
    world: &World,
    layers: Layers,
) -> Result<Features, Refusal> {
    let mut mounts = mounts::read().map_err(|error| failed("confine.mounts", "reading the mounts", error))?;
    // All of /proc is granted, whatever lies in it; with the lists of processes that is a thousand mounts.
    mounts.retain(|mount| !mount.point.starts_with("/proc") || mount.point.as_os_str() == "/proc");
    let mut ruleset = readable::rules(&mounts, world, &plan.confinement, program, arguments)?;
    plan.confinement.net.iter().try_for_each(|one| ruleset.allow_connect(one.port()))?;
    let features = ruleset.features();
    let before = proof::before(world)?;
    if layers.has(Layer::Limits) {
        limits::confined("confine.limits", plan.confinement.identity == Identity::ReadOnly)?;
    }
    let filter = filter(&plan.confinement, features);
    identity::no_new_privs(layers)?;
    if layers.has(Layer::Landlock) {
        ruleset.enforce()?;
    }
    // Without no_new_privs, which a test may leave out, a filter is root's to install.
    let early = !layers.has(Layer::NoNewPrivs);
    if early && layers.has(Layer::Seccomp) {
        seccomp::install(filter)?;
    }
    who.assume(layers)?;
    chdir(&*plan.confinement.cwd)
        .map_err(|errno| failed("confine.cwd", &format!("going to {}", plan.confinement.cwd), errno))?;
    if !early && layers.has(Layer::Seccomp) {
        seccomp::install(filter)?;
    }
    let (dbus, net) = (plan.confinement.dbus, !plan.confinement.net.is_empty());
    proof::After { who, layers, dbus, net, writes: &world.writes }.check(world, &before)?;
    Ok(features)
}

const fn filter(orders: &Confinement, features: Features) -> Filter {
    match (&orders.identity, orders.dbus, !orders.net.is_empty()) {
        (Identity::ReadOnly, false, false) => Filter::ReadOnly,
        (Identity::ReadOnly, false, true) => Filter::ReadOnlyNet,
        (Identity::ReadOnly, true, false) => Filter::ReadOnlyDbus,
        (Identity::ReadOnly, true, true) => Filter::ReadOnlyDbusNet,
        (Identity::RunAs { .. }, _, false) if features.keeps_signals() => Filter::Write,
        (Identity::RunAs { .. }, _, true) if features.keeps_signals() => Filter::WriteNet,
        (Identity::RunAs { .. }, _, false) => Filter::WriteSilent,
        (Identity::RunAs { .. }, _, true) => Filter::WriteSilentNet,
    }
}

/// The plan's, with the scratch in place of what it may say of `HOME` and `TMPDIR`.
fn environment(plan: &Plan) -> Result<Vec<CString>, Refusal> {
    let ours = |text: &&String| !["HOME=", "TMPDIR="].iter().any(|name| text.starts_with(name));
    let texts: Vec<String> =
        plan.environment.iter().filter(ours).cloned().chain(world::ENVIRONMENT.map(str::to_owned)).collect();
    c_texts(&texts)
}

fn refuse_unless_root() -> Result<(), Refusal> {
    if rustix::process::getuid().is_root() && rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Refusal::new("confine.not_root", "tether-confine is started by sudo only").hint("use `sudo COMMAND`"))
}

/// Exactly `--descriptors=A,B,C,D` and perhaps more: plan, program, mount namespace, network namespace, and what
/// path arguments mean.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Vec<RawFd>, Refusal> {
    let wrong =
        || Refusal::new("confine.arguments", "tether-confine takes what tether's sudo plugin gives, nothing else");
    let (Some(_), Some(only), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(wrong());
    };
    let list = only.to_str().and_then(|text| text.strip_prefix("--descriptors=")).ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|number: &RawFd| *number >= 3 && number.to_string() == text);
    let numbers: Vec<RawFd> = list.split(',').map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    // Each is owned once: an equal pair would be closed twice.
    let distinct: BTreeSet<_> = numbers.iter().collect();
    let fits = distinct.len() == numbers.len() && (4..=DESCRIPTORS_MAX).contains(&numbers.len());
    fits.then_some(numbers).ok_or_else(wrong)
}

/// What came by descriptor.
struct Given {
    sealed: OwnedFd,
    program: OwnedFd,
    mounts: OwnedFd,
    network: OwnedFd,
    arguments: Vec<OwnedFd>,
}

fn take(numbers: &[RawFd]) -> Result<Given, Refusal> {
    let take = |number: &RawFd| {
        sys::take_descriptor(*number)
            .map_err(|error| failed("confine.descriptor", &format!("descriptor {number}"), error))
    };
    let mut all = numbers.iter().map(take).collect::<Result<Vec<_>, _>>()?.into_iter();
    let (Some(sealed), Some(program), Some(mounts), Some(network)) = (all.next(), all.next(), all.next(), all.next())
    else {
        return Err(failed("confine.arguments", "taking the plan's descriptors", "there are too few"));
    };
    Ok(Given { sealed, program, mounts, network, arguments: all.collect() })
}

fn unreachable_agentd(error: LinkError) -> Refusal {
    Refusal::new(codes::UNREACHABLE, format!("{error}; nothing was run"))
}

fn late() -> Refusal {
    let why = "looking at what may be read took longer than the plan's two seconds; nothing was run";
    Refusal::new("confine.expired", format!("the plan is void: {why}"))
        .hint("run it again, the second time is faster; if it happens often, the bundle should name narrower trees")
}

fn not_run(plan: &Plan, error: &std::io::Error) -> Refusal {
    failed("confine.exec", &format!("running {}", plan.program), error)
}

fn c_texts(texts: &[String]) -> Result<Vec<CString>, Refusal> {
    let texts: Result<_, _> = texts.iter().map(|text| CString::new(text.as_str())).collect();
    texts.map_err(|_| failed("confine.plan", "reading the plan", "a text has a NUL byte in it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Option<Vec<RawFd>> {
        parse(["tether-confine"].iter().chain(arguments).map(OsString::from)).ok()
    }

    #[test]
    fn only_the_plugins_argument_is_taken() {
        assert_eq!(parsed(&["--descriptors=5,6,7,12"]), Some(vec![5, 6, 7, 12]));
        assert_eq!(parsed(&["--descriptors=5,6,7,12,13"]), Some(vec![5, 6, 7, 12, 13]));
        for wrong in [
            &[][..],
            &["--descriptors=5,6,7"],
            &["--descriptors=5,6,7,8,5"],
            &["--descriptors=5,6,7,7"],
            &["--descriptors=2,6,7,8"],
            &["--descriptors=-1,6,7,8"],
            &["--descriptors=+5,6,7,8"],
            &["--descriptors=05,6,7,8"],
            &["--descriptors= 5,6,7,8"],
            &["--descriptors=5,6,7,8", "id"],
            &["id"],
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
