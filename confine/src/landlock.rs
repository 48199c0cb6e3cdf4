//! Landlock: what a process may open, by inode (landlock(7)). Every right that this kernel knows is handled, so
//! what no rule allows is refused. Features are asked for one by one: version numbers have lied.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::sys;
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use tether_hostlink::Refusal;

/// Rights to files and folders (`LANDLOCK_ACCESS_FS_…`).
pub mod right {
    /// Running a file.
    pub const EXECUTE: u64 = 1;
    /// Opening a file to write.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Opening a file to read.
    pub const READ_FILE: u64 = 1 << 2;
    /// Listing a folder.
    pub const READ_DIR: u64 = 1 << 3;
    /// Removing a folder.
    pub const REMOVE_DIR: u64 = 1 << 4;
    /// Removing a file.
    pub const REMOVE_FILE: u64 = 1 << 5;
    /// Making a folder.
    pub const MAKE_DIR: u64 = 1 << 7;
    /// Making a file.
    pub const MAKE_REG: u64 = 1 << 8;
    /// Making a FIFO.
    pub const MAKE_FIFO: u64 = 1 << 10;
    /// Making a symbolic link.
    pub const MAKE_SYM: u64 = 1 << 12;
    /// Linking or renaming from one folder to another.
    pub const REFER: u64 = 1 << 13;
    /// Cutting a file.
    pub const TRUNCATE: u64 = 1 << 14;
    /// ioctl on a device.
    pub const IOCTL_DEV: u64 = 1 << 15;
    /// Connecting to a Unix socket by its path.
    pub const RESOLVE_UNIX: u64 = 1 << 16;
}

/// What the first version had; without it there is no Landlock for us.
const BASE: u64 = (1 << 13) - 1;
/// What came later, one by one.
const LATER: [u64; 4] = [right::REFER, right::TRUNCATE, right::IOCTL_DEV, right::RESOLVE_UNIX];
/// Bind and connect of TCP, each a right.
const TCP: u64 = 0b11;
/// Abstract Unix sockets.
const ABSTRACT: u64 = 1;
/// Signals.
const SIGNAL: u64 = 1 << 1;

/// What this kernel's Landlock can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// Rights to files that it knows.
    pub files: u64,
    /// Both rights to TCP, or none.
    pub tcp: u64,
    /// Scopes.
    pub scopes: u64,
}

impl Features {
    /// Everything that we know of.
    const ALL: Self =
        Self { files: BASE | right::REFER | right::TRUNCATE | right::IOCTL_DEV, tcp: TCP, scopes: ABSTRACT | SIGNAL };

    /// Asks the kernel. An error: it has no Landlock.
    pub fn probe() -> Result<Self, Errno> {
        let files = |files| Self { files, tcp: 0, scopes: 0 };
        files(BASE).ruleset()?;
        let mut found = files(BASE);
        for bit in LATER {
            if files(BASE | bit).ruleset().is_ok() {
                found.files |= bit;
            }
        }
        if (Self { tcp: TCP, ..files(BASE) }).ruleset().is_ok() {
            found.tcp = TCP;
        }
        for scope in [ABSTRACT, SIGNAL] {
            if (Self { scopes: scope, ..files(BASE) }).ruleset().is_ok() {
                found.scopes |= scope;
            }
        }
        // Each alone is not all together.
        found.ruleset().map(|_| found)
    }

    /// The later rights to files, by name.
    pub fn names(self) -> Vec<&'static str> {
        let later = [
            (right::REFER, "refer"),
            (right::TRUNCATE, "truncate"),
            (right::IOCTL_DEV, "ioctl_dev"),
            (right::RESOLVE_UNIX, "resolve_unix"),
        ];
        let known = later.into_iter().filter(|(bit, _)| self.files & bit != 0);
        ["base"].into_iter().chain(known.map(|(_, name)| name)).collect()
    }

    /// Whether TCP can be held to ports.
    pub const fn keeps_tcp(self) -> bool {
        self.tcp != 0
    }

    /// Whether signals stay inside.
    pub const fn keeps_signals(self) -> bool {
        self.scopes & SIGNAL != 0
    }

    /// Whether abstract sockets outside are out of reach.
    pub const fn keeps_abstract_sockets(self) -> bool {
        self.scopes & ABSTRACT != 0
    }

    /// Whether sockets are out of reach by path.
    pub const fn keeps_path_sockets(self) -> bool {
        self.files & right::RESOLVE_UNIX != 0
    }

    fn ruleset(self) -> Result<OwnedFd, Errno> {
        sys::landlock_create(self.files, self.tcp, self.scopes)
    }
}

/// Rules in the making.
#[derive(Debug)]
pub struct Ruleset {
    ruleset: OwnedFd,
    features: Features,
    /// How many rules there are.
    pub rules: usize,
}

impl Ruleset {
    /// With all that the kernel has. The newest of it is tried first, since that is one call.
    pub fn new() -> Result<Self, Refusal> {
        let newest = Features { files: Features::ALL.files | right::RESOLVE_UNIX, ..Features::ALL };
        for features in [newest, Features::ALL] {
            if let Ok(ruleset) = features.ruleset() {
                return Ok(Self { ruleset, features, rules: 0 });
            }
        }
        let features = Features::probe().map_err(missing)?;
        let ruleset = features.ruleset().map_err(missing)?;
        Ok(Self { ruleset, features, rules: 0 })
    }

    /// What this kernel's Landlock can do.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// Allows rights to a file, or to a folder and all below.
    pub fn allow(&mut self, object: impl AsFd, rights: u64) -> Result<(), Errno> {
        let rights = rights & self.features.files;
        if rights == 0 {
            return Ok(()); // This kernel does not know them, so it does not refuse them either.
        }
        sys::landlock_allow(&self.ruleset, object.as_fd(), rights)?;
        self.rules += 1;
        Ok(())
    }

    /// From here on this process and all that come of it are held to the rules.
    pub fn enforce(self) -> Result<(), Refusal> {
        sys::landlock_enforce(&self.ruleset).map_err(|errno| failed("confine.landlock", "enforcing its rules", errno))
    }
}

fn missing(errno: Errno) -> Refusal {
    failed("confine.landlock", "this kernel has no Landlock", errno)
        .hint("see `tether doctor confine`; a kernel of 5.13 or later has it, if its `lsm=` names it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_one_by_one_is_what_is_used() {
        let Ok(found) = Features::probe() else { return eprintln!("skipped: no Landlock here") };
        assert_eq!(Ruleset::new().unwrap().features, found);
        assert_eq!(found.files & BASE, BASE);
    }

    #[test]
    fn a_feature_that_is_not_there_is_refused_by_the_kernel() {
        if Features::probe().is_ok() {
            assert_eq!(Features { files: 1 << 62, tcp: 0, scopes: 0 }.ruleset().err(), Some(Errno::INVAL));
        }
    }
}
