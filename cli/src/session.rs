//! Sessions: which are here, what one of them did and showed, ending one.

use crate::render::{self, moment};
use crate::{Found, chain, host, play};
use anyhow::{Result, ensure};
use clap::Subcommand;
use tether_hostlink::Request;
use tether_identity::SessionId;

#[derive(Subcommand)]
pub enum Command {
    /// Sessions that are here now
    List,
    /// Everything that one session did, from its grant to its removal
    Show {
        /// The session, or as much of its id as is enough
        session: String,
    },
    /// Show what a terminal or a command showed, as it was recorded
    Play(play::Arguments),
    /// End one session
    End {
        /// The session's whole id
        session: SessionId,
    },
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::List => list(json),
        Command::Show { session } => show(session, json),
        Command::Play(arguments) => play::run(arguments, json),
        Command::End { session } => end(session, json),
    }
}

fn list(json: bool) -> Result<Found> {
    let status = host::fetch()?;
    if json {
        println!("{}", serde_json::to_string(&status.sessions)?);
        return Ok(Found::Fine);
    }
    if status.sessions.is_empty() {
        eprintln!("no session is here");
        return Ok(Found::Fine);
    }
    println!("{:<22} {:<9} {:<16} {:<20} PRINCIPAL", "SESSION", "STATE", "ACCOUNT", "SINCE");
    for s in status.sessions {
        let since = moment(s.since.saturating_mul(1_000_000));
        println!("{:<22} {:<9} {:<16} {:<20} {}", s.session, s.state, s.account, since, s.principal);
    }
    Ok(Found::Fine)
}

fn show(wanted: &str, json: bool) -> Result<Found> {
    let links = chain::read()?;
    let matching = |link: &&tether_audit::Link| link.event.ids.session.id().is_some_and(|id| id.starts_with(wanted));
    let of_it: Vec<_> = links.iter().filter(matching).collect();
    ensure!(!of_it.is_empty(), "the audit chain knows no session {wanted}");
    let first = of_it.first().and_then(|link| link.event.ids.session.id());
    ensure!(
        of_it.iter().all(|link| link.event.ids.session.id() == first),
        "more than one session begins with {wanted}; give more of its id"
    );
    if json {
        println!("{}", serde_json::to_string(&of_it)?);
    } else {
        print!("{}", render::trail(&of_it));
    }
    Ok(Found::Fine)
}

fn end(session: &SessionId, json: bool) -> Result<Found> {
    host::answer(&Request::End { session: session.clone() })?;
    if json {
        println!("{{\"done\":true}}");
    } else {
        println!("Session {session} is ending.");
    }
    Ok(Found::Fine)
}
