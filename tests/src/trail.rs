//! The host's audit chain as a test sees it.

use anyhow::{Context, Result};
use tether_audit::{Line, Link, Outcome, Reached, Verifier};
use tether_testhost::Host;

/// Where the chain is.
const FOLDER: &str = "/var/lib/tether/audit";
const START: &str = "/var/lib/tether/audit/start.json";

/// All records of a host; the chain was checked.
pub struct Trail(pub Vec<Link>);

impl Trail {
    /// Reads and checks the chain, from the key that the host committed to.
    pub fn read(host: &Host) -> Result<Self> {
        let start: serde_json::Value = serde_json::from_slice(&host.read_file(START)?)?;
        let key = (start["key"].as_u64().context("key")?, serde_json::from_value(start["public"].clone())?);
        let mut verifier = Verifier::from(Reached { key: Some(key), ..Reached::default() });
        let mut links = Vec::new();
        // What is being written may end within a line.
        for text in Self::text(host)?.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            if let Line::Record { link, .. } = verifier.take(text).context("the audit chain")? {
                links.push(*link);
            }
        }
        Ok(Self(links))
    }

    /// The text of all segments.
    pub fn text(host: &Host) -> Result<String> {
        Ok(host.sh(&format!("cat {FOLDER}/*.jsonl"))?)
    }

    /// The records of one session.
    pub fn of<'t>(&'t self, session: &'t str) -> impl Iterator<Item = &'t Link> {
        self.0.iter().filter(move |link| link.event.ids.session.id() == Some(session))
    }

    /// The codes of all refusals and errors, in order.
    pub fn codes(&self) -> Vec<&str> {
        self.0.iter().filter(|l| l.event.outcome != Outcome::Allowed).map(|l| l.event.code.as_str()).collect()
    }

    /// Whether something was refused with a code.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes().contains(&code)
    }
}
