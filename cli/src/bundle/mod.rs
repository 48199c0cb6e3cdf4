//! Bundles: from a source to what is signed, and what a change of it would mean.
//!
//! Nothing here asks agentd. What is data goes to stdout, words to stderr.

mod build;
mod cases;
mod diff;
mod explain;
mod import;
mod input;
mod keys;
mod lint;
mod replay;

use crate::Found;
use anyhow::Result;
use clap::Subcommand;
use std::path::PathBuf;

/// Every FILE may be a source (TOML), a compiled bundle (JSON) or a signed one; `-` is stdin.
#[derive(Subcommand)]
pub enum Command {
    /// Check a bundle and print what it allows; all mistakes at once, with file, line and column
    Check {
        /// The bundle
        file: PathBuf,
    },
    /// Compile a source to the JSON that is signed
    Build {
        /// The source
        file: PathBuf,
        /// Where the JSON goes, instead of stdout
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Sign a bundle with the security team's key
    Sign {
        /// The bundle
        file: PathBuf,
        /// The private key: Ed25519 as PKCS#8 PEM (openssl genpkey -algorithm ed25519), or its 32 bytes in base64url or hex
        #[arg(long)]
        key: PathBuf,
        /// The key's name in the key set; its RFC 7638 thumbprint if left out
        #[arg(long)]
        kid: Option<String>,
        /// Where the signed bundle goes, instead of stdout
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Verify a signed bundle and print what it is
    Verify {
        /// The signed bundle
        file: PathBuf,
        /// The public key: PEM, or its 32 bytes in base64url as key sets have them
        #[arg(long)]
        key: PathBuf,
    },
    /// Confirm that a signed bundle still holds: hosts want this once a day, or once an hour if a rule writes
    ///
    /// Hand the result to central with the bundle. A host refuses commands (bundle.stale) when the last confirmation is
    /// older than 24 h, or 1 h if a rule of the bundle writes. Confirm from a timer on the machine that has the key.
    Confirm {
        /// The signed bundle
        file: PathBuf,
        /// The private key that signed it
        #[arg(long)]
        key: PathBuf,
        /// How key sets name the key; its RFC 7638 thumbprint if left out
        #[arg(long)]
        kid: Option<String>,
        /// Where to write; stdout if left out
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Look for what is allowed and should perhaps not be, and for what cannot work
    Lint {
        /// The bundle
        file: PathBuf,
        /// Do not look at this host's programs and folders
        #[arg(long)]
        no_host: bool,
    },
    /// Run the [[test]] cases of a source
    Test {
        /// The source
        file: PathBuf,
    },
    /// Say which rule decides a command, and why the others do not
    Explain(explain::Arguments),
    /// Say what another version allows, denies or reads that this one does not
    Diff {
        /// The bundle as it is
        old: PathBuf,
        /// The bundle as it is to be
        new: PathBuf,
    },
    /// Decide the commands of an audit chain again, by another bundle, and print what would change
    Replay(replay::Arguments),
    /// Make a source from a structured command bundle (JSON or TOML) or from sudoers, and report what was not carried over
    Import(import::Arguments),
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::Check { file } => build::check(file, json),
        Command::Build { file, output } => build::build(file, output.as_deref()),
        Command::Sign { file, key, kid, output } => keys::sign(file, key, kid.as_deref(), output.as_deref(), json),
        Command::Verify { file, key } => keys::verify(file, key, json),
        Command::Confirm { file, key, kid, output } => keys::confirm(file, key, kid.as_deref(), output.as_deref()),
        Command::Lint { file, no_host } => lint::run(file, !*no_host, json),
        Command::Test { file } => cases::run(file, json),
        Command::Explain(arguments) => explain::run(arguments, json),
        Command::Diff { old, new } => diff::run(old, new, json),
        Command::Replay(arguments) => replay::run(arguments, json),
        Command::Import(arguments) => import::run(arguments, json),
    }
}
