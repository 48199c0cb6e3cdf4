//! The command line.

mod init;
mod offline;
pub(crate) mod run;
mod scim;

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Where central keeps everything, unless told otherwise.
const FOLDER: &str = "/var/lib/tether-central";

/// Central: from a human's sign-in to a grant on a host, and back.
#[derive(Parser)]
#[command(name = "tether-central", version, disable_help_subcommand = true)]
struct Arguments {
    /// Central's folder: settings, policies, keys, store
    #[arg(long, global = true, default_value = FOLDER)]
    folder: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make keys, TLS certificate, settings and store, and the break-glass token
    Init(init::Init),
    /// Serve
    Serve,
    /// Print the audit chain and check it
    Audit,
    /// Copy the store while central runs
    Backup {
        /// The new file
        file: PathBuf,
    },
    /// Put a copy in the place of the store; central must not run
    Restore {
        /// The copy
        file: PathBuf,
    },
    /// Tokens of directories, which provision and deprovision (SCIM)
    #[command(subcommand)]
    Scim(scim::Command),
    /// What is done with keys that central does not have
    #[command(subcommand)]
    Offline(offline::Command),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tether-central: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command line of a test's.
#[cfg(test)]
pub(crate) fn run_from(arguments: &[&str]) -> anyhow::Result<()> {
    run(Arguments::try_parse_from([&["tether-central"], arguments].concat())?)
}

fn run(Arguments { folder, command }: Arguments) -> anyhow::Result<()> {
    match command {
        Command::Init(init) => init::run(&folder, &init),
        Command::Serve => run::serve(&folder),
        Command::Audit => run::audit(&folder),
        Command::Backup { file } => run::back_up(&folder, &file),
        Command::Restore { file } => run::restore(&folder, &file),
        Command::Scim(command) => scim::run(&folder, &command),
        Command::Offline(command) => offline::run(&command),
    }
}
