//! Whose sudo this is: an agent's or a human's. From the kernel, never from arguments or environment.
//!
//! Invariants: settled once, before sudo changes its own ids; an agent's real uid is enough by itself; a
//! human never depends on /proc. uid 0 under an agent's login uid or cgroup is that agent: what it was
//! allowed to run as root must not reach sudoers as root.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Read;
use std::sync::OnceLock;
use tether_hostlink::paths::{CGROUP, is_agent_uid};

/// The most of a /proc file that is read.
const READ_MAX: u64 = 64 * 1024;

/// Whether the caller is an agent.
pub fn is_agent() -> bool {
    static SETTLED: OnceLock<bool> = OnceLock::new();
    *SETTLED.get_or_init(|| {
        is_agents(rustix::process::getuid().as_raw(), || read("/proc/self/loginuid"), || read("/proc/self/cgroup"))
    })
}

fn is_agents(uid: u32, login_uid: impl FnOnce() -> Option<String>, cgroup: impl FnOnce() -> Option<String>) -> bool {
    is_agent_uid(uid)
        || login_uid().and_then(|text| text.trim_end().parse().ok()).is_some_and(is_agent_uid)
        || cgroup().is_some_and(|text| is_in_a_session(&text))
}

/// Looks at the v2 line, `0::/path`; the path's name may hold anything but a newline.
fn is_in_a_session(cgroups: &str) -> bool {
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"));
    path.is_some_and(|path| path.split('/').any(|component| component == CGROUP))
}

fn read(path: &str) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(READ_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(uid: u32, login_uid: &str, cgroup: &str) -> bool {
        is_agents(uid, || Some(login_uid.into()), || Some(cgroup.into()))
    }

    #[test]
    fn an_agent_is_known_by_uid_login_uid_or_cgroup() {
        let (none, human) = ("4294967295", "0::/user.slice/user-1000.slice\n");
        assert!(asks(65536, none, human));
        assert!(asks(99999, none, human));
        assert!(asks(0, "65536", human));
        assert!(asks(0, "65536\n", human));
        assert!(asks(0, none, "1:name=systemd:/x\n0::/tether.sessions/abc\n"));
        assert!(asks(1000, none, "0::/../tether.sessions/abc/run\n"));
    }

    #[test]
    fn a_human_is_a_human_without_proc_too() {
        assert!(!asks(1000, "1000", "0::/user.slice\n"));
        assert!(!asks(0, "4294967295", "0::/tether.sessions.not/x\n1:a:/tether.sessions\n"));
        assert!(!asks(100_000, "65535", "0::/\n"));
        assert!(!is_agents(1000, || None, || None));
        assert!(is_agents(65536, || None, || None));
    }
}
