//! Before anything of the channel runs: descriptors of ours in place of sshd's, agentd's word, then the child.
#![forbid(unsafe_code)]

use super::flow::{Flow, Input, Lane};
use super::sink::Sink;
use super::terminal::{Inner, Terminal, size, without_waiting};
use crate::refusal::failed;
use crate::signals::{Found, hold_signals, let_all_through};
use crate::sys;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use rustix::process::{Pid, Signal, getpid, getppid, ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};
use rustix::termios::isatty;
use std::convert::Infallible;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use tether_hostlink::{Channel, RecordRequest, Refusal};
use tether_recording::Stream;

const CODE: &str = "recording.setup";
/// As much as a full frame several times over; less is slower and as right.
const PIPE: usize = 256 * 1024;

/// What is to be recorded.
pub struct Asked {
    /// The account's uid.
    pub uid: u32,
    /// The command, or none for a login.
    pub command: Option<String>,
    /// Whether it is a file transfer.
    pub transfers: bool,
    /// The shell, ready to be started.
    pub shell: Command,
}

/// What the child gets: a terminal, or pipes for those that are put in place.
struct Ends {
    terminal: Option<Inner>,
    input: Option<OwnedFd>,
    output: Option<OwnedFd>,
    error: Option<OwnedFd>,
}

/// Records a channel to its end. Comes back only when it refuses, and in the child when the shell cannot be started.
pub fn record(mut asked: Asked) -> Result<Infallible, Refusal> {
    let wrong = |errno: Errno| failed(CODE, "putting the recorder in place", errno);
    let (signals, found) = hold_signals().map_err(|error| failed(CODE, "holding signals", error))?;
    let (mut flow, ends) = prepare(signals).map_err(wrong)?;
    if let Some(inner) = &ends.terminal {
        asked.shell.env("SSH_TTY", &inner.name);
    }
    let sink = Sink::open(asked.uid, request(&asked, ends.terminal.is_some()))?;
    let recorder = getpid();
    match sys::fork() {
        Ok(None) => become_child(asked.shell, &ends, &found, recorder),
        Ok(Some(child)) => {
            drop(ends);
            flow.run(sink, child)
        }
        Err(error) => {
            // A regular end: nothing ran.
            flow.give_up(sink);
            Err(failed(CODE, "splitting the shell", error))
        }
    }
}

fn request(asked: &Asked, terminal: bool) -> RecordRequest {
    let (columns, rows) = if terminal { size() } else { (0, 0) };
    let kind = match (terminal, asked.transfers) {
        (true, _) => Channel::Tty,
        (false, true) => Channel::Sftp,
        (false, false) => Channel::Exec,
    };
    let command = asked.command.as_ref().map(|command| command.chars().take(COMMAND_MAX).collect());
    RecordRequest { kind, command, columns, rows, continues: None }
}

/// How many characters of a command stand in its recording's header.
const COMMAND_MAX: usize = 4096;

fn prepare(signals: OwnedFd) -> Result<(Flow, Ends), Errno> {
    if isatty(stdin()) && isatty(stdout()) { with_terminal(signals) } else { with_pipes(signals) }
}

fn with_terminal(signals: OwnedFd) -> Result<(Flow, Ends), Errno> {
    let (terminal, inner) = Terminal::make()?;
    terminal.hand_through()?;
    without_waiting(&stdout())?;
    let lane = Lane { from: Some(terminal.other()?), to: Some(stdout()), stream: Stream::Output };
    let input = Input::new(stdin(), terminal.other()?);
    let ends = Ends { terminal: Some(inner), input: None, output: None, error: None };
    Ok((Flow::new(signals, vec![lane], Some(input), Some(terminal)), ends))
}

/// Standard input is left alone, unless it is a socket: then it is likely the same as the output, and who holds it
/// could write past us.
fn with_pipes(signals: OwnedFd) -> Result<(Flow, Ends), Errno> {
    let mut ends = Ends { terminal: None, input: None, output: None, error: None };
    let mut input = None;
    if FileType::from_raw_mode(fstat(stdin())?.st_mode) == FileType::Socket {
        let (from, to) = pipe_with(PipeFlags::CLOEXEC)?;
        without_waiting(&to)?;
        (ends.input, input) = (Some(from), Some(Input::new(stdin(), to)));
    }
    let (lane, end) = lane(stdout(), Stream::Output)?;
    let mut lanes = vec![lane];
    ends.output = Some(end);
    if !is_same(stdout(), stderr())? {
        let (lane, end) = self::lane(stderr(), Stream::Error)?;
        lanes.push(lane);
        ends.error = Some(end);
    }
    Ok((Flow::new(signals, lanes, input, None), ends))
}

fn lane(to: BorrowedFd<'static>, stream: Stream) -> Result<(Lane, OwnedFd), Errno> {
    let (from, end) = pipe_with(PipeFlags::CLOEXEC)?;
    let _ = fcntl_setpipe_size(&from, PIPE);
    without_waiting(&from)?;
    without_waiting(&to)?;
    Ok((Lane { from: Some(from), to: Some(to), stream }, end))
}

/// Whether two descriptors lead to one place, as after `2>&1`: then what is written stays in its order.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

fn become_child(mut shell: Command, ends: &Ends, found: &Found, recorder: Pid) -> Result<Infallible, Refusal> {
    let placed = ends.place().and_then(|()| {
        // The recorder may be killed: what it started dies with it, and the session's end takes the rest.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if getppid() == Some(recorder) { Ok(()) } else { Err(Errno::SRCH) }
    });
    placed.map_err(|errno| failed(CODE, "putting the channel's descriptors in place", errno))?;
    let_all_through(found);
    Err(failed("shell.exec", "starting the shell", shell.exec()))
}

impl Ends {
    fn place(&self) -> Result<(), Errno> {
        if let Some(inner) = &self.terminal {
            setsid()?;
            ioctl_tiocsctty(&inner.slave)?;
            dup2_stdin(&inner.slave)?;
            dup2_stdout(&inner.slave)?;
            return dup2_stderr(&inner.slave);
        }
        if let Some(input) = &self.input {
            dup2_stdin(input)?;
        }
        let Some(output) = &self.output else { return Err(Errno::BADF) };
        dup2_stdout(output)?;
        dup2_stderr(self.error.as_ref().unwrap_or(output))
    }
}

/// `/dev/null`, in place of a descriptor that is not ours to hold any longer.
pub(super) fn nothing() -> Result<OwnedFd, Errno> {
    openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
}
