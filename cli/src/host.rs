//! The host: how it stands, stop, start.

use crate::Found;
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use std::path::Path;
use std::time::Duration;
use tether_hostlink::{BundleSummary, Deadline, LinkError, Reply, Request, SESSIONS_PAGE, StatusReport, ask};
use tether_identity::SessionId;

/// agentd's note to itself that the admin has stopped all agents.
const STOPPED: &str = "/var/lib/tether/stopped.json";
/// Kills all processes of all sessions (cgroup v2, `cgroup.kill`).
const SESSIONS: &str = "/sys/fs/cgroup/tether.sessions/cgroup.kill";

#[derive(Subcommand)]
pub enum Command {
    /// End all agents' sessions at once and admit none until `tether host start`, across restarts too
    Stop,
    /// Admit agents again
    Start,
}

pub fn run(command: &Command, json: bool) -> Result<Found> {
    let (request, words) = match command {
        Command::Stop => {
            (Request::Stop, "All agents' sessions are ending; none is admitted until `tether host start`.")
        }
        Command::Start => (Request::Start, "Agents are admitted again."),
    };
    match answer(&request) {
        Err(error) if matches!(command, Command::Stop) && error.is::<LinkError>() => stop_without_agentd(&error)?,
        other => drop(other?),
    }
    if json {
        println!("{{\"done\":true}}");
    } else {
        println!("{words}");
    }
    Ok(Found::Fine)
}

/// The panic button has to work when agentd does not: it will find itself stopped when it starts, and what runs
/// in sessions is killed by the kernel at once.
fn stop_without_agentd(why: &anyhow::Error) -> Result<()> {
    std::fs::write(STOPPED, "true").with_context(|| format!("{why:#}; and {STOPPED} cannot be written"))?;
    if Path::new(SESSIONS).exists() {
        std::fs::write(SESSIONS, "1").with_context(|| format!("{why:#}; and {SESSIONS} cannot be written"))?;
    }
    eprintln!(
        "tether: agentd does not answer ({why:#}); sessions were killed, and it will start stopped; if it only hangs: systemctl restart tether-agentd"
    );
    Ok(())
}

pub fn status(json: bool) -> Result<Found> {
    let status = fetch()?;
    if json {
        println!("{}", serde_json::to_string(&status)?);
        return Ok(Found::Fine);
    }
    let age = status.head_age_s.map_or_else(|| "never".to_owned(), |age| format!("{age} s ago"));
    println!("host     {} (tether {})", status.host, status.version);
    println!("state    {}", explained(&status.state));
    println!("central  last heard {age}, {} statements read", status.feed);
    for bundle in &status.bundles {
        println!("bundle   {}", line_of(bundle));
    }
    println!("sessions {}", status.sessions.len());
    Ok(Found::Fine)
}

fn line_of(bundle: &BundleSummary) -> String {
    let here = match bundle.version {
        Some(version) if version == bundle.named => format!("version {version}"),
        Some(version) => format!("version {version}; central names {}, which has not come", bundle.named),
        None => format!("not here; central names version {}", bundle.named),
    };
    let state = match bundle.state.as_str() {
        "usable" => "usable",
        "bundle.none" => "nothing may be run by it until it comes",
        "bundle.unconfirmed" => "the security team has not confirmed it; nothing may be run by it",
        "bundle.stale" => "confirmed too long ago; nothing may be run by it until it is confirmed again",
        other => other,
    };
    format!("{}, {here}: {state}", bundle.name)
}

fn explained(state: &str) -> String {
    let why = match state {
        "starting" => "central has not answered since agentd started; no agent is admitted",
        "stale" => "central has not been heard for too long; no agent is admitted",
        "stopped" => "an admin stopped all agents; `tether host start` admits them again",
        _ => return state.to_owned(),
    };
    format!("{state}: {why}")
}

/// How the host stands, with all its sessions.
pub fn fetch() -> Result<StatusReport> {
    let mut status = page(None)?;
    let mut full = status.sessions.len() == SESSIONS_PAGE;
    while full {
        let next = page(status.sessions.last().map(|last| last.session.clone()))?;
        full = next.sessions.len() == SESSIONS_PAGE;
        status.sessions.extend(next.sessions);
    }
    Ok(status)
}

fn page(after: Option<SessionId>) -> Result<StatusReport> {
    match answer(&Request::Status { after })? {
        Reply::Status(status) => Ok(status),
        other => bail!("agentd gave another answer than was asked for: {other:?}"),
    }
}

/// One question; a refusal is an error.
pub fn answer(request: &Request) -> Result<Reply> {
    match ask(request, Deadline::after(Duration::from_secs(10)))?.reply {
        Reply::Refused(refusal) => {
            let hint = refusal.hint.as_deref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            bail!("{refusal}{hint}")
        }
        reply => Ok(reply),
    }
}
