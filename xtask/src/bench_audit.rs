//! `cargo xtask bench audit`: the audit chain on this machine's own disk.

use anyhow::Result;
use tether_testhost::Suite;
use tether_tests::bench::{Row, audit_ingest};

use crate::bench_central::with_released;
use crate::bench_confine::Cases;
use crate::run::say;

/// What each figure must reach.
const ROWS: [(&str, &str, &str); 5] = [
    ("durable", "1/s", "at least 50,000 with 64 writers, each waiting for its own"),
    ("durable wait", "us", "p99 at most 5,000, at that rate"),
    ("durable single", "us", "-"),
    ("record bytes", "B", "-"),
    ("verify", "1/s", "-"),
];

/// How many records central takes.
const INGESTED: usize = 50_000;

/// Measures on this machine, in the target folder's file system; central takes a host's chain there, too.
pub(crate) fn rows(suite: Suite) -> Result<Vec<Row>> {
    let load = std::fs::read_to_string("/proc/loadavg")?;
    say(format!("measuring the audit chain; load average before: {}", load.trim()));
    let cases = Cases::of("tether-agentd", "audit")?;
    let mut rows = ROWS
        .iter()
        .map(|(case, unit, target)| {
            Ok(Row { case: (*case).to_owned(), unit, ours: cases.figures(case)?, beside: None, target })
        })
        .collect::<Result<Vec<_>>>()?;
    rows.extend(with_released(suite, |released| audit_ingest::rows(&released.realm(suite, &[])?, INGESTED))?);
    Ok(rows)
}
