//! Rules that the compiler does not know.

mod binaries;
mod crates_policy;
mod tiers;
mod unsafe_code;

use std::process::ExitCode;

use anyhow::Result;

use crate::run::{cargo, run, say};
use crate::setup;

/// What a check found: nothing, or what is wrong, a line each.
type Findings = Result<Vec<String>>;

/// A check and what it is called.
type Check = (&'static str, fn() -> Findings);

const CHECKS: [Check; 7] = [
    ("format", || command(&["fmt", "--all", "--check"])),
    ("lints", || {
        command(&["clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"])
    }),
    ("tiers: who may depend on whom", tiers::edges),
    ("budgets: packages in processes of others", tiers::budgets),
    ("unsafe code: only in the listed files", unsafe_code::check),
    ("modules: exported symbols and the glibc they need", binaries::check),
    ("crates: licences, bans, sources, advisories", crates_policy::check),
];

/// Runs all checks, whatever the earlier ones found.
pub(crate) fn run_all() -> Result<ExitCode> {
    setup::ensure()?;
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        say(name);
        let findings = check().unwrap_or_else(|error| vec![format!("{error:#}")]);
        for finding in &findings {
            println!("{name}: {finding}");
        }
        if !findings.is_empty() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("ok: {} checks", CHECKS.len());
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED: {} of {} checks", failed.len(), CHECKS.len());
    Ok(ExitCode::FAILURE)
}

fn command(args: &[&str]) -> Findings {
    Ok(run(&mut cargo(args)).err().map(|error| error.to_string()).into_iter().collect())
}
