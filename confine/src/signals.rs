//! Signals as the recorder needs them, and its last resort: what no safe wrapper has.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// Holds back every signal that can be: from here on they are read from the descriptor, or after a fork are the
/// child's to allow.
pub fn hold_signals() -> io::Result<OwnedFd> {
    // SAFETY: all zeroes is a signal set; it outlives the three calls, which fill it and read it.
    let descriptor = unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        if libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
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
