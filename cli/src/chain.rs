//! The audit chain: reading and checking it.

use crate::Found;
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use tether_audit::{HeadKey, Line, Link, Reached, Verifier};

const FOLDER: &str = "/var/lib/tether/audit";

#[derive(Subcommand)]
pub enum Command {
    /// Check that no record was changed, removed or put in between
    Verify {
        /// Another chain than this host's: a file, or a folder of segments
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    let Command::Verify { file } = command;
    let path = file.clone().unwrap_or_else(|| FOLDER.into());
    match verified(&path, |_| {})? {
        Ok(Reached { number, hash, signed, .. }) => {
            if json {
                let found = serde_json::json!({"holds": true, "records": number, "head": hash, "signed": signed});
                println!("{found}");
            } else {
                println!("The chain holds: {number} records, of which signed heads cover {signed}; head {hash}");
            }
            Ok(Found::Fine)
        }
        Err(why) => {
            if json {
                println!("{}", serde_json::json!({"holds": false, "why": why}));
            } else {
                println!("The chain does NOT hold: {why}");
                eprintln!("hint: what comes after that line cannot be trusted; keep {} as evidence", path.display());
            }
            Ok(Found::Something)
        }
    }
}

/// This host's records, checked.
pub fn read() -> Result<Vec<Link>> {
    let mut links = Vec::new();
    let checked = verified(Path::new(FOLDER), |link| links.push(link))?;
    let hint = "the audit chain does not hold; `tether audit verify` says where";
    checked.map_err(anyhow::Error::msg).context(hint)?;
    Ok(links)
}

/// Where the chain ends; or which file and line is wrong, and why.
fn verified(path: &Path, mut each: impl FnMut(Link)) -> Result<Result<Reached, String>> {
    let unreadable = |path: &Path| format!("cannot read {}", path.display());
    let mut files = vec![path.to_owned()];
    let mut key = None;
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| unreadable(path))?;
        let paths = entries.collect::<Result<Vec<_>, _>>()?.into_iter().map(|entry| entry.path());
        files = paths.filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
        files.sort();
        key = committed(&path.join("start.json"));
    }
    let mut verifier = Verifier::from(Reached { key, ..Reached::default() });
    for file in files {
        let text = std::fs::read_to_string(&file).with_context(|| unreadable(&file))?;
        // What is being written may end within a line.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match verifier.take(line) {
                Ok(Line::Record { link, .. }) => each(*link),
                Ok(Line::Head(_) | Line::Countersigned(_)) => {}
                Err(error) => return Ok(Err(format!("{}: {error}", file.display()))),
            }
        }
    }
    Ok(Ok(verifier.reached().clone()))
}

/// The key that the chain begins with.
fn committed(start: &Path) -> Option<(u64, HeadKey)> {
    let start: serde_json::Value = serde_json::from_slice(&std::fs::read(start).ok()?).ok()?;
    Some((start["key"].as_u64()?, serde_json::from_value(start["public"].clone()).ok()?))
}
