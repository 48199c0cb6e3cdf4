//! Directories' tokens. On central's machine only: who deprovisions is no matter for the network.

use crate::app::hash;
use crate::audit::{self, Record};
use crate::clock;
use crate::config::Settings;
use crate::store::{self, ScimToken, Sqlite, StoreError};
use anyhow::{Result, bail, ensure};
use clap::Subcommand;
use serde_json::json;
use std::path::Path;
use tether_audit::Ids;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a token for a directory and print it once
    Token {
        /// Its name, as records have it
        name: String,
        /// The provider whose humans it is about, as central.toml has it
        #[arg(long)]
        issuer: String,
        /// It is about agents, too: sees, registers, deactivates them, and reactivates those that no admin has deactivated
        #[arg(long)]
        agents: bool,
    },
    /// All tokens
    List,
    /// Revoke a token
    Revoke {
        /// Its name
        name: String,
    },
}

pub(super) fn run(folder: &Path, command: &Command) -> Result<()> {
    let store = Sqlite::open(&folder.join("central.db"))?;
    match command {
        Command::Token { name, issuer, agents } => {
            let settings = Settings::load(folder)?;
            let known = settings.providers.iter().any(|provider| provider.issuer == *issuer);
            ensure!(known, "--issuer: central.toml names no provider {issuer}");
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            ensure!(
                (1..=64).contains(&name.len()) && name.chars().all(plain),
                "a name is 1 to 64 of A-Z a-z 0-9 - _ ."
            );
            let secret = format!("scim-{}", tether_centrallink::random::name(32)?);
            make(&store, name, issuer, *agents, &secret)?;
            println!("{secret}");
            eprintln!("for the directory's settings; shown once. Its URL is {}/scim/v2", settings.url);
        }
        Command::List => {
            let tokens: Vec<ScimToken> = store::look(&store, |act| -> Result<_, StoreError> { act.scim_tokens() })?;
            for ScimToken { name, issuer, agents, revoked, .. } in tokens {
                let about = if agents { "humans and agents" } else { "humans" };
                let state = revoked.map_or_else(|| "in force".to_owned(), |time| format!("revoked at {time}"));
                println!("{name:20} {issuer:40} {about:18} {state}");
            }
        }
        Command::Revoke { name } => revoke(&store, name)?,
    }
    Ok(())
}

fn make(store: &Sqlite, name: &str, issuer: &str, agents: bool, secret: &str) -> Result<()> {
    let token = ScimToken {
        name: name.to_owned(),
        hash: hash(secret),
        issuer: issuer.to_owned(),
        agents,
        since: clock::now(),
        revoked: None,
    };
    let made = store::act(store, |act| -> Result<bool, StoreError> {
        if act.scim_tokens()?.iter().any(|known| known.name == name && known.revoked.is_none()) {
            return Ok(false);
        }
        act.put_scim_token(&token)?;
        let about = json!({"token": name, "issuer": issuer, "agents": agents});
        audit::write(act, "command", &Record::done("scim.token.made", Ids::unknown("on central's machine"), about))?;
        Ok(true)
    })?;
    ensure!(made, "there is a token {name} in force; revoke it first, or take another name");
    Ok(())
}

fn revoke(store: &Sqlite, name: &str) -> Result<()> {
    let found = store::act(store, |act| -> Result<bool, StoreError> {
        let known = act.scim_tokens()?.into_iter().find(|known| known.name == name && known.revoked.is_none());
        let Some(known) = known else { return Ok(false) };
        act.put_scim_token(&ScimToken { revoked: Some(clock::now()), ..known })?;
        let about = json!({"token": name});
        audit::write(act, "command", &Record::done("scim.token.revoked", Ids::unknown("on central's machine"), about))?;
        Ok(true)
    })?;
    if !found {
        bail!("there is no token {name} in force");
    }
    println!("{name} is revoked");
    Ok(())
}
