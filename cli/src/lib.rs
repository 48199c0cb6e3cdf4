//! `tether`: where are the agents on this host, what did they do, for whom; and the panic button.
//!
//! Exit codes: 0 done, 1 refused or failed, 2 wrong use, 3 a check found something. `tether run` has its command's.
#![forbid(unsafe_code)]

#[macro_use]
mod out;

mod bundle;
mod central;
mod chain;
mod confine;
mod doctor;
mod host;
pub mod linked;
mod play;
mod render;
mod run;
mod session;
mod trail;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Sessions of AI agents, and the humans they act for: on this host, and at central.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Arguments {
    /// Print JSON to stdout instead of words
    #[arg(long, global = true, display_order = 900)]
    json: bool,
    #[command(flatten)]
    who: central::Who,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// How this host stands: central, feed, sessions
    Status,
    /// Sessions of this host: who acts for whom, what one did and showed; from central, of any host
    #[command(subcommand)]
    Session(session::Command),
    /// The audit trail: was it changed, who ran what, for other programs
    #[command(subcommand)]
    Audit(chain::Command),
    /// The panic button: end all agents' sessions and admit none, or admit again
    #[command(subcommand)]
    Host(host::Command),
    /// Bundles of commands: check, test, explain, compare, sign
    #[command(subcommand)]
    Bundle(bundle::Command),
    #[command(flatten)]
    Central(central::Command),
    /// Make this host known to central, once
    Enroll {
        /// The one-time token that an admin of central has made for this host (`tether hosts admit`). Others on the
        /// machine can read it here: --token-file FILE takes it from a file, - from stdin
        #[arg(long)]
        token: Option<String>,
        /// Enrol anew, with another key
        #[arg(long)]
        again: bool,
    },
    /// For an agent in its session: run what the bundle allows, or list it
    Run(run::Arguments),
    /// Check that everything on this host is as it must be, with the mend for what is not
    #[command(args_conflicts_with_subcommands = true)]
    Doctor {
        /// One subject only
        #[command(subcommand)]
        about: Option<About>,
    },
}

#[derive(Subcommand)]
enum About {
    /// What this kernel gives to hold commands under sudo, and what it makes Tether refuse
    Confine,
}

/// What a command found: `Ok` is 0, a finding 3.
pub enum Found {
    /// Nothing to complain of.
    Fine,
    /// Something; it has been printed.
    Something,
}

/// /proc/self belongs to whoever the process runs as (proc(5)).
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

/// The courier speaks to central; this command only becomes it.
fn enroll(who: &central::Who, token: Option<&str>, again: bool) -> anyhow::Result<Found> {
    use std::os::unix::process::CommandExt;
    const COURIER: &str = "/usr/libexec/tether/tether-courier";
    let mut courier = std::process::Command::new(COURIER);
    courier.args(["enroll", "--central", who.url()?]);
    match token {
        Some(token) => courier.args(["--token", token]),
        None => courier.arg("--token-file").arg(who.token_file()?),
    };
    if again {
        courier.arg("--again");
    }
    Err(anyhow::Error::from(courier.exec()).context(COURIER))
}

/// Whether it looks at this host, which only root may.
fn needs_root(arguments: &Arguments) -> bool {
    match &arguments.command {
        Command::Bundle(_) | Command::Central(_) | Command::Run(_) => false,
        Command::Session(command) => command.is_of_host(&arguments.who),
        Command::Audit(command) => command.is_of_host(&arguments.who),
        _ => true,
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    if needs_root(&arguments) && !is_root() {
        eprintln!("tether: this needs root; try: sudo tether …");
        return ExitCode::FAILURE;
    }
    let done = match arguments.command {
        Command::Status => host::status(json),
        Command::Session(command) => session::run(&arguments.who, &command, json),
        Command::Audit(command) => chain::run(&arguments.who, &command, json),
        Command::Host(command) => host::run(&command, json),
        Command::Bundle(command) => bundle::run(&command, json),
        Command::Central(command) => central::run(&arguments.who, &command, json),
        Command::Enroll { token, again } => enroll(&arguments.who, token.as_deref(), again),
        Command::Run(arguments) => return run::run(arguments, json),
        Command::Doctor { about: None } => doctor::run(json),
        Command::Doctor { about: Some(About::Confine) } => confine::run(json),
    };
    match done {
        Ok(Found::Fine) => ExitCode::SUCCESS,
        Ok(Found::Something) => ExitCode::from(3),
        Err(error) => {
            eprintln!("tether: {}", words(&error));
            ExitCode::FAILURE
        }
    }
}

/// An error and its causes, each once: some say their cause themselves.
fn words(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn a_cause_is_said_once() {
        let cause = || anyhow::anyhow!("no such file");
        assert_eq!(words(&cause().context("cannot read x")), "cannot read x: no such file");
        assert_eq!(
            words(&cause().context("no agentd: no such file; see systemctl")),
            "no agentd: no such file; see systemctl"
        );
    }
}
