//! Sessions: which are here, what one of them did and showed, ending one.

use crate::central::Who;
use crate::render::moment;
use crate::trail::show;
use crate::{Found, host, play};
use anyhow::Result;
use clap::Subcommand;
use tether_hostlink::Request;
use tether_identity::SessionId;

#[derive(Subcommand)]
pub enum Command {
    /// Sessions that are here now
    List,
    /// The whole story of one session as a tree: from the sign-in to the removal, with every token and certificate
    Show(show::Arguments),
    /// Show what a terminal or a command showed, as it was recorded
    Play(play::Arguments),
    /// End one session
    End {
        /// The session's whole id
        session: SessionId,
    },
}

impl Command {
    /// Whether only root can do it.
    pub fn is_of_host(&self, who: &Who) -> bool {
        match self {
            Self::Show(arguments) => arguments.is_of_host(who),
            // A recording may be a copy.
            Self::Play(_) => false,
            Self::List | Self::End { .. } => true,
        }
    }
}

pub fn run(who: &Who, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::List => list(json),
        Command::Show(arguments) => show::run(who, arguments, json),
        Command::Play(arguments) => play::run(who, arguments, json),
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

fn end(session: &SessionId, json: bool) -> Result<Found> {
    host::answer(&Request::End { session: session.clone() })?;
    if json {
        println!("{{\"done\":true}}");
    } else {
        println!("Session {session} is ending.");
    }
    Ok(Found::Fine)
}
