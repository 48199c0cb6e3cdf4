//! Who stands between a confined command and what its caller handed over as output.
//!
//! A command may hold pipes of ours only: over a socket it could hand descriptors out, and a file or device of the
//! caller's would be something to write to. So the launcher splits in two before it confines itself. One half becomes
//! the command, with pipes as output. The other, the keeper, becomes a process with the same uid and no capabilities
//! that copies: it waits for its reader as long as that takes, so that nothing is lost, and ends as the command ended.
//! (sudo's own copying, which its I/O plugins ask for, drops what is left when the command is gone and the reader slow.)
//!
//! The keeper records, too: what it copies goes into the recording first and to the reader then, so that what anybody saw
//! is in it. The other half never has the recording's descriptor. What cannot be recorded ends.
//!
//! A terminal is handed on as it is if it is sudo's own. Under `tether run` it is the agent's, and what is copied to it
//! is bytes: the command has no terminal to read from, to resize or to type into.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::{standard, sys};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::fstat;
use rustix::io::{Errno, read, write};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, PidfdFlags, Signal, Uid, WaitOptions, WaitStatus, pidfd_open, waitpid};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};
use std::os::fd::{BorrowedFd, OwnedFd};
use tether_hostlink::{Plan, Recorder, Refusal, Sink};
use tether_recording::Stream;

const CODE: &str = "confine.output";
const CHUNK: usize = 64 * 1024;

/// What a wait status means beyond a command's own: it printed more than it may. As by a file that grew too long.
const TOO_MUCH: Signal = Signal::XFSZ;
/// The same for: it could not be recorded.
const UNRECORDED: Signal = Signal::POWER;

/// One of the command's outputs, or both where they are the same.
struct Lane {
    from: OwnedFd,
    to: BorrowedFd<'static>,
    as_what: Stream,
}

/// Splits the launcher, if it must. Comes back in the half that becomes the command, which has no `sink` any more.
pub fn stand_between(plan: &Plan, sink: Option<OwnedFd>) -> Result<(), Refusal> {
    let wrong = |errno: Errno| failed(CODE, "standing between the command and its output", errno);
    let sink = sink.map(Sink::new);
    let (out, error) = (is_handed_on(stdout(), plan)?, is_handed_on(stderr(), plan)?);
    if out && error {
        return sink.map_or(Ok(()), nothing_to_record).map_err(unrecorded);
    }
    if plan.recorder == Recorder::Sudo {
        return Err(failed(CODE, "being recorded by sudo", "an output is not a terminal of sudo's"));
    }
    let one_for_both = !out && !error && is_same(stdout(), stderr()).map_err(wrong)?;
    let sudo = rustix::process::getppid();
    let (mut lanes, mut ends) = (Vec::new(), Vec::new());
    let both = [(!out, stdout(), Stream::Output), (!error && !one_for_both, stderr(), Stream::Error)];
    for (kept, to, as_what) in both {
        if kept {
            let (from, end) = pipe_with(PipeFlags::CLOEXEC).map_err(wrong)?;
            lanes.push(Lane { from, to, as_what });
            ends.push(end);
        }
    }
    let child = sys::fork().map_err(|error| failed(CODE, "splitting the launcher", error))?;
    if let Some(child) = child {
        drop(ends);
        Keeper { child, lanes, left: plan.output_limit, sink }.run(plan.uid, sudo)
    }
    drop(sink);
    let mut ends = ends.iter();
    if !out {
        let end = ends.next().ok_or_else(|| wrong(Errno::BADF))?;
        dup2_stdout(end).map_err(wrong)?;
        if one_for_both {
            dup2_stderr(end).map_err(wrong)?;
        }
    }
    if !error && !one_for_both {
        dup2_stderr(ends.next().ok_or_else(|| wrong(Errno::BADF))?).map_err(wrong)?;
    }
    Ok(())
}

/// Whether the command may have it as it is: a terminal of sudo's, or /dev/null. Where sudo records, what it made for
/// the command is root's; an agent's own terminal is the agent's, and nobody would record what is written to it.
fn is_handed_on(descriptor: BorrowedFd<'_>, plan: &Plan) -> Result<bool, Refusal> {
    let stat = fstat(descriptor).map_err(|errno| failed(CODE, "looking at the output", errno))?;
    let suits = plan.recorder != Recorder::Sudo || stat.st_uid == 0;
    Ok(standard::is_null(&stat) || (plan.terminals && standard::is_terminal(&stat) && suits))
}

/// Whoever asked wanted to see nothing: that is all there is to be said.
fn nothing_to_record(sink: Sink) -> Result<(), Errno> {
    sink.gap("its outputs are /dev/null: there is nothing to record")?;
    sink.end(None)
}

fn unrecorded(errno: Errno) -> Refusal {
    failed("recording.failed", "recording it", errno)
}

/// Whether two descriptors lead to one place, as after `2>&1`: then what is written stays in its order.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> Result<bool, Errno> {
    let (one, other) = (fstat(one)?, fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// The half that copies.
struct Keeper {
    child: Pid,
    lanes: Vec<Lane>,
    left: u64,
    sink: Option<Sink>,
}

/// Why the keeper copies no more.
enum Stop {
    /// Whoever reads is gone, or may have no more.
    Reader(Errno),
    /// It cannot be recorded.
    Recording(Errno),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        Self::Reader(errno)
    }
}

impl Keeper {
    /// Copies until the command is over, and ends like it.
    fn run(mut self, uid: u32, sudo: Option<Pid>) -> ! {
        sys::pass_signals_to(self.child);
        if let Err(stop) = become_nobody(uid, sudo).map_err(Stop::from).and_then(|()| self.copy_all()) {
            self.give_up(&stop);
        }
        match waitpid(Some(self.child), WaitOptions::empty()) {
            Ok(Some((_, status))) => {
                if let Some(Err(errno)) = self.sink.take().map(|sink| sink.end(Some(status.as_raw()))) {
                    self.give_up(&Stop::Recording(errno));
                }
                end_like(status)
            }
            _ => sys::end_by(Signal::KILL),
        }
    }

    /// Nothing is copied any more, so the command ends.
    fn give_up(&mut self, stop: &Stop) -> ! {
        self.kill();
        match stop {
            Stop::Reader(errno) => {
                if let Some(sink) = self.sink.take() {
                    let _ = sink.end(None);
                }
                sys::end_by(if *errno == Errno::FBIG { TOO_MUCH } else { Signal::PIPE })
            }
            Stop::Recording(errno) => {
                let text =
                    format!("tether: the command cannot be recorded, and was ended: {errno} [recording.failed]\n");
                let _ = write(stderr(), text.as_bytes());
                sys::end_by(UNRECORDED)
            }
        }
    }

    fn copy_all(&mut self) -> Result<(), Stop> {
        let process = pidfd_open(self.child, PidfdFlags::empty())?;
        for lane in &self.lanes {
            rustix::fs::fcntl_setfl(&lane.from, rustix::fs::OFlags::NONBLOCK)?;
        }
        let mut buffer = vec![0; CHUNK];
        loop {
            let over = self.wait(&process)?;
            let mut moved = true;
            // Once it is over, what is left in the pipes is all there is, whoever else still holds them.
            while moved {
                moved = false;
                for place in (0..self.lanes.len()).rev() {
                    match self.copy_some(place, &mut buffer)? {
                        Copied::Some => moved = over,
                        Copied::Nothing => {}
                        Copied::End => drop(self.lanes.remove(place)),
                    }
                }
            }
            if over {
                return Ok(());
            }
        }
    }

    /// Waits for output or the end. Whether it is the end.
    fn wait(&self, process: &OwnedFd) -> Result<bool, Errno> {
        let mut all: Vec<PollFd<'_>> = vec![PollFd::new(process, PollFlags::IN)];
        all.extend(self.lanes.iter().map(|lane| PollFd::new(&lane.from, PollFlags::IN)));
        loop {
            match poll(&mut all, None) {
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
                Ok(_) => break,
            }
        }
        Ok(all.first().is_some_and(|end| !end.revents().is_empty()))
    }

    fn copy_some(&mut self, place: usize, buffer: &mut [u8]) -> Result<Copied, Stop> {
        let Some(lane) = self.lanes.get(place) else { return Ok(Copied::Nothing) };
        let count = match read(&lane.from, &mut *buffer) {
            Ok(0) => return Ok(Copied::End),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Copied::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let allowed = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
        let bytes = buffer.get(..allowed).unwrap_or_default();
        if let Some(sink) = &self.sink {
            sink.shown(lane.as_what, bytes).map_err(Stop::Recording)?;
        }
        write_all(lane.to, bytes)?;
        self.left = self.left.saturating_sub(count as u64);
        if allowed < count { Err(Errno::FBIG.into()) } else { Ok(Copied::Some) }
    }

    fn kill(&self) {
        // It may be gone already; agentd kills what it left behind.
        let _ = rustix::process::kill_process(self.child, Signal::KILL);
    }
}

enum Copied {
    Some,
    Nothing,
    End,
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // The caller made its own end non-blocking: it is waited for all the same.
            Err(Errno::AGAIN) => {
                let mut one = [PollFd::from_borrowed_fd(to, PollFlags::OUT)];
                match poll(&mut one, None) {
                    Err(errno) if errno != Errno::INTR => return Err(errno),
                    _ => {}
                }
            }
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The session's read-only uid without any capability: what it writes, it writes with no more right than that.
fn become_nobody(uid: u32, sudo: Option<Pid>) -> Result<(), Errno> {
    use rustix::thread::{set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
    set_no_new_privs(true)?;
    // What the agent's limit for files is, sudo hands on; a recording has limits of its own. As root it may.
    let _ = setrlimit(Resource::Fsize, Rlimit { current: None, maximum: None });
    rustix::process::chdir("/")?;
    set_thread_groups(&[])?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_res_gid(group, group, group)?;
    // From uid 0 to another in all three: the kernel drops every capability with it (capabilities(7)).
    set_thread_res_uid(user, user, user)?;
    // It has the recording: the command, which has the same uid, must not get it from /proc, whatever the host's
    // `fs.suid_dumpable` says.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // Last, since a change of uid undoes it. Without sudo nobody waits for this process.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == sudo { Ok(()) } else { Err(Errno::SRCH) }
}

fn end_like(status: WaitStatus) -> ! {
    match (status.exit_status(), status.terminating_signal().and_then(Signal::from_named_raw)) {
        (Some(code), _) => std::process::exit(code),
        (None, Some(signal)) => sys::end_by(signal),
        (None, None) => sys::end_by(Signal::KILL),
    }
}
