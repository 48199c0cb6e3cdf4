//! What this host says: programs that are not there, not where they seem, or not root's alone.

use super::{Lint, Severity};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tether_bundle::{Effect, Rule, Target};

/// Folders that are written by others everywhere.
const WRITABLE: [&str; 6] = ["/tmp", "/var/tmp", "/dev/shm", "/home", "/run/user", "/mnt"];

pub fn look(lint: &mut Lint<'_>, at: usize, rule: &Rule) {
    if rule.effect == Effect::Deny {
        return;
    }
    match &rule.target {
        Target::Program { path, .. } => program(lint, at, path),
        Target::Directory(path) => folder(lint, at, path),
        Target::Every => {}
    }
}

fn program(lint: &mut Lint<'_>, at: usize, path: &str) {
    match Path::new(path).canonicalize() {
        Err(_) => {
            let text = format!("{path} is not on this host (--no-host does not look)");
            lint.rule(at, Severity::Note, "lint.no_program", text);
        }
        Ok(real) if real.as_path() != Path::new(path) => {
            let text =
                format!("{path} is a link: rules name resolved paths, and this never fits; write {}", real.display());
            lint.rule(at, Severity::Warning, "lint.link", text);
        }
        Ok(real) => trusted(lint, at, &real),
    }
}

fn folder(lint: &mut Lint<'_>, at: usize, path: &str) {
    let known = WRITABLE.iter().any(|folder| Path::new(path).starts_with(folder));
    if known {
        let text = format!("others write below {path}: a rule for a folder is a rule for whatever they put there");
        lint.rule(at, Severity::Warning, "lint.folder_writable", text);
        return;
    }
    match Path::new(path).canonicalize() {
        Err(_) => lint.rule(at, Severity::Note, "lint.no_program", format!("{path} is not on this host")),
        Ok(real) if real.as_path() != Path::new(path) => {
            let text =
                format!("{path} is a link: rules name resolved paths, and this never fits; write {}", real.display());
            lint.rule(at, Severity::Warning, "lint.link", text);
        }
        Ok(real) => trusted(lint, at, &real),
    }
}

/// The host runs only what is root's on every component.
fn trusted(lint: &mut Lint<'_>, at: usize, path: &Path) {
    let others_write = |about: &Metadata| about.uid() != 0 || about.mode() & 0o022 != 0;
    let weak = path.ancestors().find(|part| std::fs::metadata(part).is_ok_and(|about| others_write(&about)));
    if let Some(weak) = weak {
        let text = format!("{} is not root's alone: a host refuses what others can exchange", weak.display());
        lint.rule(at, Severity::Warning, "lint.untrusted", text);
    }
}
