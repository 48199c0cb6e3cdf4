//! What the holders of the offline keys do, on a machine of theirs: sign key sets, sign and confirm bundles.

use crate::clock;
use crate::keys;
use anyhow::{Context, Result, anyhow};
use clap::Subcommand;
use std::path::{Path, PathBuf};
use tether_statement::{BundleConfirmation, KeySet, Typ, digest};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Sign a key set with the root's key; prints the signed text
    Keys {
        /// The folder that init made
        offline: PathBuf,
        /// The key set, in JSON
        set: PathBuf,
    },
    /// Compile and sign a bundle with the security team's key; prints the signed text
    Bundle {
        /// The folder that init made
        offline: PathBuf,
        /// The bundle's source
        source: PathBuf,
    },
    /// Say that a signed bundle holds now; prints the signed text
    Confirm {
        /// The folder that init made
        offline: PathBuf,
        /// The signed bundle
        signed: PathBuf,
    },
}

pub(super) fn run(command: &Command) -> Result<()> {
    let text = match command {
        Command::Keys { offline, set } => {
            let set: KeySet = serde_json::from_str(&read(set)?).with_context(|| format!("{}", set.display()))?;
            keys::load(offline, "root")?.sign(Typ::Keys, &set)?
        }
        Command::Bundle { offline, source } => {
            let bundle = tether_bundle::source::compile(&read(source)?).map_err(|problems| {
                let lines: Vec<String> = problems.iter().map(|one| format!("{}:{one}", source.display())).collect();
                anyhow!(lines.join("\n"))
            })?;
            keys::load(offline, "bundle")?.sign(Typ::Bundle, &bundle)?
        }
        Command::Confirm { offline, signed } => {
            let text = read(signed)?;
            let text = text.trim();
            let key = keys::load(offline, "bundle")?;
            let own = key.public();
            let bundle: tether_bundle::Bundle =
                tether_statement::jws::verify(text, Typ::Bundle, |kid| (kid == key.kid).then_some(&own))
                    .with_context(|| format!("{} is not signed with this key", signed.display()))?;
            let word = BundleConfirmation {
                name: bundle.name,
                version: bundle.version,
                sha256: digest(text),
                time: clock::now(),
            };
            key.sign(Typ::Confirmation, &word)?
        }
    };
    println!("{text}");
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
