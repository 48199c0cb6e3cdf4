//! Who stands between a confined command and what its caller handed over as output.
//!
//! A command may hold pipes of ours only: over a socket it could hand descriptors out, and a file or device of the
//! caller's would be something to write to. So the launcher splits in two before it confines itself. One half becomes
//! the command, with pipes as output. The other, the keeper, becomes a process with the same uid and no capabilities
//! that copies: it waits for its reader as long as that takes, so that nothing is lost, and ends as the command ended.
//! (sudo's own copying, which its I/O plugins ask for, drops what is left when the command is gone and the reader slow.)
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
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};
use std::os::fd::{BorrowedFd, OwnedFd};
use tether_hostlink::Refusal;

const CODE: &str = "confine.output";
const CHUNK: usize = 64 * 1024;

/// What a wait status means beyond a command's own: it printed more than it may. As by a file that grew too long.
const TOO_MUCH: Signal = Signal::XFSZ;

/// One of the command's outputs, or both where they are the same.
struct Lane {
    from: OwnedFd,
    to: BorrowedFd<'static>,
}

/// Splits the launcher, if it must. Comes back in the half that becomes the command. `terminals`: whether they are
/// handed on.
pub fn stand_between(uid: u32, most: u64, terminals: bool) -> Result<(), Refusal> {
    let wrong = |errno: Errno| failed(CODE, "standing between the command and its output", errno);
    let (out, error) = (is_handed_on(stdout(), terminals)?, is_handed_on(stderr(), terminals)?);
    if out && error {
        return Ok(());
    }
    let one_for_both = !out && !error && is_same(stdout(), stderr()).map_err(wrong)?;
    let sudo = rustix::process::getppid();
    let (mut lanes, mut ends) = (Vec::new(), Vec::new());
    for (kept, to) in [(!out, stdout()), (!error && !one_for_both, stderr())] {
        if kept {
            let (from, end) = pipe_with(PipeFlags::CLOEXEC).map_err(wrong)?;
            lanes.push(Lane { from, to });
            ends.push(end);
        }
    }
    let child = sys::fork().map_err(|error| failed(CODE, "splitting the launcher", error))?;
    if let Some(child) = child {
        drop(ends);
        Keeper { child, lanes, left: most }.run(uid, sudo)
    }
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

/// Whether the command may have it as it is: a terminal of sudo's, or /dev/null.
fn is_handed_on(descriptor: BorrowedFd<'_>, terminals: bool) -> Result<bool, Refusal> {
    let stat = fstat(descriptor).map_err(|errno| failed(CODE, "looking at the output", errno))?;
    Ok(standard::is_null(&stat) || (terminals && standard::is_terminal(&stat)))
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
}

impl Keeper {
    /// Copies until the command is over, and ends like it.
    fn run(mut self, uid: u32, sudo: Option<Pid>) -> ! {
        sys::pass_signals_to(self.child);
        if let Err(errno) = become_nobody(uid, sudo).and_then(|()| self.copy_all()) {
            // Whoever reads is gone, or wants no more: so is the command.
            self.kill();
            let signal = if errno == Errno::FBIG { TOO_MUCH } else { Signal::PIPE };
            sys::end_by(signal);
        }
        match waitpid(Some(self.child), WaitOptions::empty()) {
            Ok(Some((_, status))) => end_like(status),
            _ => sys::end_by(Signal::KILL),
        }
    }

    fn copy_all(&mut self) -> Result<(), Errno> {
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

    fn copy_some(&mut self, place: usize, buffer: &mut [u8]) -> Result<Copied, Errno> {
        let Some(lane) = self.lanes.get(place) else { return Ok(Copied::Nothing) };
        let count = match read(&lane.from, &mut *buffer) {
            Ok(0) => return Ok(Copied::End),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Copied::Nothing),
            Err(errno) => return Err(errno),
        };
        let allowed = usize::try_from(self.left).unwrap_or(usize::MAX).min(count);
        write_all(lane.to, buffer.get(..allowed).unwrap_or_default())?;
        self.left = self.left.saturating_sub(count as u64);
        if allowed < count { Err(Errno::FBIG) } else { Ok(Copied::Some) }
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
    rustix::process::chdir("/")?;
    set_thread_groups(&[])?;
    let (user, group) = (Uid::from_raw(uid), Gid::from_raw(uid));
    set_thread_res_gid(group, group, group)?;
    // From uid 0 to another in all three: the kernel drops every capability with it (capabilities(7)).
    set_thread_res_uid(user, user, user)?;
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
