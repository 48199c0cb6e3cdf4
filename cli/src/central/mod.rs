//! What is asked of central, by an admin or an auditor: where are the agents, what can they reach, and taking back.

mod access;
mod agents;
mod hosts;
mod publish;
mod revoke;
mod sessions;

use crate::Found;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tether_centrallink::{Central, Credential};

/// The heading of these options in every help.
const AT_CENTRAL: &str = "Where central is, and who asks";

/// Which central, and who asks.
#[derive(Args)]
pub struct Who {
    /// Central's URL
    #[arg(long, global = true, help_heading = AT_CENTRAL, hide_env_values = true, env = "TETHER_CENTRAL")]
    central: Option<String>,
    /// The authority that signed central's TLS certificate, a PEM file
    #[arg(long, global = true, help_heading = AT_CENTRAL, hide_env_values = true, env = "TETHER_CENTRAL_AUTHORITY")]
    authority: Option<PathBuf>,
    /// A file with your ID token, or with the break-glass token; for enroll with the enrolment token, - for stdin
    #[arg(long, global = true, help_heading = AT_CENTRAL, hide_env_values = true, env = "TETHER_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Who {
    /// Whether a central was named at all.
    pub fn is_named(&self) -> bool {
        self.central.is_some()
    }

    /// The file with the token.
    pub fn token_file(&self) -> Result<&Path> {
        self.token_file.as_deref().context("--token-file FILE, or TETHER_TOKEN_FILE")
    }

    /// Central's URL.
    pub fn url(&self) -> Result<&str> {
        self.central.as_deref().context("which central? --central URL, or TETHER_CENTRAL")
    }
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// At central: its agents, who owns them, whether they may act
    #[command(subcommand)]
    Agents(agents::Command),
    /// At central: what agents can reach, and why
    #[command(subcommand)]
    Access(access::Command),
    /// At central: sessions of all hosts
    Sessions(sessions::Sessions),
    /// At central: take back; what was issued is void at once, and live sessions end
    #[command(subcommand)]
    Revoke(revoke::Command),
    /// At central: its hosts, how they stand, and a token for a new one
    #[command(subcommand)]
    Hosts(hosts::Command),
    /// At central: hand over what others have signed
    #[command(subcommand)]
    Publish(publish::Command),
}

/// One central, asked by one person.
pub struct Link {
    central: Central,
    token: String,
}

impl Link {
    /// Opens a connection as whoever the settings name.
    pub fn open(who: &Who) -> Result<Self> {
        let url = who.url()?;
        let path = who.authority.as_ref().context("--authority FILE, or TETHER_CENTRAL_AUTHORITY")?;
        let authority = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let path = who.token_file()?;
        let token = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { central: Central::new(url, &authority)?, token: token.trim().to_owned() })
    }

    /// Asks.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(self.central.get(path, Credential::Bearer(&self.token))?)
    }

    /// Reads what may be long; how many bytes it had.
    pub fn download(&self, path: &str, to: &mut dyn std::io::Write) -> Result<u64> {
        Ok(self.central.download(path, &self.token, to)?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        Ok(self.central.post(path, body, Credential::Bearer(&self.token))?)
    }
}

/// Runs one.
pub fn run(who: &Who, command: &Command, json: bool) -> Result<Found> {
    let link = Link::open(who)?;
    match command {
        Command::Agents(command) => agents::run(&link, command, json),
        Command::Access(command) => access::run(&link, command, json),
        Command::Sessions(sessions) => sessions::run(&link, sessions, json),
        Command::Revoke(command) => revoke::run(&link, command, json),
        Command::Hosts(command) => hosts::run(&link, command, json),
        Command::Publish(command) => publish::run(&link, command, json),
    }
}

/// Prints an answer as it came, or lines made of it.
fn show(json: bool, answer: &serde_json::Value, lines: impl FnOnce() -> Vec<String>) -> Found {
    if json {
        println!("{answer}");
    } else {
        lines().iter().for_each(|line| println!("{line}"));
    }
    Found::Fine
}

/// A member as text; a dash if there is none.
fn text(value: &serde_json::Value, name: &str) -> String {
    match &value[name] {
        serde_json::Value::Null => "-".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Query parameters; values are percent-encoded.
pub fn query(path: &str, members: &[(&str, Option<&str>)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    let given: Vec<String> =
        members.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={}", encode(value)))).collect();
    if given.is_empty() { path.to_owned() } else { format!("{path}?{}", given.join("&")) }
}
