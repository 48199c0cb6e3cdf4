//! A whole host as text, so that before and after can be compared.

use anyhow::{Result, ensure};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tether_testhost::Host;

/// What may differ after a session, each an exact path with its reason.
const ALLOWED: &str = include_str!("../leftovers.txt");

/// What there is on a host: files, processes, mounts, IPC, cgroups, accounts.
const LOOK: &str = r#"
find / /run /tmp /dev -xdev \( -path /proc -o -path /sys \) -prune -o -type d -printf 'file %p %y %U %G %m\n' -o -printf 'file %p %y %U %G %m %s\n' | sort -u
ps -eo sid,user:40,args --no-headers | awk -v own=$(ps -o sid= $$) '$1 != own && $3 !~ /^\[/ { $1 = "process"; print }' | sort
awk '{ print "mount", $5, $9 }' /proc/self/mountinfo | sort
awk 'NR > 1 { print "shm", $1 }' /proc/sysvipc/shm; awk 'NR > 1 { print "msg", $1 }' /proc/sysvipc/msg; awk 'NR > 1 { print "sem", $1 }' /proc/sysvipc/sem
ls /dev/mqueue | sed 's/^/mqueue /'
find /sys/fs/cgroup -type d -path '*tether.sessions*' | sed 's/^/cgroup /' | sort
getent passwd | sed 's/^/account /'; getent group | sed 's/^/group /'
ls /var/spool/cron/crontabs /var/spool/cron/atjobs /var/lib/systemd/linger /run/user 2>/dev/null | sed 's/^/spool /'
"#;

/// A host at one moment.
pub struct Snapshot(BTreeSet<String>);

impl Snapshot {
    /// Looks at everything.
    pub fn take(host: &Host) -> Result<Self> {
        Ok(Self(host.sh(LOOK)?.lines().map(str::to_owned).collect()))
    }

    /// sshd's own processes may take a moment to leave; what is still there after a second is left.
    pub fn looks_the_same(&self, host: &Host) -> Result<()> {
        let start = Instant::now();
        loop {
            let differences = self.differences(&Self::take(host)?);
            if differences.is_empty() {
                return Ok(());
            }
            ensure!(start.elapsed() < Duration::from_secs(1), "this is left: {differences:#?}");
        }
    }

    /// What is in one and not in the other, less what is allowed to differ.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        self.differences_but(after, ALLOWED)
    }

    /// The same with a list of the caller's: an exact path and a reason a line.
    pub fn differences_but(&self, after: &Self, allowed: &str) -> Vec<String> {
        let new = after.0.difference(&self.0).map(|line| format!("+ {line}"));
        let gone = self.0.difference(&after.0).map(|line| format!("- {line}"));
        new.chain(gone).filter(|line| !is_allowed(line, allowed)).collect()
    }
}

/// The journal names a folder after the machine, and a file after the stream of each service's output; recordings are
/// named after their session: the only parts of a path that the list does not write out.
fn without_numbers(path: &str) -> String {
    if let Some((_, file)) = path.strip_prefix("/var/log/journal/").and_then(|rest| rest.split_once('/')) {
        return format!("/var/log/journal/MACHINE/{file}");
    }
    if path.starts_with("/var/lib/tether/audit/0") {
        return "/var/lib/tether/audit/SEGMENT.jsonl".to_owned();
    }
    if path.starts_with("/run/systemd/journal/streams/9:") {
        return "/run/systemd/journal/streams/NUMBER".to_owned();
    }
    // A session's own name, and its recordings' numbers, each with the note of its end. `NAME.open` is not among them: what
    // is over is closed.
    if let Some(rest) = path.strip_prefix("/var/lib/tether/recordings/") {
        let is_folder = !rest.contains('/');
        return match rest.ends_with(".rec") || rest.ends_with(".ended") || is_folder {
            true => "/var/lib/tether/recordings/SESSION".to_owned(),
            false => path.to_owned(),
        };
    }
    path.to_owned()
}

fn is_allowed(difference: &str, allowed: &str) -> bool {
    let Some(path) = difference.get(2..).and_then(|line| line.strip_prefix("file ")) else { return false };
    let path = path.split(' ').next().unwrap_or_default();
    let path = without_numbers(path);
    let allowed = allowed.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    allowed.filter_map(|line| line.split_whitespace().next()).any(|allowed| allowed == path)
}
