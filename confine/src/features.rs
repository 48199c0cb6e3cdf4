//! What this kernel gives, and what it would make the launcher refuse. Each feature is asked for by itself: kernels
//! have reported versions whose features they did not have.
#![forbid(unsafe_code)]

use crate::{landlock, sys};
use serde_json::{Value, json};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    landlock: Option<landlock::Features>,
    mount_setattr: bool,
    seccomp: bool,
    counts_filters: bool,
}

impl Features {
    /// Asks the kernel. Changes nothing.
    #[must_use]
    pub fn probe() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            landlock: landlock::Features::probe().ok(),
            mount_setattr: sys::knows_mount_setattr(),
            seccomp: sys::knows_seccomp(),
            counts_filters: status.contains("\nSeccomp_filters:"),
        }
    }

    /// For programs: what there is, what is refused and why, and what holds by less than it could.
    #[must_use]
    pub fn json(&self) -> Value {
        let landlock = self.landlock.map(|landlock| {
            json!({
                "files": landlock.names(),
                "tcp": landlock.keeps_tcp(),
                "signals": landlock.keeps_signals(),
                "abstract_sockets": landlock.keeps_abstract_sockets(),
                "path_sockets": landlock.keeps_path_sockets(),
            })
        });
        let pairs = |all: Vec<(&str, &str)>| -> Vec<Value> {
            all.into_iter().map(|(what, why)| json!({"what": what, "why": why})).collect()
        };
        json!({
            "landlock": landlock, "mount_setattr": self.mount_setattr, "seccomp": self.seccomp,
            "counts_filters": self.counts_filters, "refused": pairs(self.refused()), "weaker": pairs(self.weaker()),
        })
    }

    /// Without these nothing runs, or not with a grant.
    fn refused(&self) -> Vec<(&'static str, &'static str)> {
        let mut refused = Vec::new();
        if self.landlock.is_none() {
            refused.push(("every command", "no Landlock: Linux 5.13 or later, with `landlock` among the `lsm=`"));
        }
        if !self.mount_setattr {
            refused.push(("every command", "no mount_setattr: Linux 5.12 or later"));
        }
        if !self.seccomp || !self.counts_filters {
            refused
                .push(("every command", "no seccomp filters, or the kernel does not count them: Linux 5.9 or later"));
        }
        refused.push(("the grant net", "this version cannot hold a command to addresses"));
        refused
    }

    /// What another layer holds alone.
    fn weaker(&self) -> Vec<(&'static str, &'static str)> {
        let Some(landlock) = self.landlock else { return Vec::new() };
        let mut weaker = Vec::new();
        if !landlock.names().contains(&"truncate") {
            weaker.push(("cutting files", "held by read-only mounts, the uid and the filter of system calls only"));
        }
        if !landlock.names().contains(&"ioctl_dev") {
            weaker.push(("ioctl on devices", "held by a /dev of its own and the filter only"));
        }
        if !landlock.keeps_signals() {
            weaker.push(("signals", "commands of one session can signal each other; write rules send none"));
        }
        if !landlock.keeps_abstract_sockets() {
            weaker.push(("the grant dbus", "abstract sockets of the host are within reach of its commands"));
        }
        if !landlock.keeps_path_sockets() {
            weaker
                .push(("the grant dbus", "sockets outside /run that are everybody's are within reach of its commands"));
        }
        weaker
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(pairs: &[(&'static str, &'static str)]) -> Vec<&'static str> {
        pairs.iter().map(|(what, _)| *what).collect()
    }

    #[test]
    fn without_a_base_everything_is_refused() {
        let none = Features { landlock: None, mount_setattr: false, seccomp: false, counts_filters: false };
        assert_eq!(what(&none.refused()), ["every command", "every command", "every command", "the grant net"]);
        assert!(none.weaker().is_empty() && none.json()["landlock"].is_null());
    }

    #[test]
    fn debian_12_has_less_and_runs() {
        // Linux 6.1: rights of Landlock's second version.
        let landlock = landlock::Features { files: (1 << 14) - 1, tcp: 0, scopes: 0 };
        let found = Features { landlock: Some(landlock), mount_setattr: true, seccomp: true, counts_filters: true };
        assert_eq!(what(&found.refused()), ["the grant net"]);
        let weaker = ["cutting files", "ioctl on devices", "signals", "the grant dbus", "the grant dbus"];
        assert_eq!(what(&found.weaker()), weaker);
    }

    #[test]
    fn this_kernel_says_what_the_launcher_uses() {
        let found = Features::probe();
        if found.landlock.is_some() {
            assert!(found.mount_setattr && found.seccomp && found.counts_filters, "{found:?}");
        }
    }
}
