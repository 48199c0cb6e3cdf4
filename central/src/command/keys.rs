//! `tether-central keys`: central's own keys in use, those to come, and the sets that the root is to sign for them.

use super::{STORE, give};
use crate::app::META_KEYS;
use crate::clock;
use crate::config::Settings;
use crate::keys::{FOLDER, NAMES};
use crate::rotation;
use crate::store::{self, Sqlite, StoreError};
use anyhow::{Context, Result};
use clap::Subcommand;
use std::path::Path;
use tether_statement::{KeySet, TrustedKeys};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print the key set in force
    Show,
    /// Make new keys beside those in use; prints the key set, with both, for the root to sign
    Next {
        /// Which: feed, grant, revocation, token, audit, ca; once for each
        #[arg(long = "role", value_name = "ROLE", required = true)]
        roles: Vec<String>,
    },
    /// Use the new keys from the next start on; the old private keys are removed
    Rotate,
    /// Print the key set without the old keys, for the root to sign
    Retire,
    /// Print the key set in force with another end, for the root to sign
    Renew,
}

pub(super) fn run(folder: &Path, command: &Command) -> Result<()> {
    let settings = Settings::load(folder)?;
    let (url, own, now) = (settings.url.as_str(), folder.join(FOLDER), clock::now());
    let trusted = in_force(folder, &settings)?;
    match command {
        Command::Show => print(trusted.set()),
        Command::Next { roles } => {
            let roles: Vec<&str> = roles.iter().map(String::as_str).collect();
            let set = rotation::next(&own, &roles, &trusted, url, now)?;
            let waiting = own.join("next");
            give(folder, &waiting)?;
            for name in NAMES.iter().map(|name| waiting.join(format!("{name}.json"))).filter(|path| path.exists()) {
                give(folder, &name)?;
            }
            print(&set)
        }
        Command::Rotate => {
            let names = rotation::rotate(&own, &trusted, url)?;
            println!("in their place: {}", names.join(", "));
            println!("next: systemctl restart tether-central, then `tether-central keys retire`");
            Ok(())
        }
        Command::Retire => print(&rotation::without_old(&own, &trusted, url, now)?),
        Command::Renew => print(&rotation::renewed(&trusted, now)?),
    }
}

fn print(set: &KeySet) -> Result<()> {
    println!("{}", serde_json::to_string_pretty(set)?);
    Ok(())
}

/// What the store holds: what hosts were told last.
fn in_force(folder: &Path, settings: &Settings) -> Result<TrustedKeys> {
    let store = Sqlite::open_to_read(&folder.join(STORE))?;
    let kept: Result<Option<String>, StoreError> = store::look(&store, |act| act.meta(META_KEYS));
    let kept = kept?.context("the store holds no key set; `tether-central init` makes one")?;
    TrustedKeys::verify(&kept, &settings.roots).context("the stored key set")
}
