//! Whether anything of a session is left on the host: what was looked at, what was found.

use crate::session::Session;
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Kept on purpose: records of what happened.
pub const KEPT: [&str; 4] = ["journal", "wtmp", "lastlog", "audit chain"];

/// What a look found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remains {
    checked: Vec<&'static str>,
    found: Vec<String>,
}

impl Remains {
    /// Looks for all that a session could leave.
    pub fn look(session: &Session) -> Self {
        let mut remains = Self::default();
        remains.processes(session);
        let names = [session.grant.account.to_string(), session.grant.account.read_only()];
        let uids = [session.uids.login, session.uids.read_only];
        for name in &names {
            remains.path("linger", format!("/var/lib/systemd/linger/{name}"));
            remains.path("crontab", format!("/var/spool/cron/crontabs/{name}"));
            remains.path("mail", format!("/var/mail/{name}"));
            remains.path("account file", format!("{}/name/{name}", tether_hostlink::paths::ACCOUNTS));
        }
        for uid in uids {
            remains.path("run-time folder", format!("/run/user/{uid}"));
            remains.path("account file", format!("{}/uid/{uid}", tether_hostlink::paths::ACCOUNTS));
        }
        remains.owned("at jobs", "/var/spool/cron/atjobs", uids);
        for folder in ["/tmp", "/var/tmp", "/dev/shm"] {
            remains.owned("temporary files", folder, uids);
        }
        remains
    }

    /// Whether the session's keyrings could be dropped.
    pub fn keyrings(&mut self, gone: bool) {
        self.checked.push("keyrings");
        if !gone {
            self.found.push("keyrings".to_owned());
        }
    }

    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.found.is_empty()
    }

    /// For the record.
    pub fn details(&self) -> Value {
        let checked: std::collections::BTreeSet<_> = self.checked.iter().collect();
        json!({"checked": checked, "found": self.found, "kept": KEPT})
    }

    fn processes(&mut self, session: &Session) {
        self.checked.push("processes");
        let Ok(entries) = fs::read_dir("/proc") else {
            return self.found.push("/proc cannot be read".to_owned());
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let is_process = name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit);
            let owner = entry.metadata().map(|about| about.uid()).ok().filter(|_| is_process);
            let of_it = owner.is_some_and(|uid| uid == session.uids.login || uid == session.uids.read_only);
            if of_it && !is_dead(&entry.path()) {
                self.found.push(format!("process {}", name.to_string_lossy()));
            }
        }
    }

    fn path(&mut self, what: &'static str, path: String) {
        self.checked.push(what);
        if Path::new(&path).symlink_metadata().is_ok() {
            self.found.push(path);
        }
    }

    /// Files directly in a folder that have one of the uids.
    fn owned(&mut self, what: &'static str, folder: &str, uids: [u32; 2]) {
        self.checked.push(what);
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if entry.metadata().is_ok_and(|about| uids.contains(&about.uid())) {
                self.found.push(entry.path().display().to_string());
            }
        }
    }
}

/// A process that was killed and that its parent has not reaped yet: it can do nothing any more.
fn is_dead(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, None | Some('Z' | 'X'))
}
