//! The audit chain: reading and checking it.

use crate::Found;
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::PathBuf;
use tether_audit::{Link, Verified};

const CHAIN: &str = "/var/lib/tether/audit/chain.jsonl";

#[derive(Subcommand)]
pub enum Command {
    /// Check that no record was changed, removed or put in between
    Verify {
        /// Another chain than this host's
        #[arg(long)]
        file: Option<PathBuf>,
    },
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    let Command::Verify { file } = command;
    let path = file.clone().unwrap_or_else(|| CHAIN.into());
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    match tether_audit::verify(text.lines(), |_| {}) {
        Ok(Verified { records, head }) => {
            if json {
                println!("{}", serde_json::json!({"holds": true, "records": records, "head": head}));
            } else {
                println!("The chain holds: {records} records, head {head}");
            }
            Ok(Found::Fine)
        }
        Err(error) => {
            if json {
                println!("{}", serde_json::json!({"holds": false, "why": error.to_string()}));
            } else {
                println!("The chain does NOT hold: {error}");
                eprintln!("hint: what comes after that line cannot be trusted; keep {} as evidence", path.display());
            }
            Ok(Found::Something)
        }
    }
}

/// This host's records, checked.
pub fn read() -> Result<Vec<Link>> {
    let text = std::fs::read_to_string(CHAIN).with_context(|| format!("cannot read {CHAIN}"))?;
    let mut links = Vec::new();
    tether_audit::verify(text.lines(), |link| links.push(link.clone()))
        .context("the audit chain does not hold; `tether audit verify` says where")?;
    Ok(links)
}
