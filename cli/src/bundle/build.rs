//! `check` and `build`.

use super::input::{Outcome, load, read, write};
use crate::Found;
use anyhow::Result;
use serde_json::json;
use std::path::Path;
use tether_bundle::source::Problem;

/// Prints what a bundle allows, or all that is wrong with it.
pub fn check(file: &Path, json: bool) -> Result<Found> {
    let loaded = match read(file)? {
        Outcome::Bundle(loaded) => loaded,
        Outcome::Problems(problems) => {
            print_problems(file, &problems, json)?;
            return Ok(Found::Something);
        }
    };
    let bundle = &loaded.bundle;
    if json {
        println!("{}", serde_json::to_string(&loaded.policy()?.commands_json())?);
    } else {
        println!("{} version {}: {}", bundle.name, bundle.version, bundle.about);
        for line in bundle.commands() {
            println!("  {line}");
        }
    }
    Ok(Found::Fine)
}

/// Problems are what a check found: data, so on stdout.
pub fn print_problems(file: &Path, problems: &[Problem], json: bool) -> Result<()> {
    let file = file.display().to_string();
    if json {
        let all: Vec<_> = problems
            .iter()
            .map(|one| {
                json!({"file": file, "line": one.line, "column": one.column, "rule": one.rule, "code": one.code,
                       "text": one.text})
            })
            .collect();
        println!("{}", serde_json::to_string(&json!({"problems": all}))?);
    } else {
        for problem in problems {
            println!("{file}:{problem}");
        }
        eprintln!("tether: {} problems; nothing was compiled", problems.len());
    }
    Ok(())
}

/// The compiled form.
pub fn build(file: &Path, output: Option<&Path>) -> Result<Found> {
    let loaded = load(file)?;
    let text = serde_json::to_string(&loaded.bundle)? + "\n";
    write(output, &text)?;
    let bundle = &loaded.bundle;
    eprintln!("tether: {} version {}, {} rules, {} bytes", bundle.name, bundle.version, bundle.rules.len(), text.len());
    Ok(Found::Fine)
}
