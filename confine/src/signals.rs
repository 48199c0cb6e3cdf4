//! Signals as the recorder needs them, and its last resort: what no safe wrapper has.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Which signals were held back before.
pub struct Found(libc::sigset_t);

/// Holds back every signal that can be: from here on they are read from the descriptor.
pub fn hold_signals() -> io::Result<(OwnedFd, Found)> {
    // SAFETY: all zeroes is a signal set; both outlive the three calls, which fill them and read them.
    let (descriptor, found) = unsafe {
        let (mut all, mut found): (libc::sigset_t, libc::sigset_t) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut found) != 0 {
            return Err(io::Error::last_os_error());
        }
        (libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK), Found(found))
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, for nobody else.
    Ok((unsafe { OwnedFd::from_raw_fd(descriptor) }, found))
}

/// In the child, which inherits what is held back, and so would whatever it becomes.
pub fn let_all_through(found: &Found) {
    // SAFETY: the set outlives the call, which reads it.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const found.0, std::ptr::null_mut()) };
}

/// Lets one signal through again: before this process ends by it.
pub fn let_through(signal: i32) {
    // SAFETY: all zeroes is a signal set; it outlives the calls.
    unsafe {
        let mut one: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut one, signal);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const one, std::ptr::null_mut());
    }
}

/// Kills every process that this uid may signal, but this one: all that its session runs, since a session's uid is
/// nobody else's.
pub fn kill_all_of_uid() {
    // SAFETY: kill(2) reads its two numbers only.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}
