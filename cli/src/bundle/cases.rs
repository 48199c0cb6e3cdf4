//! `test`: the cases that a source brings along.

use super::build::print_problems;
use super::input::{Loaded, Outcome, read};
use crate::Found;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use tether_bundle::source::Case;
use tether_bundle::{Command, Decision, Policy};

/// Runs them all; tells those that came out otherwise.
pub fn run(file: &Path, json: bool) -> Result<Found> {
    let loaded = match read(file)? {
        Outcome::Bundle(loaded) => loaded,
        Outcome::Problems(problems) => {
            print_problems(file, &problems, json)?;
            return Ok(Found::Something);
        }
    };
    let source = loaded.source.as_ref().context("only a source has tests; this bundle is compiled")?;
    if source.cases.is_empty() {
        bail!("{} has no [[test]]: write what must be allowed and what must be denied", loaded.file);
    }
    let policy = loaded.policy()?;
    let failed: Vec<Value> = source.cases.iter().filter_map(|case| one(&loaded, &policy, case)).collect();
    if json {
        println!("{}", json!({"cases": source.cases.len(), "failed": failed}));
    } else {
        for case in &failed {
            let text = |key: &str| case.get(key).and_then(Value::as_str).unwrap_or_default();
            println!("{}: {}: {}", text("place"), text("command"), text("text"));
        }
        eprintln!("tether: {} cases, {} failed", source.cases.len(), failed.len());
    }
    Ok(if failed.is_empty() { Found::Fine } else { Found::Something })
}

/// What is wrong with a case, if it came out otherwise.
fn one(loaded: &Loaded, policy: &Policy, case: &Case) -> Option<Value> {
    let (program, argv) = case.words.split_first()?;
    let command = Command { program, sha256: case.sha256.as_deref(), argv, cwd: &case.cwd };
    let (allowed, rule, code) = match policy.decide(&command) {
        Decision::Allowed { rule, .. } => (true, Some(rule.id.clone()), None),
        Decision::Denied(denied) => (false, denied.rule.map(str::to_owned), Some(denied.code)),
    };
    let by = rule.as_ref().map_or(String::new(), |rule| format!(" by {rule:?}"));
    let code_text = code.map_or(String::new(), |code| format!(" [{code}]"));
    let found = format!("{}{by}{code_text}", if allowed { "allowed" } else { "denied" });
    let text = if allowed != case.allow {
        format!("must be {}, is {found}", if case.allow { "allowed" } else { "denied" })
    } else if case.rule.is_some() && case.rule != rule {
        format!("must be decided by {:?}, is {found}", case.rule.as_deref().unwrap_or_default())
    } else if case.code.is_some() && case.code.as_deref() != code {
        format!("must be refused with {}, is {found}", case.code.as_deref().unwrap_or_default())
    } else {
        return None;
    };
    let place = format!("{}:{}", loaded.file, case.place);
    Some(json!({"place": place, "command": case.line, "text": text, "allowed": allowed, "rule": rule, "code": code}))
}
