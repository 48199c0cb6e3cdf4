//! Load on a central, by a process of its own in the lab's network: an admin who revokes, a fleet of real couriers,
//! agents that exchange, ten thousand feeds. It is told what to do in JSON and answers in lines of JSON.

mod courier;
mod exchange;
mod feeds;
mod fleet;
mod reader;

pub use exchange::Exchanged;
pub use feeds::{Feeds, feed_seed};
pub use fleet::{Fled, Fleet};

use anyhow::{Context, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, ExitCode, Stdio};
use tether_centrallink::wire::{Revoked, Target};
use tether_centrallink::{Central, Credential};
use tether_testhost::Lab;

/// What is to be done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Revoke each target that comes in, a line each; [`Taken`] goes out.
    Revoke(Admin),
    /// Run a fleet: [`Fled`] goes out when its sessions stand; then a target comes in, and [`Taken`] goes out.
    Fleet(Fleet),
    /// Connect that many feeds: the microseconds of each from the wall clock's moment that is named.
    Feeds(Feeds),
}

/// How central is reached by an admin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Admin {
    /// Its URL.
    pub url: String,
    /// The authority of its TLS certificate.
    pub authority: PathBuf,
    /// A file with the token.
    pub token: PathBuf,
}

impl Admin {
    fn open(&self) -> Result<(Central, String)> {
        let token = std::fs::read_to_string(&self.token).context("the admin's token")?;
        Ok((Central::new(&self.url, &std::fs::read(&self.authority)?)?, token.trim().to_owned()))
    }
}

/// Something was taken back. All times are of the monotonic clock, in nanoseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Taken {
    /// Before the request was sent.
    pub begun: u64,
    /// When central had answered.
    pub answered: u64,
    /// How many sessions central says it touched.
    pub sessions: usize,
    /// When each host of the fleet had verified it.
    pub ends: Vec<u64>,
}

/// The monotonic clock, in nanoseconds: all processes of a machine share it.
pub fn monotonic() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or_default()
}

/// The process' entry.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("test-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let task = std::env::args().nth(1).context("test-load TASK")?;
    match serde_json::from_str(&task).context("TASK")? {
        Task::Revoke(admin) => {
            let (central, token) = admin.open()?;
            for line in std::io::stdin().lines() {
                say(&revoke(&central, &token, &serde_json::from_str(&line?)?)?)?;
            }
            Ok(())
        }
        Task::Fleet(fleet) => fleet.run(),
        Task::Feeds(feeds) => feeds.run(),
    }
}

fn revoke(central: &Central, token: &str, target: &Target) -> Result<Taken> {
    let begun = monotonic();
    let revoked: Revoked = central.post("/v1/admin/revoke", target, Credential::Bearer(token))?;
    Ok(Taken { begun, answered: monotonic(), sessions: revoked.sessions.len(), ends: Vec::new() })
}

fn say(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(value)?)?;
    Ok(out.flush()?)
}

/// The other end: the process as a bench holds it. It is killed when it is dropped.
pub struct Load {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Load {
    /// Starts the program on a task, on this processor only if one is named.
    pub fn start(lab: &Lab, program: &Path, task: &Task, processor: Option<usize>) -> Result<Self> {
        let mut command = match processor {
            None => lab.client_command(&program.display().to_string())?,
            Some(number) => {
                let mut command = lab.client_command("taskset")?;
                command.arg("--cpu-list").arg(number.to_string()).arg(program);
                command
            }
        };
        command.arg(serde_json::to_string(task)?).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{}", program.display()))?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        Ok(Self { child, input, output })
    }

    /// The next line.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("test-load ended: {}", self.child.wait()?);
        }
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    /// Sends a line, and reads one.
    pub fn ask<T: DeserializeOwned>(&mut self, value: &impl Serialize) -> Result<T> {
        writeln!(self.input, "{}", serde_json::to_string(value)?)?;
        self.read()
    }

    /// It ends by itself.
    pub fn join(mut self) -> Result<()> {
        let ended = self.child.wait()?;
        ensure!(ended.success(), "test-load: {ended}");
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
