//! `tether hosts`.

use super::{Link, show, text};
use crate::Found;
use anyhow::Result;
use clap::Subcommand;
use serde_json::Value;
use tether_centrallink::wire::{HostMark, NewHost, NewHostToken};
use tether_identity::HostId;

#[derive(Subcommand)]
pub enum Command {
    /// All hosts that have enrolled, and how they stand
    List,
    /// Print a one-time token with which a host may enrol
    Admit {
        /// Its id
        host: HostId,
        /// Where agents connect to it, if not to its id
        #[arg(long)]
        address: Option<String>,
        /// A label KEY=VALUE, once for each
        #[arg(long = "label")]
        labels: Vec<String>,
    },
    /// Accept a host's uid mark that central has refused as `report.uid_mark`: look at the host first
    AcceptMark {
        /// Its id
        host: HostId,
        /// `uid_mark` in /run/tether/resume-request.json on the host
        mark: u32,
    },
}

pub fn run(link: &Link, command: &Command, json: bool) -> Result<Found> {
    match command {
        Command::List => {
            let hosts: Value = link.get("/v1/admin/hosts")?;
            Ok(show(json, &hosts, || hosts.as_array().into_iter().flatten().map(line).collect()))
        }
        Command::Admit { host, address, labels } => {
            let new = NewHost { host: host.clone(), address: address.clone(), labels: labels.clone() };
            let made: NewHostToken = link.post("/v1/admin/hosts", &new)?;
            Ok(show(json, &serde_json::to_value(&made)?, || vec![made.token.clone()]))
        }
        Command::AcceptMark { host, mark } => {
            let accepted = HostMark { host: host.clone(), mark: *mark };
            let done: Value = link.post("/v1/admin/hosts/mark", &accepted)?;
            Ok(show(json, &done, || vec![format!("the uids of {host} go up to {mark}")]))
        }
    }
}

fn line(host: &Value) -> String {
    let state = match (&host["active"], &host["key"]) {
        (_, Value::Null) => "not enrolled",
        (Value::Bool(true), _) => "active",
        _ => "no sessions",
    };
    let listens = match (&host["listening"], host["late"].as_u64()) {
        (Value::Bool(true), None | Some(0..=2)) => "listens".to_owned(),
        // It listens, and what it is told is not read: whoever carries it withholds it, or agentd does not run.
        (Value::Bool(true), Some(late)) => format!("late {late} s"),
        _ => "silent".to_owned(),
    };
    let labels: Vec<&str> = host["labels"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let recordings = differing(&host["recordings"]);
    let chain = chain(&host["audit"]);
    format!("{:32} {state:12} {listens:10} {chain:12} {}{recordings}", text(host, "id"), labels.join(" "))
}

/// Recordings that the host had otherwise than its chain says: a person's business, so they stand in its line.
fn differing(recordings: &Value) -> String {
    match recordings["differ"].as_u64() {
        None | Some(0) => String::new(),
        Some(1) => "  1 recording differs".to_owned(),
        Some(count) => format!("  {count} recordings differ"),
    }
}

/// How its audit chain stands: `ok`, or what is wrong, and from which record on.
fn chain(audit: &Value) -> String {
    let state = audit["state"].as_str().unwrap_or("none");
    let state = match state {
        "none" => "no chain",
        state => state,
    };
    match (audit["bad"].as_u64(), &audit["anchored"]) {
        (Some(bad), _) => format!("{state} at {bad}"),
        // Its first key is its own word.
        (None, Value::Bool(false)) if state == "ok" => "unanchored".to_owned(),
        (None, _) => state.to_owned(),
    }
}
