//! The audit chain: checking it, looking through it, giving it to other programs.

use crate::Found;
use crate::central::Who;
use crate::trail::verify;
use anyhow::Result;
use clap::Subcommand;

#[derive(Subcommand)]
pub enum Command {
    /// From files alone: was a record changed, dropped, moved, doubled or cut, and up to where is the rest proven
    Verify(verify::Arguments),
}

impl Command {
    /// Whether only root can read what is asked for.
    pub fn is_of_host(&self, _who: &Who) -> bool {
        match self {
            Self::Verify(arguments) => arguments.is_of_host(),
        }
    }
}

pub fn run(_who: &Who, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::Verify(arguments) => verify::run(arguments, json),
    }
}
