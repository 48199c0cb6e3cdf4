//! `lint`: what a bundle allows and should perhaps not, and what of it cannot work.
//!
//! A warning is worth a change; a note is worth knowing. Only warnings are findings for the exit code.

mod host;
mod patterns;
mod programs;
mod reads;
mod shadow;
mod writes;

use super::build::print_problems;
use super::input::{Loaded, Outcome, read};
use crate::Found;
use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use tether_bundle::Policy;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Warning,
    Note,
}

/// Something that was found.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// `file:line:column`.
    place: String,
    severity: Severity,
    code: &'static str,
    rule: Option<String>,
    text: String,
    #[serde(skip)]
    order: Option<usize>,
}

/// What the lints look at, and where they write down what they find.
pub struct Lint<'l> {
    loaded: &'l Loaded,
    policy: Policy,
    findings: Vec<Finding>,
}

impl Lint<'_> {
    /// About a rule, by its place.
    fn rule(&mut self, at: usize, severity: Severity, code: &'static str, text: impl Into<String>) {
        let rule = self.loaded.bundle.rules.get(at).map(|rule| rule.id.clone());
        let place = self.loaded.place(at);
        self.findings.push(Finding { place, severity, code, rule, text: text.into(), order: Some(at) });
    }

    /// About the whole.
    fn whole(&mut self, severity: Severity, code: &'static str, text: impl Into<String>) {
        let place = self.loaded.file.clone();
        self.findings.push(Finding { place, severity, code, rule: None, text: text.into(), order: None });
    }
}

/// Prints what is found.
pub fn run(file: &Path, host: bool, json: bool) -> Result<Found> {
    let loaded = match read(file)? {
        Outcome::Bundle(loaded) => loaded,
        Outcome::Problems(problems) => {
            print_problems(file, &problems, json)?;
            return Ok(Found::Something);
        }
    };
    let mut lint = Lint { policy: loaded.policy()?, loaded: &loaded, findings: Vec::new() };
    reads::look(&mut lint);
    for (at, rule) in loaded.bundle.rules.iter().enumerate() {
        patterns::look(&mut lint, at, rule);
        writes::look(&mut lint, at, rule);
        if host {
            host::look(&mut lint, at, rule);
        }
    }
    shadow::look(&mut lint);
    if loaded.source.as_ref().is_some_and(|source| source.cases.is_empty()) {
        lint.whole(Severity::Note, "lint.no_tests", "it has no [[test]] cases: write what must be allowed and denied");
    }
    let mut findings = lint.findings;
    findings.sort_by_key(|finding| (finding.order, finding.severity));
    print(&findings, json)?;
    let any = findings.iter().any(|finding| finding.severity == Severity::Warning);
    Ok(if any { Found::Something } else { Found::Fine })
}

fn print(findings: &[Finding], json: bool) -> Result<()> {
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    if json {
        println!("{}", serde_json::to_string(&serde_json::json!({"warnings": warnings, "findings": findings}))?);
        return Ok(());
    }
    for Finding { place, severity, code, rule, text, .. } in findings {
        let word = if *severity == Severity::Warning { "warning" } else { "note" };
        let rule = rule.as_ref().map_or(String::new(), |rule| format!("rule {rule:?}: "));
        println!("{place}: {word}: {rule}{text} [{code}]");
    }
    eprintln!("tether: {warnings} warnings, {} notes", findings.len() - warnings);
    Ok(())
}
