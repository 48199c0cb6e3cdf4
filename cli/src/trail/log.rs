//! Central's log of all records: whether an export's tiles are what its checkpoint has signed, and whether each record
//! of the chains is in it.

use super::check::Summary;
use super::finding::Finding;
use super::source::Chains;
use super::tree::Look;
use anyhow::Result;
use serde_json::{Value, json};

/// What the log proves.
#[derive(Debug, Clone, Default)]
pub struct Proven {
    /// How many entries the checkpoint has signed.
    pub size: u64,
    /// Whether it could be checked.
    pub checked: bool,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

impl Proven {
    /// For a program.
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Finding::json).collect();
        json!({"checked": self.checked, "size": self.size, "findings": findings})
    }

    /// For a person.
    pub fn words(&self, _look: Look) -> String {
        if !self.checked {
            return "  log             is there, and was not checked\n".to_owned();
        }
        format!("  log             {} entries\n", self.size)
    }
}

/// Checks an export's log; none if it has none.
pub fn check(chains: &Chains, _sums: &mut [Summary]) -> Result<Option<Proven>> {
    let Some(folder) = &chains.export else { return Ok(None) };
    let there = folder.join("log").join("checkpoint").is_file();
    Ok(there.then(Proven::default))
}
