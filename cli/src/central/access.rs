//! `tether access`.

use super::{Link, show};
use crate::Found;
use anyhow::Result;
use clap::{Args, Subcommand};
use tether_centrallink::wire::{AccessQuestion, Explained, Reach, ReachQuestion};
use tether_identity::{HostId, Human, Name};

#[derive(Subcommand)]
pub enum Command {
    /// Which agent reaches which host for which human, with a fresh sign-in
    List {
        /// Only this agent
        #[arg(long)]
        agent: Option<Name>,
        /// Only for this human
        #[arg(long)]
        human: Option<Human>,
        /// Only this host
        #[arg(long)]
        host: Option<HostId>,
    },
    /// Whether a request would be granted; exit code 3 if not
    Test(Asked),
    /// Why yes, why no: every policy by itself
    Explain(Asked),
}

#[derive(Args)]
pub struct Asked {
    /// The agent
    #[arg(long)]
    agent: Name,
    /// The human
    #[arg(long)]
    human: Human,
    /// The host
    #[arg(long)]
    host: HostId,
    /// The bundle
    #[arg(long)]
    bundle: Option<Name>,
    /// A group of theirs, once for each; those last seen, if left out
    #[arg(long = "group")]
    groups: Vec<String>,
    /// A factor they signed in with, once for each
    #[arg(long = "amr")]
    amr: Vec<String>,
    /// The class of the sign-in
    #[arg(long)]
    acr: Option<String>,
    /// How many seconds ago they signed in
    #[arg(long, default_value_t = 0)]
    signed_in: u64,
}

pub fn run(link: &Link, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::List { agent, human, host } => {
            let asked = ReachQuestion { agent: agent.clone(), human: human.clone(), host: host.clone() };
            let reached: Vec<Reach> = link.post("/v1/admin/reach", &asked)?;
            let line = |one: &Reach| format!("{:20} for {:28} on {:28} {}", one.agent, one.human, one.host, one.bundle);
            Ok(show(json, &serde_json::to_value(&reached)?, || reached.iter().map(line).collect()))
        }
        Command::Test(asked) => {
            let explained = ask(link, asked)?;
            show(json, &serde_json::to_value(&explained)?, || verdict(&explained));
            Ok(if explained.permitted { Found::Fine } else { Found::Something })
        }
        Command::Explain(asked) => {
            let explained = ask(link, asked)?;
            Ok(show(json, &serde_json::to_value(&explained)?, || {
                let mut lines = verdict(&explained);
                for look in &explained.policies {
                    let applies = if look.applies { "applies" } else { "does not apply" };
                    lines.push(format!("\n{} ({}) {applies}:", look.policy, look.effect));
                    lines.extend(look.text.lines().map(|line| format!("  {line}")));
                }
                lines
            }))
        }
    }
}

fn ask(link: &Link, asked: &Asked) -> Result<Explained> {
    let question = AccessQuestion {
        agent: asked.agent.clone(),
        human: asked.human.clone(),
        groups: (!asked.groups.is_empty()).then(|| asked.groups.clone()),
        host: asked.host.clone(),
        bundle: asked.bundle.clone(),
        amr: asked.amr.clone(),
        acr: asked.acr.clone(),
        signed_in: asked.signed_in,
    };
    link.post("/v1/admin/access", &question)
}

fn verdict(explained: &Explained) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", if explained.permitted { "yes" } else { "no" }, explained.words)];
    lines.extend(explained.standing.iter().map(|why| format!("but {why}")));
    lines
}
