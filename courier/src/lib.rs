//! The courier: the only process of a host that speaks to a network. It carries what central pushes into agentd's
//! inbox, and what agentd reports to central.
//!
//! Nobody believes it. agentd checks every signature, and what the courier could do at worst is to carry nothing,
//! which shows as silence. It runs as a user that owns the inbox, a key, and nothing else.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod audit;
mod enrol;
mod inbox;
mod recordings;
mod report;
mod run;
mod settings;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Carries statements from central to this host, and this host's reports to central.
#[derive(Parser)]
#[command(name = "tether-courier", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Carry, until stopped
    Run,
    /// Make this host known to central, as root, once
    Enroll(enrol::Enrol),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run => run::run(),
        Command::Enroll(enrol) => enrol::run(&enrol),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tether-courier: {error:#}");
            ExitCode::FAILURE
        }
    }
}
