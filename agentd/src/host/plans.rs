//! Commands under sudo and `tether run`: allowed, begun, over.

use crate::clock::Moment;
use crate::requests::Planned;
use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tether_audit::Parent;
use tether_identity::SessionId;

/// Where a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanPhase {
    /// Allowed; the launcher has not come yet.
    Allowed,
    /// Its record waits for the disk: it does not run yet.
    Recording,
    /// Recorded and running.
    Running,
}

/// Which way a command was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By sudo's plugin, which runs the launcher itself.
    Sudo,
    /// By `tether run`: the runner runs the launcher.
    Run,
}

impl Way {
    /// As records have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sudo => "sudo",
            Self::Run => "run",
        }
    }
}

/// How a command came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandEnd {
    /// By itself; the wait status as waitpid(2) gives it.
    Status(i32),
    /// Who asked for it is gone: the sudo, the `tether run`, or its runner.
    AskerGone,
    /// Its session ended.
    Session,
    /// It ran longer than its rule or the host allows.
    Time,
    /// It printed more than its rule or the host allows.
    Output,
    /// It could not be recorded any more.
    Unrecorded,
    /// Its recording is as long as it may be.
    RecordingLimit,
}

impl CommandEnd {
    /// The code of its record; empty if nothing was cut short.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Status(_) | Self::AskerGone | Self::Session => "",
            Self::Time => "command.time_limit",
            Self::Output => "command.output_limit",
            Self::Unrecorded => "recording.failed",
            Self::RecordingLimit => "recording.limit",
        }
    }

    /// The same for who reads the record: the exit code or the signal.
    pub fn exit(self) -> Option<(String, serde_json::Value)> {
        let status = ExitStatus::from_raw(self.status()?);
        let named = |name: &str, value: i32| (name.to_owned(), value.into());
        let signal = || status.signal().map(|signal| named("signal", signal));
        status.code().map(|code| named("exit", code)).or_else(signal)
    }

    /// The wait status, if it is known.
    pub const fn status(self) -> Option<i32> {
        if let Self::Status(status) = self { Some(status) } else { None }
    }
}

/// A command that was allowed and is not over.
#[derive(Debug)]
pub struct OpenPlan {
    /// Whose.
    pub session: SessionId,
    /// Where it is.
    pub phase: PlanPhase,
    /// Until when the launcher must come; once it runs, when its time is over.
    pub until: Moment,
    /// How long it may run.
    pub time_limit: Duration,
    /// The TCP destinations that it may connect to. None: it has no sockets of IP.
    pub net: Vec<SocketAddr>,
    /// The version of the session's bundle that allowed it: under another one it would have to be decided anew.
    pub bundle_version: u64,
    /// For its records: program, digest, arguments, rule, bundle.
    pub about: serde_json::Value,
    /// The record of the login that it came by.
    pub login: Option<Parent>,
    /// The number of its own record, once it has one.
    pub record: Option<u64>,
    /// Who asked: the sudo, or the `tether run` and then its runner.
    pub asker: OwnedFd,
    /// The asker's pid.
    pub asker_pid: u32,
    /// The name of its recording, if it is recorded.
    pub recording: Option<String>,
    /// Under `tether run` only.
    pub run: Option<RunPart>,
}

/// What an agent gave to its command as 0, 1 and 2. To close one may wait for whoever made it (a file system of the
/// agent's own), so it is never the last copy that is dropped under the lock: the connection's thread has one.
pub type Lent = Arc<Vec<OwnedFd>>;

/// What a plan has under `tether run` only.
#[derive(Debug)]
pub struct RunPart {
    /// What the runner takes, once.
    pub handed: Option<Handed>,
    /// Who waits for the end.
    pub teller: Teller,
}

/// What the runner takes.
#[derive(Debug)]
pub struct Handed {
    /// What the launcher gets, but for the sealing.
    pub planned: Planned,
    /// The end of a pipe whose other end the connection's thread holds.
    pub lifeline: OwnedFd,
    /// The command's 0, 1 and 2.
    pub lent: Lent,
}

/// How a command of `tether run` came to its end.
#[derive(Debug)]
pub struct Over {
    /// How.
    pub end: CommandEnd,
    /// Whether it had begun.
    pub begun: bool,
    /// Who had asked last.
    pub asker: OwnedFd,
}

/// The half that knows the end.
#[derive(Debug)]
pub struct Teller {
    over: Arc<OnceLock<Over>>,
    /// Closing it wakes the other half.
    _wake: OwnedFd,
}

impl Teller {
    /// Tells it, once.
    pub fn tell(self, over: Over) {
        // Nobody else has this half, so it was not told before.
        let _ = self.over.set(over);
    }
}

/// The half that waits for the end.
#[derive(Debug)]
pub struct Awaited {
    over: Arc<OnceLock<Over>>,
    /// Hangs up when there is something to know.
    pub woken: OwnedFd,
    /// The runner ends its command when this closes: with this half, however that ends.
    _lifeline: OwnedFd,
}

impl Awaited {
    /// What was told; nothing if the other half went without a word.
    pub fn over(&self) -> Option<&Over> {
        self.over.get()
    }
}

/// Both halves, and the runner's end of the lifeline.
pub fn awaiting() -> io::Result<(Teller, Awaited, OwnedFd)> {
    let (woken, wake) = pipe_with(PipeFlags::CLOEXEC)?;
    let (end, lifeline) = pipe_with(PipeFlags::CLOEXEC)?;
    let over = Arc::new(OnceLock::new());
    let teller = Teller { over: Arc::clone(&over), _wake: wake };
    Ok((teller, Awaited { over, woken, _lifeline: lifeline }, end))
}
