//! For agent runtimes: a session's key, its delegation, its certificate.
//!
//! `keygen` makes the agent's own key, whose public half an admin registers. `open` turns a human's sign-in and the
//! agent's assertion into a session: key and certificate in a folder, and the ssh command to use them. The session
//! key is made here, used for one session, and never leaves the folder. Where the provider does the exchange itself, its
//! token stands for both and is bound to a session key that was made before: `keygen`, then `proof` for the provider.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod keygen;
mod open;
mod proof;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A session on a host, for a human who has signed in.
#[derive(Parser)]
#[command(name = "tether-agent", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the agent's own key; prints the public half for `tether agents register`
    Keygen {
        /// The new file
        file: std::path::PathBuf,
    },
    /// Open a session: writes key and certificate, prints the ssh command
    Open(open::Open),
    /// Print a proof of a session key (a DPoP header), with which a provider that does the exchange itself binds its
    /// token to that key
    Proof(proof::Proof),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Keygen { file } => keygen::make(&file),
        Command::Open(open) => open::run(&open),
        Command::Proof(proof) => proof::print(&proof),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tether-agent: {error:#}");
            ExitCode::FAILURE
        }
    }
}
