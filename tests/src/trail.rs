//! The host's audit chain as a test sees it.

use anyhow::{Context, Result};
use tether_audit::{Link, Outcome};
use tether_testhost::Host;

/// All records of a host; the chain was checked.
pub struct Trail(pub Vec<Link>);

impl Trail {
    /// Reads and checks the chain.
    pub fn read(host: &Host) -> Result<Self> {
        let text = String::from_utf8(host.read_file("/var/lib/tether/audit/chain.jsonl")?)?;
        let mut links = Vec::new();
        tether_audit::verify(text.lines(), |link| links.push(link.clone())).context("the audit chain")?;
        Ok(Self(links))
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
