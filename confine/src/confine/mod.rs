//! From a sealed plan to the program that it names, without root on the way.
//!
//! Everything is checked before anything is given up; the question to agentd whether the plan still stands
//! is the last act before exec.

mod descriptors;
mod drop;
mod place;
mod plan;

use crate::sys;
use std::ffi::CString;
use std::time::Duration;
use tether_hostlink::{Deadline, Link, Reply, Request};

/// Why the command does not run.
#[derive(Debug, thiserror::Error)]
#[error("{text} [{code}]")]
pub struct Refused {
    code: String,
    text: String,
}

impl Refused {
    fn new(code: &str, text: impl std::fmt::Display) -> Self {
        Self { code: code.to_owned(), text: text.to_string() }
    }
}

/// Gives a failed step its code and says which it was.
trait Step<T> {
    fn step(self, code: &str, what: &str) -> Result<T, Refused>;
}

impl<T, E: std::fmt::Display> Step<T> for Result<T, E> {
    fn step(self, code: &str, what: &str) -> Result<T, Refused> {
        self.map_err(|error| Refused::new(code, format_args!("{what}: {error}")))
    }
}

/// Runs what the plan says. Returns only if that is refused.
pub fn run(arguments: &[String]) -> Refused {
    match prepare_and_exec(arguments) {
        Ok(never) => match never {},
        Err(refused) => refused,
    }
}

fn prepare_and_exec(arguments: &[String]) -> Result<std::convert::Infallible, Refused> {
    check_caller()?;
    let given = descriptors::take(arguments)?;
    let plan = plan::read(&given.plan)?;
    plan::check_program(&plan, &given.program)?;
    descriptors::check_standard()?;
    // Connected while root: the kernel notes a peer's uid then, and agentd answers nobody else.
    let link = Link::open().step("agentd.unreachable", "agentd")?;
    place::enter(&given)?;
    let (argv, environment) = (texts(&plan.argv)?, texts(&plan.environment)?);
    let program = descriptors::keep_only(given.program)?;
    drop::become_read_only(plan.uid)?;
    ask_to_begin(link, plan.plan)?;
    let errno = sys::exec(&program, &argv, &environment);
    Err(Refused::new("confine.exec", format_args!("{}: {errno}", plan.program)))
}

/// Only sudo's plugin starts this, as root.
fn check_caller() -> Result<(), Refused> {
    if rustix::process::getuid().is_root() && rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Refused::new("confine.not_root", "tether-confine is started by sudo, not by hand"))
}

fn ask_to_begin(link: Link, plan: String) -> Result<(), Refused> {
    let answer = link.ask(&Request::Begin { plan }, Deadline::after(Duration::from_secs(2)));
    match answer.step("agentd.unreachable", "agentd")?.reply {
        Reply::Done => Ok(()),
        Reply::Refused(refusal) => Err(Refused::new(&refusal.code, refusal.text)),
        _ => Err(Refused::new("internal", "agentd gave another answer than was asked for")),
    }
}

fn texts(all: &[String]) -> Result<Vec<CString>, Refused> {
    all.iter().map(|text| CString::new(text.as_str())).collect::<Result<_, _>>().step("confine.plan", "the plan")
}
