//! `tether-confine`: from sudo's root to the planned program. One step after the other; the first that fails
//! ends it.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::{identity, keeper, limits, plan, proof, standard, sys, world};
use rustix::io::{FdFlags, fcntl_setfd};
use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;
use tether_hostlink::{Deadline, Link, LinkError, Plan, Refusal, Reply, Request, codes};

/// How long agentd may take to say go.
const GO: Duration = Duration::from_secs(2);

/// Becomes the planned program. Comes back only when it refuses.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Result<Infallible, Refusal> {
    refuse_unless_root()?;
    let numbers = parse(arguments)?;
    sys::close_others_at_exec().map_err(|error| failed("confine.descriptor", "closing other descriptors", error))?;
    let [sealed, program, mounts, network] = take(numbers)?;
    let plan = plan::read(sealed)?;
    plan::check_program(&program, &plan)?;
    let (argv, environment) = (c_texts(&plan.argv)?, c_texts(&plan.environment)?);
    let is_script = plan::is_script(&program)?;
    keeper::stand_between(plan.uid, plan.output_limit, plan.terminals)?;
    standard::check(plan.terminals)?;
    // Opened as root: agentd knows this process by its credentials at this moment.
    let link = Link::open().map_err(unreachable_agentd)?;
    world::enter(&mounts, &network)?;
    limits::confined("confine.limits")?;
    identity::assume(plan.uid)?;
    proof::check(plan.uid)?;
    if is_script {
        // The interpreter opens /dev/fd/N, so the descriptor must live on.
        fcntl_setfd(&program, FdFlags::empty())
            .map_err(|errno| failed("confine.program", "keeping the script open", errno))?;
    }
    sys::default_sigpipe();
    begin(link, &plan)?;
    sys::exec(&program, &argv, &environment).map_err(|error| not_run(&plan, &error))
}

fn refuse_unless_root() -> Result<(), Refusal> {
    if rustix::process::getuid().is_root() && rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Refusal::new("confine.not_root", "tether-confine is started by sudo only").hint("use `sudo COMMAND`"))
}

/// Exactly `--descriptors=A,B,C,D`: plan, program, mount namespace, network namespace.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<[RawFd; 4], Refusal> {
    let wrong =
        || Refusal::new("confine.arguments", "tether-confine takes what tether's sudo plugin gives, nothing else");
    let (Some(_), Some(only), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err(wrong());
    };
    let list = only.to_str().and_then(|text| text.strip_prefix("--descriptors=")).ok_or_else(wrong)?;
    let number = |text: &str| text.parse().ok().filter(|number: &RawFd| *number >= 3 && number.to_string() == text);
    let numbers: Vec<RawFd> = list.split(',').map(number).collect::<Option<_>>().ok_or_else(wrong)?;
    let numbers: [RawFd; 4] = numbers.try_into().map_err(|_| wrong())?;
    let [a, b, c, d] = numbers;
    // Each is owned once: an equal pair would be closed twice.
    let distinct = a != b && a != c && a != d && b != c && b != d && c != d;
    distinct.then_some(numbers).ok_or_else(wrong)
}

fn take([a, b, c, d]: [RawFd; 4]) -> Result<[OwnedFd; 4], Refusal> {
    let take = |number| {
        sys::take_descriptor(number)
            .map_err(|error| failed("confine.descriptor", &format!("descriptor {number}"), error))
    };
    Ok([take(a)?, take(b)?, take(c)?, take(d)?])
}

/// The last act before exec: agentd looks again, writes the record, and says go.
fn begin(link: Link, plan: &Plan) -> Result<(), Refusal> {
    let request = Request::Begin { plan: plan.plan.clone() };
    match link.ask(&request, Deadline::after(GO)).map_err(unreachable_agentd)?.reply {
        Reply::Done => Ok(()),
        Reply::Refused(refusal) => Err(refusal),
        _ => Err(Refusal::new(codes::INTERNAL, "agentd answered something that was not asked; nothing was run")),
    }
}

fn unreachable_agentd(error: LinkError) -> Refusal {
    Refusal::new(codes::UNREACHABLE, format!("{error}; nothing was run"))
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

    fn parsed(arguments: &[&str]) -> Option<[RawFd; 4]> {
        parse(["tether-confine"].iter().chain(arguments).map(OsString::from)).ok()
    }

    #[test]
    fn only_the_plugins_argument_is_taken() {
        assert_eq!(parsed(&["--descriptors=5,6,7,12"]), Some([5, 6, 7, 12]));
        for wrong in [
            &[][..],
            &["--descriptors=5,6,7"],
            &["--descriptors=5,6,7,8,9"],
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
