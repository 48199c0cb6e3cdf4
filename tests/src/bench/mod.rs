//! `cargo xtask bench host` and `confine`: what Tether costs on a host, each figure with what it is measured beside,
//! both sides in turn in one run. `central` and `revocation`: what central does, with real hosts and couriers.
//! `recording`: what it costs to record.

pub mod audit_ingest;
pub mod central;
mod channels;
pub mod commands;
mod figures;
mod logins;
mod lookups;
mod memory;
mod pair;
pub mod recording;
mod released;
pub mod revocation;
mod stamps;
mod sudo;

use anyhow::Result;
use serde::Serialize;
use std::path::Path;
use tether_testhost::Suite;

pub use channels::channels;
pub use figures::Figures;
use pair::Pair;
pub use released::Released;

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub case: String,
    /// `ms`, `us`, `ns`, `KiB` or `1/s`.
    pub unit: &'static str,
    /// Ours.
    pub ours: Figures,
    /// What it is compared with.
    pub beside: Option<Beside>,
    /// What it must reach, in words.
    pub target: &'static str,
}

/// The other side.
#[derive(Debug, Clone, Serialize)]
pub struct Beside {
    /// What it is.
    pub name: &'static str,
    /// Its figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// The whole table.
#[derive(Debug, Clone, Serialize)]
pub struct Bench {
    /// `host`, `confine`, `central`, `revocation`, `recording`.
    pub bench: &'static str,
    /// The rows.
    pub rows: Vec<Row>,
}

type Step = fn(&mut Pair) -> Result<Vec<Row>>;

/// Measures everything on a suite with a package; `tell` hears each row as it comes.
pub fn host(suite: Suite, package: &Path, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let mut pair = Pair::new(suite, package)?;
    let mut rows = Vec::new();
    let steps: [Step; 5] = [logins::rows, logins::account, lookups::rows, sudo::rows, memory::rows];
    for step in steps {
        for row in step(&mut pair)? {
            tell(&row);
            rows.push(row);
        }
    }
    Ok(Bench { bench: "host", rows })
}
