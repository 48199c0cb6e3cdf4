//! `import`: a source out of what a team has already, and a report of what could not be carried over.
//!
//! What is carried over is read-only: such lists say nothing of what a command writes.

mod draft;
mod structured;
mod sudoers;

use super::input::{text, write};
use crate::Found;
use anyhow::{Result, bail};
use clap::ValueEnum;
use serde_json::json;
use std::path::PathBuf;
use tether_bundle::source::print;

#[derive(clap::Args)]
pub struct Arguments {
    /// What to import: a command bundle in JSON or TOML, or a sudoers file; `-` is stdin
    file: PathBuf,
    /// Its form; found out from the text if left out
    #[arg(long, value_enum)]
    from: Option<From>,
    /// The new bundle's name; the old one's, or `imported`, if left out
    #[arg(long)]
    name: Option<String>,
    /// Sudoers: only what this user, or this %group, may run
    #[arg(long)]
    user: Option<String>,
    /// Where the source goes, instead of stdout
    #[arg(short, long)]
    output: Option<PathBuf>,
}

/// What is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// A structured command bundle: raw, directory and executable commands
    Structured,
    /// A list of sudoers(5)
    Sudoers,
}

pub fn run(arguments: &Arguments, json: bool) -> Result<Found> {
    let text = text(&arguments.file)?;
    let from = arguments.from.unwrap_or_else(|| guess(&text));
    let mut draft = match from {
        From::Structured => structured::read(&text)?,
        From::Sudoers => sudoers::read(&text, arguments.user.as_deref()),
    };
    if let Some(name) = &arguments.name {
        draft.name.clone_from(name);
    }
    let left = draft.left.clone();
    let notes = draft.notes.clone();
    if draft.rules.is_empty() && left.is_empty() {
        bail!("{} has no commands that could be imported", arguments.file.display());
    }
    let bundle = draft.bundle()?;
    let source =
        format!("# Imported: read the report, then write [[test]] cases and say what may be read.\n{}", print(&bundle));
    let file = arguments.file.display();
    if json {
        let report = |list: &[draft::Remark]| -> Vec<_> {
            list.iter()
                .map(|one| json!({"line": one.line, "column": one.column, "what": one.what, "why": one.why}))
                .collect()
        };
        if let Some(path) = &arguments.output {
            write(Some(path), &source)?;
        }
        println!(
            "{}",
            json!({"source": source, "rules": bundle.rules.len(), "not_carried_over": report(&left), "notes": report(&notes)})
        );
    } else {
        write(arguments.output.as_deref(), &source)?;
        for one in &left {
            eprintln!("{file}:{}:{}: not carried over: {}: {}", one.line, one.column, one.what, one.why);
        }
        for one in &notes {
            eprintln!("{file}:{}:{}: note: {}: {}", one.line, one.column, one.what, one.why);
        }
        eprintln!("tether: {} rules, {} not carried over, {} notes", bundle.rules.len(), left.len(), notes.len());
    }
    Ok(if left.is_empty() { Found::Fine } else { Found::Something })
}

/// JSON and TOML have their signs; everything else is taken for sudoers.
fn guess(text: &str) -> From {
    let is_json = text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<serde_json::Value>(text).is_ok();
    if is_json || toml::from_str::<toml::Table>(text).is_ok_and(|table| !table.is_empty()) {
        From::Structured
    } else {
        From::Sudoers
    }
}
