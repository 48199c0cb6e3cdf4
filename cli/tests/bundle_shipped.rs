//! The bundles of the package: they compile, lint finds nothing, their cases hold, and they say what they are for.

mod common;

use common::{Desk, Ran};
use std::path::PathBuf;

fn shipped() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/bundles");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn run(words: &[&str], file: &std::path::Path) -> Ran {
    let mut all: Vec<&str> = words.to_vec();
    all.insert(1, file.to_str().unwrap());
    Desk::new().words(&all)
}

#[test]
fn every_shipped_bundle_is_there_and_in_the_package() {
    let names: Vec<String> =
        shipped().iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, ["forensics.toml", "minimal.toml", "triage.toml", "web-ops.toml"]);
    let package = include_str!("../../agentd/Cargo.toml");
    for name in names {
        assert!(package.contains(&format!("../packaging/bundles/{name}")), "{name} is not in the package");
    }
}

#[test]
fn lint_finds_nothing_in_them() {
    for file in shipped() {
        let found = run(&["lint", "--no-host"], &file);
        assert_eq!(found.code, 0, "{}: {}", file.display(), found.out);
    }
}

#[test]
fn their_cases_hold() {
    for file in shipped().iter().filter(|file| !file.ends_with("triage.toml")) {
        let found = run(&["test"], file);
        assert_eq!(found.code, 0, "{}: {}", file.display(), found.out);
        let cases = run(&["test", "--json"], file).json()["cases"].as_u64().unwrap();
        assert!(cases >= 7, "{}: {cases}", file.display());
    }
}

#[test]
fn they_are_named_as_their_files_and_none_writes() {
    for file in shipped() {
        let built = run(&["build"], &file).json();
        assert_eq!(built["name"].as_str(), file.file_stem().unwrap().to_str());
        let rules = built["rules"].as_array().unwrap();
        assert!(rules.iter().all(|rule| rule["run"]["mode"].get("write").is_none()), "{}", file.display());
    }
}

/// What GTFOBins and the like would use: refused by the forensics bundle's own words, before any layer.
#[test]
fn the_widest_of_them_starts_no_program() {
    let file = shipped().into_iter().find(|file| file.ends_with("forensics.toml")).unwrap();
    for line in [
        "/usr/bin/find . -exec /bin/sh \\;",
        "/usr/bin/find /etc -fls /tmp/x",
        "/usr/bin/find -files0-from /etc/shadow",
        "/usr/bin/journalctl --root=/tmp",
        "/usr/bin/journalctl --vacuum-size=1",
        "/usr/bin/tar -cf /dev/null /dev/null --checkpoint=1 --checkpoint-action=exec=sh",
        "/usr/bin/dpkg -l --pre-invoke=sh",
        "/usr/bin/ip -force -batch /etc/shadow",
        "/usr/bin/systemctl edit ssh.service",
        "/usr/bin/systemctl cat --root=/tmp x",
        "/usr/bin/top -b -n 1 -s",
        "/usr/bin/dmesg -H",
        "/usr/bin/mount /dev/sda1 /mnt",
        "/usr/sbin/sysctl -w kernel.core_pattern=|/tmp/x",
        "/usr/bin/mawk 1",
        "/usr/bin/less /etc/hosts",
    ] {
        let words: Vec<&str> = ["explain", file.to_str().unwrap(), "--no-host", "--cwd", "/var/log", "--"]
            .into_iter()
            .chain(line.split(' '))
            .collect();
        let found = Desk::new().words(&words);
        assert_eq!(found.code, 3, "{line}: {}", found.out);
    }
}
