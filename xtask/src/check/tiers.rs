//! Arrows only downwards: which member may depend on which, and how many packages come into processes of others.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Findings;
use crate::run::{capture, cargo};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Tier {
    /// No I/O, no clock.
    Pure,
    /// The local protocol; and what only test builds have.
    Link,
    /// Central's protocol over TLS: never in a process of others.
    Wire,
    /// Loaded into sshd, sudo and every process that looks up a name; and the launcher of confined commands.
    InHost,
    Daemon,
    Command,
    /// Never shipped.
    Tool,
}

const MEMBERS: [(&str, Tier); 28] = [
    ("tether-identity", Tier::Pure),
    ("tether-accountfile", Tier::Pure),
    ("tether-statement", Tier::Pure),
    ("tether-sshcert", Tier::Pure),
    ("tether-never", Tier::Pure),
    ("tether-filter", Tier::Pure),
    ("tether-bundle", Tier::Pure),
    ("tether-audit", Tier::Pure),
    ("tether-oauth", Tier::Pure),
    ("tether-scim", Tier::Pure),
    ("tether-recording", Tier::Pure),
    ("tether-outward", Tier::Pure),
    ("tether-hostlink", Tier::Link),
    ("tether-centrallink", Tier::Wire),
    ("tether-faults", Tier::Link),
    ("pam_tether", Tier::InHost),
    ("nss_tether", Tier::InHost),
    ("sudo_tether", Tier::InHost),
    ("tether-confine", Tier::InHost),
    ("tether-agentd", Tier::Daemon),
    ("tether-central", Tier::Daemon),
    ("tether-courier", Tier::Daemon),
    ("tether-agent", Tier::Command),
    ("tether", Tier::Command),
    ("tether-forgetful", Tier::Tool),
    ("tether-testhost", Tier::Tool),
    ("tether-tests", Tier::Tool),
    ("xtask", Tier::Tool),
];

/// A tier, and those it may depend on. Tests of a member may also use the tools that are libraries.
const ALLOWED: [(Tier, &[Tier]); 7] = [
    (Tier::Pure, &[Tier::Pure]),
    (Tier::Link, &[Tier::Pure]),
    (Tier::Wire, &[Tier::Pure]),
    (Tier::InHost, &[Tier::Pure, Tier::Link]),
    (Tier::Daemon, &[Tier::Pure, Tier::Link, Tier::Wire]),
    (Tier::Command, &[Tier::Pure, Tier::Link, Tier::Wire]),
    (Tier::Tool, &[Tier::Pure, Tier::Link, Tier::Wire, Tier::InHost, Tier::Daemon, Tier::Command, Tier::Tool]),
];

/// The most third-party packages each may bring, counted as `cargo tree -e normal` does.
const BUDGETS: [(&str, usize); 4] =
    [("nss_tether", 15), ("pam_tether", 40), ("sudo_tether", 40), ("tether-confine", 30)];

pub(super) fn edges() -> Findings {
    let text = capture(&mut cargo(&["metadata", "--format-version=1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&text).context("cannot read cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo's metadata has no packages")?;
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(from) = tier(name) else {
            findings.push(format!("{name} has no tier: give it one in xtask/src/check/tiers.rs"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten().filter(|one| one["path"].is_string())
        {
            let other = dependency["name"].as_str().unwrap_or_default();
            let in_tests = dependency["kind"] == "dev";
            let Some(to) = tier(other) else { continue };
            if !(allowed(from, to) || in_tests && (other == "tether-testhost" || allowed(Tier::InHost, to))) {
                findings.push(format!("{name} ({from:?}) may not depend on {other} ({to:?})"));
            }
        }
    }
    Ok(findings)
}

pub(super) fn budgets() -> Findings {
    let mut findings = Vec::new();
    for (name, most) in BUDGETS {
        let count = third_party(name)?;
        eprintln!("    {name}: {count} of {most}");
        if count > most {
            findings
                .push(format!("{name} brings {count} packages, the budget is {most}: cargo tree -e normal -p {name}"));
        }
    }
    Ok(findings)
}

fn third_party(name: &str) -> Result<usize> {
    let tree = capture(&mut cargo(&["tree", "--locked", "-e", "normal", "--prefix=none", "--format={p}", "-p", name]))?;
    // Members are shown with their path, in brackets; a package shown again has a mark.
    let packages: BTreeSet<&str> =
        tree.lines().filter(|line| !line.contains(" (/")).map(|line| line.trim_end_matches(" (*)")).collect();
    Ok(packages.len())
}

fn tier(name: &str) -> Option<Tier> {
    MEMBERS.iter().find(|(member, _)| *member == name).map(|(_, tier)| *tier)
}

fn allowed(from: Tier, to: Tier) -> bool {
    ALLOWED.iter().any(|(tier, others)| *tier == from && others.contains(&to))
}
