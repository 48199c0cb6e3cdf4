//! The grant `dbus`: Unix sockets, and of those below /run only the system bus. It is a /run of its own with what
//! systemctl, loginctl and their like read; the sockets of the journal, of pid 1 and of services are not in it.
//!
//! What the bus's peers then do for whom is theirs to decide: they go by the uid, which is the session's own. Sockets
//! that lie elsewhere and are everybody's stay within reach until the kernel can hold a process to named sockets.
#![forbid(unsafe_code)]

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;
use rustix::mount::{mount_bind, mount_bind_recursive};
use std::os::fd::{AsRawFd, OwnedFd};

/// The bus.
pub const SOCKET: &str = "/run/dbus/system_bus_socket";
/// What is in it besides: files and folders of the host's /run.
const SHOWN: [&str; 10] = [
    "dbus/system_bus_socket",
    "systemd/system",
    "systemd/sessions",
    "systemd/seats",
    "systemd/users",
    "systemd/resolve/stub-resolv.conf",
    "log",
    "utmp",
    "tether/accounts",
    "tether/proc",
];

/// Fills the folder `run` below `root`, whose path is `at`.
pub fn fill(root: &OwnedFd, at: &str) -> Result<(), Errno> {
    mkdirat(root, "run", Mode::from_raw_mode(0o755))?;
    for path in SHOWN {
        // What this host does not have is not shown.
        let Ok(about) = statat(CWD, format!("/run/{path}"), AtFlags::SYMLINK_NOFOLLOW) else { continue };
        make_parents(root, path)?;
        let place = format!("run/{path}");
        if FileType::from_raw_mode(about.st_mode) == FileType::Directory {
            mkdirat(root, &place, Mode::from_raw_mode(0o755))?;
            mount_bind_recursive(format!("/run/{path}"), format!("{at}/{place}"))?;
        } else {
            openat(root, &place, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o444))?;
            mount_bind(format!("/run/{path}"), format!("{at}/{place}"))?;
        }
    }
    make_parents(root, "tether/home/x")
}

/// Lays it over /run, with the scratch in its place again.
pub fn show(root: &OwnedFd, scratch: &OwnedFd) -> Result<(), Errno> {
    mount_bind_recursive(format!("/proc/self/fd/{}/run", root.as_raw_fd()), "/run")?;
    mount_bind(format!("/proc/self/fd/{}", scratch.as_raw_fd()), super::SCRATCH)
}

fn make_parents(root: &OwnedFd, path: &str) -> Result<(), Errno> {
    let mut made = String::from("run");
    let mut parts = path.split('/').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            break;
        }
        made = format!("{made}/{part}");
        match mkdirat(root, &made, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
