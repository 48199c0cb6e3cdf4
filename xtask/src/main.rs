//! The project's commands: what a newcomer and the CI run.
//!
//! Progress goes to stderr, data to stdout. Exit status: 0 done, 1 failed, 2 wrong usage; `host exec` passes on the
//! command's own.

mod ablation;
mod bench;
mod bench_audit;
mod bench_central;
mod bench_confine;
mod check;
mod deb;
mod demo;
mod faulty;
mod filters;
mod host;
mod run;
mod seal;
mod setup;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tether_testhost::Suite;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and try Tether", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install the build tools that are missing (Debian, as root); the other commands do this first
    Setup,
    /// Build the Debian packages, the hosts' and central's, and print their paths
    Deb,
    /// Build agentd and the modules with places where a test makes them fail, and print their folder
    Faulty,
    /// Throw-away hosts to try things on; they stay until they are taken down
    #[command(subcommand)]
    Host(host::Command),
    /// Tell the story whole: a sign-in, an agent on two hosts, a reverse shell that is found, a right that is taken back
    Demo {
        /// Print one JSON object to stdout instead of words
        #[arg(long)]
        json: bool,
        /// Which Debian the host runs
        #[arg(long, default_value = "bookworm")]
        suite: Suite,
        /// Keep what an auditor looks at in this folder, new or empty: central's export, the hosts' chains and recordings
        #[arg(long, value_name = "DIR")]
        keep: Option<PathBuf>,
    },
    /// Measure on real hosts, each figure beside what it is compared with: `host`, `confine`, `central`,
    /// `revocation`, `fleet` (its second row alone), `audit`, `recording`, `channels`
    Bench {
        /// Which bench
        name: String,
        /// `central` and `revocation` with few rounds, to see whether they run; no figures for the record
        #[arg(long)]
        quick: bool,
        /// Print one JSON object to stdout instead of a table
        #[arg(long)]
        json: bool,
        /// Which Debian the hosts run
        #[arg(long, default_value = "bookworm")]
        suite: Suite,
    },
    /// Build the package, then run every test
    Test {
        /// Also run the tests that take minutes
        #[arg(long)]
        long: bool,
    },
    /// Build the launcher that leaves out one layer of the confinement, for tests, and print its path
    Ablation,
    /// Write the seccomp filters that the programs carry, from `crates/filter`
    Filters,
    /// Check format, lints, dependencies, exported symbols and unsafe code
    Check,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Task::Setup => setup::run().map(|()| ExitCode::SUCCESS),
        Task::Deb => deb::build().and_then(|path| {
            println!("{}", path.display());
            println!("{}", deb::build_central()?.display());
            Ok(ExitCode::SUCCESS)
        }),
        Task::Faulty => faulty::build().map(|path| {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }),
        Task::Host(command) => host::run(command),
        Task::Demo { json, suite, keep } => demo::run(suite, json, keep.as_deref()),
        Task::Bench { name, quick, json, suite } => bench::run(&name, suite, quick, json),
        Task::Test { long } => test::run(long),
        Task::Ablation => ablation::build().map(|path| {
            println!("{}", path.display());
            ExitCode::SUCCESS
        }),
        Task::Filters => filters::write().map(|()| ExitCode::SUCCESS),
        Task::Check => check::run_all(),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
