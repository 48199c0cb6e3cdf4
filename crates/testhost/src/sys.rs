//! The system calls that need `unsafe`: what a child does between fork and exec, and pidfds.
//!
//! Invariant: a [`Step`] only makes system calls on values prepared before the fork; it neither allocates nor locks.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

/// One thing a child does after fork and before exec.
pub(crate) enum Step {
    /// Move into the cgroup whose `cgroup.procs` is open here.
    JoinCgroup(OwnedFd),
    /// Enter namespaces of the process behind a pidfd, or the one behind a namespace's own descriptor.
    Enter(OwnedFd, CloneFlags),
    Unshare(CloneFlags),
    Mount {
        source: CString,
        target: CString,
        kind: CString,
        flags: MsFlags,
    },
    Unlink(CString),
    ChangeDir(CString),
    NewSession,
    /// Have no login uid, as on a machine that has just booted; where the kernel keeps none, nothing happens.
    ForgetLogin,
    /// Be killed when the thread that forked ends.
    DieWithParent,
    /// Give up a capability for good (its number in `linux/capability.h`).
    DropCapability(libc::c_ulong),
}

impl Step {
    fn run(&self) -> nix::Result<()> {
        match self {
            Step::JoinCgroup(procs) => nix::unistd::write(procs, b"0").map(drop),
            Step::Enter(fd, flags) => setns(fd, *flags),
            Step::Unshare(flags) => unshare(*flags),
            Step::Mount { source, target, kind, flags } => mount(
                Some(source.as_c_str()),
                target.as_c_str(),
                Some(kind.as_c_str()),
                *flags,
                None::<&std::ffi::CStr>,
            ),
            Step::Unlink(path) => nix::unistd::unlink(path.as_c_str()),
            Step::ChangeDir(path) => nix::unistd::chdir(path.as_c_str()),
            Step::NewSession => nix::unistd::setsid().map(drop),
            Step::ForgetLogin => forget_login(),
            Step::DieWithParent => nix::sys::prctl::set_pdeathsig(Signal::SIGKILL),
            Step::DropCapability(number) => {
                // SAFETY: PR_CAPBSET_DROP takes one number and touches no memory.
                Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *number, 0, 0, 0) }).map(drop)
            }
        }
    }

    fn name(&self) -> &[u8] {
        match self {
            Step::JoinCgroup(_) => b"join the cgroup",
            Step::Enter(..) => b"enter the namespaces",
            Step::Unshare(_) => b"make the namespaces",
            Step::Mount { target, .. } => target.to_bytes(),
            Step::Unlink(path) | Step::ChangeDir(path) => path.to_bytes(),
            Step::NewSession => b"make a session",
            Step::ForgetLogin => b"forget the login uid",
            Step::DieWithParent => b"ask for the death signal",
            Step::DropCapability(_) => b"drop a capability",
        }
    }
}

fn forget_login() -> nix::Result<()> {
    let path = c"/proc/self/loginuid";
    match open(path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        file => nix::unistd::write(file?, b"4294967295").map(drop),
    }
}

/// Makes `command`'s child take these steps, in order, before it execs. The first that fails makes `spawn` fail with its
/// error number, and names itself on the child's stderr.
pub(crate) fn before_exec(command: &mut Command, steps: Vec<Step>) {
    let run = move || {
        for step in &steps {
            if let Err(errno) = step.run() {
                for part in [b"failed step: ", step.name(), b"\n"] {
                    let _ = nix::unistd::write(stderr(), part);
                }
                return Err(io::Error::from(errno));
            }
        }
        Ok(())
    };
    // SAFETY: the closure keeps this module's invariant: after the fork it makes system calls on prepared values only,
    // and io::Error::from(Errno) holds a bare number.
    unsafe { command.pre_exec(run) };
}

fn stderr() -> BorrowedFd<'static> {
    // SAFETY: descriptor 2 is the child's stderr, which std has set up before the steps run and nobody closes.
    unsafe { BorrowedFd::borrow_raw(2) }
}

/// A descriptor of a running process; it cannot come to mean another one.
#[derive(Debug)]
pub(crate) struct Pidfd(OwnedFd);

impl Pidfd {
    pub(crate) fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two numbers; a result that is not negative is a new descriptor that nobody else owns.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: as above: fresh and ours alone.
        Ok(Pidfd(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    pub(crate) fn try_clone(&self) -> io::Result<OwnedFd> {
        self.0.try_clone()
    }

    /// Kills the process; one that is gone already is no error.
    pub(crate) fn kill(&self) -> io::Result<()> {
        let no_info = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: the descriptor is open, and a null siginfo asks for the one kill(2) would send.
        let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, no_info, 0) };
        match Errno::result(sent) {
            Ok(_) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits until the process has ended, at most until `deadline`; says whether it has.
    pub(crate) fn wait_end(&self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(Duration::from_secs(60));
            // Rounded up, so that the last turn does not spin.
            let millis = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], millis) {
                Ok(1..) => return Ok(true),
                Ok(_) if Instant::now() >= deadline => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
