//! cargo-deny over every crate: licences, bans and sources always, advisories where the database can be reached.

use super::Findings;
use crate::run::{cargo_tool, program, run, say};

const CARGO_DENY: &str = "0.20.2";

pub(super) fn check() -> Findings {
    let deny = cargo_tool("cargo-deny", CARGO_DENY)?;
    let mut findings = Vec::new();
    if let Err(error) = run(&mut program(&deny, &["--log-level=error", "check", "bans", "licenses", "sources"])) {
        findings.push(error.to_string());
    }
    if run(program(&deny, &["fetch", "db"]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()))
        .is_err()
    {
        say("the advisory database cannot be reached: advisories are NOT checked");
    } else if let Err(error) = run(&mut program(&deny, &["--log-level=error", "check", "advisories"])) {
        findings.push(error.to_string());
    }
    Ok(findings)
}
