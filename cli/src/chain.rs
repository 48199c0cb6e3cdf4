//! The audit chain: checking it, looking through it, giving it to other programs.

use crate::Found;
use crate::central::Who;
use crate::trail::{export, search, verify};
use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Command {
    /// From files alone: was a record changed, dropped, moved, doubled or cut, and up to where is the rest proven
    Verify(verify::Arguments),
    /// Records by human, agent, host, program, session, time, outcome and code; --json prints one a line
    Search(search::Arguments),
    /// Records in the forms of other programs: OCSF, syslog, or as they are
    Export(export::Arguments),
}

impl Command {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, who: &Who) -> bool {
        match self {
            Self::Verify(arguments) => arguments.is_of_host(),
            Self::Search(arguments) => arguments.is_of_host(who),
            Self::Export(arguments) => arguments.is_of_host(who),
        }
    }
}

pub fn run(who: &Who, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::Verify(arguments) => verify::run(arguments, json),
        Command::Search(arguments) => search::run(who, arguments, json),
        Command::Export(arguments) => export::run(who, arguments),
    }
}
