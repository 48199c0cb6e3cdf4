//! A host's audit chain as agentd writes it: records of a usual size, signed heads, keys that evolve.

use anyhow::{Context, Result};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};
use tether_audit::{Chain, Event, HeadAt, HeadSigner, Ids, Known, Outcome, Verified};
use tether_centrallink::wire::ChainStart;

/// Who writes it.
pub struct ChainWriter {
    host: String,
    chain: Chain,
    key: HeadSigner,
    previous: String,
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl ChainWriter {
    /// A new chain.
    pub fn new(host: &str, seed: [u8; 32]) -> Self {
        let chain = Chain::after(host, "boot", Verified { records: 0, head: String::new() });
        Self { host: host.to_owned(), chain, key: HeadSigner::new(0, seed), previous: String::new() }
    }

    /// What is committed to at enrolment, of a chain that has nothing yet.
    pub fn start(&self) -> ChainStart {
        ChainStart { number: 0, hash: String::new(), key: self.key.index(), public: self.key.public().0 }
    }

    /// The last record's number.
    pub fn number(&self) -> u64 {
        self.chain.number()
    }

    /// A record as of a command under sudo: some 700 bytes.
    pub fn record(&mut self) -> Result<String> {
        let id = |text: &str| Known::Id(text.to_owned());
        let details = json!({
            "argv": ["/usr/bin/journalctl", "--unit", "nginx.service", "--since", "2 hours ago", "--no-pager"],
            "program": "/usr/bin/journalctl", "rule": "journal", "bundle": "triage", "version": 7,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "mode": "read-only",
            "at": self.number(),
        });
        let event = Event {
            event: "sudo.command".to_owned(),
            outcome: Outcome::Allowed,
            code: String::new(),
            ids: Ids {
                human: id("alice@example.org"),
                agent: id("triage"),
                instance: id("run-7"),
                delegation: id("k5m2q7w3x4y6z2a3b4c5d6e7f2"),
                session: id("a2b3c4d5e6f7g2h3j4k5m6n7p2"),
            },
            parent: None,
            details: details.as_object().context("an object")?.clone(),
        };
        let next = self.chain.next(event, now_us())?;
        self.chain.commit(&next);
        Ok(next.line)
    }

    /// A signed head.
    pub fn head(&mut self) -> Result<String> {
        let signed = self.key.sign(&HeadAt {
            host: &self.host,
            boot: "boot",
            number: self.chain.number(),
            hash: self.chain.head(),
            time_us: now_us(),
            previous: &self.previous,
        })?;
        self.previous = signed.head.digest()?;
        self.key = self.key.next();
        Ok(signed.line()?)
    }
}
