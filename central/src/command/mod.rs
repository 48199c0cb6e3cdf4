//! The command line.

mod check;
mod export;
pub(crate) mod init;
mod keys;
mod offline;
mod scim;
pub(crate) mod serve;
mod store;

#[cfg(test)]
pub(crate) use init::Init;

use anyhow::{Context, Result};
use axum::Router;
use clap::{Parser, Subcommand};
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where central keeps everything, unless told otherwise.
const FOLDER: &str = "/var/lib/tether-central";
/// What is in it.
const STORE: &str = "central.db";
const OFFLINE: &str = "offline";
const AUTHORITY: &str = "tls/authority.pem";
const CHAIN: &str = "tls/chain.pem";
const TLS_KEY: &str = "tls/key.pem";

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
    /// Check settings, policies, keys and store, and change nothing
    Check,
    /// Other keys for central itself, without anybody noticing
    #[command(subcommand)]
    Keys(keys::Command),
    /// Print central's own audit chain and check it
    Audit {
        #[command(subcommand)]
        command: Option<Audit>,
    },
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

#[derive(Subcommand)]
enum Audit {
    /// Write everything that verifies all chains and the log without central: `tether audit verify --export DIR`
    Export {
        /// The new folder
        to: PathBuf,
        /// With the bytes of hosts' recordings, which may be many; else only a list of them
        #[arg(long)]
        recordings: bool,
    },
}

/// Runs the command line.
pub fn main() -> ExitCode {
    main_with(|router| router)
}

/// The same with something around the routes: what tests look at requests with.
pub fn main_with(wrap: fn(Router) -> Router) -> ExitCode {
    match run(Arguments::parse(), wrap) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tether-central: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command line of a test's.
#[cfg(test)]
pub(crate) fn run_from(arguments: &[&str]) -> Result<()> {
    run(Arguments::try_parse_from([&["tether-central"], arguments].concat())?, |router| router)
}

fn run(Arguments { folder, command }: Arguments, wrap: fn(Router) -> Router) -> Result<()> {
    match command {
        Command::Init(init) => init::run(&folder, &init),
        Command::Serve => serve::run(&folder, wrap),
        Command::Check => check::run(&folder),
        Command::Keys(command) => keys::run(&folder, &command),
        Command::Audit { command: None } => store::audit(&folder),
        Command::Audit { command: Some(Audit::Export { to, recordings }) } => export::run(&folder, &to, recordings),
        Command::Backup { file } => store::back_up(&folder, &file),
        Command::Restore { file } => store::restore(&folder, &file),
        Command::Scim(command) => scim::run(&folder, &command),
        Command::Offline(command) => offline::run(&command),
    }
}

/// What root makes in central's folder belongs to whom the folder belongs: the user that central runs as.
fn give(folder: &Path, path: &Path) -> Result<()> {
    let owner = std::fs::metadata(folder).with_context(|| format!("{}", folder.display()))?;
    let found = std::fs::symlink_metadata(path).with_context(|| format!("{}", path.display()))?;
    if (found.uid(), found.gid()) == (owner.uid(), owner.gid()) {
        return Ok(());
    }
    lchown(path, Some(owner.uid()), Some(owner.gid()))
        .with_context(|| format!("{} cannot be given to central's user", path.display()))
}
