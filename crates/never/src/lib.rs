//! What no command of an agent may read: no bundle lifts it, and neither does naming a path. The launcher walks
//! folders by it; a bundle's lint and explanation ask it about one path.
//!
//! Pure: it knows names, never a file system. A hard link or a bind mount is the launcher's to see.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod list;
mod walk;

pub use list::{EXCEPT, FILES, GROUPS, NEVER, PROGRAMS};
pub use walk::{List, Step, Steps};

use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// Why a path is on the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Reason {
    /// Stable, for programs.
    pub code: &'static str,
    /// For people: what is in such a file.
    pub text: &'static str,
}

/// Folders in which a file that others cannot read is read only if a bundle names it.
pub const LISTED: [&str; 4] = ["/etc", "/opt", "/usr", "/var/lib"];

/// Whether a path lies in one of [`LISTED`].
#[must_use]
pub fn is_listed(path: &Path) -> bool {
    LISTED.iter().any(|folder| path.starts_with(folder))
}

/// Whether a mode lets everybody read a file.
#[must_use]
pub const fn others_read(mode: u32) -> bool {
    mode & 0o004 != 0
}

/// Whether a mode lets everybody into a folder: where others may not enter, they read nothing.
#[must_use]
pub const fn others_enter(mode: u32) -> bool {
    mode & 0o001 != 0
}

/// The numbers of [`GROUPS`], by a text like that of group(5).
#[must_use]
pub fn group_numbers(text: &str) -> Vec<u32> {
    let number = |line: &str| {
        let mut fields = line.split(':');
        let is_ours = fields.next().is_some_and(|name| GROUPS.contains(&name));
        fields.nth(1).filter(|_| is_ours)?.parse().ok()
    };
    text.lines().filter_map(number).collect()
}

/// Why this absolute path may never be read, if so.
#[must_use]
pub fn is_never(path: &Path) -> Option<&'static Reason> {
    let list = List::new();
    let mut steps = Steps::root();
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        match list.step(&steps, name.as_bytes()) {
            Step::Never(reason) => return Some(reason),
            Step::On(next) => steps = next,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(path: &str) -> Option<&'static str> {
        is_never(Path::new(path)).map(|reason| reason.code)
    }

    #[test]
    fn secrets_are_on_it_wherever_a_root_may_lie() {
        for (path, expected) in [
            ("/etc/shadow", "password_hashes"),
            ("/etc/shadow-", "password_hashes"),
            ("/etc/shadow+", "password_hashes"),
            ("/etc/gshadow.lock", "password_hashes"),
            ("/etc/security/opasswd", "password_hashes"),
            ("/srv/chroot/bookworm/etc/shadow", "password_hashes"),
            ("/etc/etc/shadow", "password_hashes"),
            ("/var/backups/shadow.bak", "password_hashes"),
            ("/etc/ssh/ssh_host_ed25519_key", "private_keys"),
            ("/home/a/.ssh/deploy", "private_keys"),
            ("/root/.ssh/id_rsa", "private_keys"),
            ("/opt/app/tls.key", "private_keys"),
            ("/etc/ssl/private/a/b", "private_keys"),
            ("/etc/letsencrypt/live/a/privkey1.pem", "private_keys"),
            ("/etc/krb5.keytab", "key_stores"),
            ("/home/a/.gnupg/pubring.kbx", "key_stores"),
            ("/etc/kubernetes/admin.conf", "credentials"),
            ("/srv/app/.env.production", "credentials"),
            ("/var/lib/systemd/coredump/core.1", "memory"),
            ("/proc/1/environ", "memory"),
            ("/dev/sda", "memory"),
            ("/boot/initrd.img-6.1.0-1-amd64", "private_keys"),
            ("/srv/chroot/var/lib/postgresql/15/main/base/1", "data"),
            ("/var/lib/tether/audit/00000000000000000001.jsonl", "own_state"),
            ("/var/lib/tether/recordings/0123456789abcdef/sudo-1.rec", "own_state"),
            ("/var/lib/docker/overlay2/a/merged/etc/passwd", "data"),
            ("/sys/kernel/tracing/trace_pipe", "kernel"),
        ] {
            assert_eq!(code(path), Some(expected), "{path}");
        }
    }

    #[test]
    fn evidence_is_not() {
        for path in [
            "/",
            "/etc",
            "/etc/passwd",
            "/etc/shadowy/x",
            "/home/a/etc",
            "/etc/ssh/sshd_config",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/home/a/.ssh/authorized_keys",
            "/home/a/.ssh/id_rsa.pub",
            "/home/a/.bash_history",
            "/etc/letsencrypt/live/a/cert.pem",
            "/etc/apt/keyrings/docker.key",
            "/var/log/auth.log",
            "/srv/proc/kmsg",
            "/proc/1/status",
            "/srv/etc/tether",
            "/key",
            "/usr/lib/postgresql/15/bin/psql",
            "/usr/lib/systemd/system/initrd.target",
            "/usr/share/man/man4/initrd.4.gz",
        ] {
            let expected = (path == "/etc/shadowy/x").then_some("password_hashes");
            assert_eq!(code(path), expected, "{path}");
        }
    }

    #[test]
    fn every_pattern_matches_itself_and_has_no_more_than_the_walk_can_hold() {
        assert!(NEVER.len() + EXCEPT.len() <= List::MOST);
        for (pattern, reason) in NEVER {
            let example = pattern.replace('*', "x");
            let path = if example.starts_with('/') { example } else { format!("/a/{example}") };
            assert_eq!(is_never(Path::new(&path)).map(|found| found.code), Some(reason.code), "{path}");
        }
        for file in FILES {
            assert!(code(file).is_some(), "{file}");
        }
    }

    #[test]
    fn groups_that_mark_secrets_are_found_by_name() {
        let text = "root:x:0:\nshadow:x:42:\nadm:x:4:syslog\nssl-cert:x:110:postgres\nshadow2:x:7:\nshadow\n";
        assert_eq!(group_numbers(text), [42, 110]);
    }

    #[test]
    fn listed_folders_are_whole_names() {
        assert!(is_listed(Path::new("/etc/x")) && is_listed(Path::new("/var/lib")));
        assert!(!is_listed(Path::new("/etcetera")) && !is_listed(Path::new("/var/log")));
    }
}
