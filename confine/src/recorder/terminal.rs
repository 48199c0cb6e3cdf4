//! A terminal of the recorder's own between sshd's and the session.
#![forbid(unsafe_code)]

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, ptsname, unlockpt};
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// sshd's terminal as it was found, and the controlling side of ours.
pub struct Terminal {
    master: OwnedFd,
    found: Termios,
}

/// The side of it that the session gets, and its name.
pub struct Inner {
    /// Open, but nobody's controlling terminal yet.
    pub slave: OwnedFd,
    /// Such as `/dev/pts/0`.
    pub name: OsString,
}

impl Terminal {
    /// Makes one with the modes and the size of standard input.
    pub fn make() -> Result<(Self, Inner), Errno> {
        let found = tcgetattr(stdin())?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let slave = ioctl_tiocgptpeer(&master, flags | OpenptFlags::CLOEXEC)?;
        let name = OsString::from_vec(ptsname(&master, Vec::new())?.into_bytes());
        tcsetattr(&slave, OptionalActions::Now, &found)?;
        tcsetwinsize(&slave, tcgetwinsize(stdin())?)?;
        without_waiting(&master)?;
        Ok((Self { master, found }, Inner { slave, name }))
    }

    /// Everything goes through sshd's terminal as it is: signals, echo and lines are made by ours.
    pub fn hand_through(&self) -> Result<(), Errno> {
        let mut raw = self.found.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)
    }

    /// sshd's terminal as it was. It may be gone.
    pub fn restore(&self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.found);
    }

    /// Another descriptor of the controlling side.
    pub fn other(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.master, 3)
    }

    /// Gives it the size that sshd's has now. The kernel tells the session.
    pub fn follow_size(&self) -> Result<Winsize, Errno> {
        let size = tcgetwinsize(stdin())?;
        tcsetwinsize(&self.master, size)?;
        Ok(size)
    }
}

/// Columns and rows of standard input, as far as it has them.
pub fn size() -> (u16, u16) {
    tcgetwinsize(stdin()).map_or((0, 0), |size| (size.ws_col, size.ws_row))
}

/// Reads and writes on it come back at once.
pub fn without_waiting(descriptor: &impl AsFd) -> Result<(), Errno> {
    fcntl_setfl(descriptor, fcntl_getfl(descriptor)? | OFlags::NONBLOCK)
}
