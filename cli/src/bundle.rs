//! Bundles: checking a source before it is signed.

use crate::Found;
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand)]
pub enum Command {
    /// Check a bundle's source and print what it allows
    Check {
        /// The TOML file
        file: PathBuf,
    },
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    let Command::Check { file } = command;
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bundle = tether_bundle::source::compile(&text).map_err(|problems| {
        let lines = problems.iter().map(|problem| format!("{}:{problem}", file.display()));
        anyhow::anyhow!(lines.collect::<Vec<_>>().join("\n"))
    })?;
    if json {
        println!("{}", serde_json::to_string(&bundle)?);
    } else {
        println!("{} version {}: {}", bundle.name, bundle.version, bundle.about);
        for line in bundle.commands() {
            println!("  {line}");
        }
    }
    Ok(Found::Fine)
}
