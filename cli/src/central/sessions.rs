//! `tether sessions`.

use super::{Link, query, show, text};
use crate::Found;
use anyhow::Result;
use clap::Args;
use serde_json::Value;

#[derive(Args)]
pub struct Sessions {
    /// Only this agent's
    #[arg(long)]
    agent: Option<String>,
    /// Only for this human
    #[arg(long)]
    human: Option<String>,
    /// Only on this host
    #[arg(long)]
    host: Option<String>,
    /// Those that are over too
    #[arg(long)]
    all: bool,
}

pub fn run(link: &Link, which: &Sessions, json: bool) -> Result<Found> {
    let members = [
        ("agent", which.agent.as_deref()),
        ("human", which.human.as_deref()),
        ("host", which.host.as_deref()),
        ("all", which.all.then_some("true")),
    ];
    let answer: Value = link.get(&query("/v1/admin/sessions", &members))?;
    Ok(show(json, &answer, || answer["sessions"].as_array().into_iter().flatten().map(line).collect()))
}

fn line(one: &Value) -> String {
    let state = match (&one["revoked"], &one["issued"]) {
        (Value::Array(revoked), _) => {
            format!("revoked: {}", revoked.get(1).and_then(Value::as_str).unwrap_or_default())
        }
        (_, Value::Null) => "delegated".to_owned(),
        (_, issued) => text(issued, "account"),
    };
    format!(
        "{} {} for {} on {} with {}: {state}",
        text(one, "session"),
        text(one, "agent"),
        text(one, "human"),
        text(one, "host"),
        text(one, "bundle")
    )
}
