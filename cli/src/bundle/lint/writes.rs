//! Write rules: what they name is what an agent may change.

use super::programs::{Power, power};
use super::{Lint, Severity};
use std::path::Path;
use tether_bundle::{Grant, Mode, Rule, Target};

/// Whoever writes there can become root: loaders, units, accounts, schedules, boot.
const ROOTS: [&str; 26] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d",
    "/etc/pam.d",
    "/etc/ssh",
    "/etc/systemd",
    "/etc/cron.d",
    "/etc/cron.daily",
    "/etc/cron.hourly",
    "/etc/crontab",
    "/etc/ld.so.preload",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/init.d",
    "/etc/udev",
    "/etc/polkit-1",
    "/root",
    "/boot",
    "/usr",
    "/var/spool/cron",
    "/etc/tether",
];

pub fn look(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    if rule.run.grants.contains(&Grant::Dbus) {
        let text = "dbus: what changes nothing there is decided by the services that are asked, not by the kernel";
        lint.rule(at, Severity::Note, "lint.dbus", text);
    }
    let Mode::Write { run_as, paths, stdin } = &rule.run.mode else { return };
    if let Target::Program { path, .. } = &rule.target {
        program(lint, at, path);
    }
    for path in paths {
        let inside = |root: &&str| Path::new(path).starts_with(root) || Path::new(root).starts_with(path);
        if let Some(root) = ROOTS.iter().find(|root| inside(root)) {
            let text = format!("it may write {path}: who writes {root} can become root");
            lint.rule(at, Severity::Warning, "lint.write_root", text);
        }
        if tether_never::is_never(Path::new(path)).is_some() {
            let text = format!("it may write {path}, which no command may read");
            lint.rule(at, Severity::Warning, "lint.write_never", text);
        }
    }
    if *stdin {
        let text = format!(
            "what it writes is what the agent pipes in, as {run_as}: read every program that reads {}",
            paths.join(", ")
        );
        lint.rule(at, Severity::Note, "lint.write_stdin", text);
    }
}

fn program(lint: &mut Lint<'_>, at: usize, path: &str) {
    let what = match power(path) {
        Some(Power::Interprets) => "runs code: what a script or standard input says is done with the rule's rights",
        Some(Power::Starts) => "can give a shell or start another program with the rule's rights",
        Some(Power::Writes) | None => return,
    };
    lint.rule(at, Severity::Warning, "lint.write_shell", format!("a write rule for {path}, which {what}"));
}
