//! `tether revoke`.

use super::{Link, show};
use crate::Found;
use anyhow::Result;
use clap::Subcommand;
use tether_centrallink::wire::{Revoked, Target};
use tether_identity::{DelegationId, HostId, Human, Name, SessionId};

#[derive(Subcommand)]
pub enum Command {
    /// A human: all sessions for them end, and their sign-ins so far are worth nothing
    Human { human: Human },
    /// An agent: it is deactivated until `tether agents activate`
    Agent { agent: Name },
    /// An agent for one human, until they sign in again
    Pair { agent: Name, human: Human },
    /// One delegation, by its jti
    Delegation { id: DelegationId },
    /// One session
    Session { session: SessionId },
    /// A host: its sessions end, and none may be had on it
    Host { host: HostId },
    /// The session of a certificate, by its serial
    Cert { serial: u64 },
}

pub fn run(link: &Link, command: &Command, json: bool) -> Result<Found> {
    let target = match command {
        Command::Human { human } => Target::Human(human.clone()),
        Command::Agent { agent } => Target::Agent(agent.clone()),
        Command::Pair { agent, human } => Target::Pair { agent: agent.clone(), human: human.clone() },
        Command::Delegation { id } => Target::Delegation(id.clone()),
        Command::Session { session } => Target::Session(session.clone()),
        Command::Host { host } => Target::Host(host.clone()),
        Command::Cert { serial } => Target::Certificate(*serial),
    };
    let revoked: Revoked = link.post("/v1/admin/revoke", &target)?;
    Ok(show(json, &serde_json::to_value(&revoked)?, || {
        let mut lines = vec![format!("{} sessions, {} hosts were told", revoked.sessions.len(), revoked.hosts.len())];
        lines.extend(revoked.sessions.iter().map(|session| format!("  {session}")));
        lines
    }))
}
