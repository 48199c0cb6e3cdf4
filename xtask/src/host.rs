//! Hosts to try things on: `host up`, `exec`, `list`, `down`.

use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Subcommand;
use tether_testhost::{HostSpec, Image, Lab, Suite};

use crate::run::say;
use crate::{deb, setup};

const READY: Duration = Duration::from_secs(60);

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Boot a host, with the current package installed, and print its address
    Up {
        name: String,
        /// bookworm or trixie
        #[arg(long, default_value = "bookworm")]
        suite: Suite,
    },
    /// Run a command on a host as root
    Exec {
        name: String,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Stop a host and remove all of it
    Down { name: String },
    /// Print each host's name, address and state
    List,
}

pub(crate) fn run(command: Command) -> Result<ExitCode> {
    setup::ensure()?;
    match command {
        Command::Up { name, suite } => up(&name, suite),
        Command::Exec { name, command } => return exec(&name, &command),
        Command::Down { name } => down(&name),
        Command::List => list(),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn up(name: &str, suite: Suite) -> Result<()> {
    let mut image = Image::ensure(suite, &mut |line| say(line))?;
    if deb::is_described()? {
        image = image.with_deb(&deb::build()?)?;
    } else {
        say("there is no package yet: booting the bare image");
    }
    let lab = Lab::standing()?;
    let start = Instant::now();
    let host = lab.boot(HostSpec::new(name, &image))?;
    host.wait_ready(READY).context("it booted but is not ready; look with: cargo xtask host exec")?;
    say(format!("{name} ({}) is up after {} ms; limits: {}", suite.name(), start.elapsed().as_millis(), lab.limits()));
    println!("{}", host.address());
    Ok(())
}

fn exec(name: &str, words: &[String]) -> Result<ExitCode> {
    let host = Lab::standing()?.host(name)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let command = if std::io::stdin().is_terminal() {
        // A terminal of the host's own; script(1) copies between it and this one.
        let line = words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        host.command("script").args(&["--quiet", "--return", "--command", &line, "/dev/null"])
    } else {
        host.command(words[0]).args(&words[1..])
    };
    let status = command.env("TERM", &term).status()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

fn down(name: &str) -> Result<()> {
    let lab = Lab::standing()?;
    lab.host(name)?.stop()?;
    Ok(lab.close_if_empty()?)
}

fn list() -> Result<()> {
    let lab = Lab::standing()?;
    for name in lab.hosts()? {
        match lab.host(&name) {
            Ok(host) if host.is_running() => println!("{name}\t{}\trunning", host.address()),
            Ok(host) => println!("{name}\t{}\tended", host.address()),
            Err(_) => println!("{name}\t-\tbooting"),
        }
    }
    Ok(lab.close_if_empty()?)
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
