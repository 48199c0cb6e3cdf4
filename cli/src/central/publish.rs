//! `tether publish`: bundles and key sets that others have signed.

use super::{Link, show};
use crate::Found;
use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::Value;
use std::path::{Path, PathBuf};
use tether_centrallink::wire::SignedText;

#[derive(Subcommand)]
pub enum Command {
    /// A bundle, signed by the security team: from now on its name means it on every host
    Bundle { file: PathBuf },
    /// The security team's word that a bundle still holds
    Confirmation { file: PathBuf },
    /// A key set, signed by the root
    Keys { file: PathBuf },
}

pub fn run(link: &Link, command: &Command, json: bool) -> Result<Found> {
    let (path, file) = match command {
        Command::Bundle { file } => ("/v1/admin/bundles", file),
        Command::Confirmation { file } => ("/v1/admin/confirmations", file),
        Command::Keys { file } => ("/v1/admin/keys", file),
    };
    let done: Value = link.post(path, &SignedText { text: read(file)? })?;
    Ok(show(json, &done, || vec!["central has taken it; hosts are told".to_owned()]))
}

fn read(file: &Path) -> Result<String> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text.trim().to_owned())
}
