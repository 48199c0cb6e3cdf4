//! `tether agents`.

use super::{Link, show, text};
use crate::Found;
use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;
use tether_centrallink::wire::NewAgent;
use tether_identity::Name;

#[derive(Subcommand)]
pub enum Command {
    /// All agents
    List,
    /// Register an agent, or give one another key: what the old one was issued for is void then
    Register {
        /// Its name
        name: Name,
        /// The team that owns it
        #[arg(long)]
        team: Name,
        /// The person who answers for it
        #[arg(long)]
        owner: String,
        /// A file with its public key, a JWK, as `tether-agent keygen` prints it
        #[arg(long)]
        key: PathBuf,
    },
    /// Let an agent act again that was deactivated; what was issued before stays void
    Activate {
        /// Its name
        name: Name,
    },
}

pub fn run(link: &Link, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::List => {
            let agents: Value = link.get("/v1/admin/agents")?;
            Ok(show(json, &agents, || agents.as_array().into_iter().flatten().map(line).collect()))
        }
        Command::Register { name, team, owner, key } => {
            let key = std::fs::read(key).with_context(|| format!("cannot read {}", key.display()))?;
            let key = serde_json::from_slice(&key).context("the key is not JSON")?;
            let new = NewAgent { name: name.clone(), team: team.clone(), owner: owner.clone(), key };
            let done: Value = link.post("/v1/admin/agents", &new)?;
            Ok(show(json, &done, || vec![format!("{name} is registered")]))
        }
        Command::Activate { name } => {
            let done: Value = link.post("/v1/admin/agents/activate", &json!({"name": name}))?;
            Ok(show(json, &done, || vec![format!("{name} may act again")]))
        }
    }
}

fn line(agent: &Value) -> String {
    let state = if agent["active"] == true { "active" } else { "deactivated" };
    format!("{:20} {:16} {:28} {state}", text(agent, "name"), text(agent, "team"), text(agent, "owner"))
}
