//! Row `ingest` of `cargo xtask bench audit`: how many records a second central takes from one host, each checked,
//! kept and acknowledged, with a signed head in every batch.

use super::{Figures, Row};
use crate::central::seed;
use crate::chain::ChainWriter;
use crate::courier::Courier;
use crate::realm::Realm;
use anyhow::{Result, ensure};
use std::time::Instant;

/// How large a courier's batches are.
const BATCH: usize = 512 * 1024;

/// The rows, by a host that is nothing but its courier's key and chain.
pub fn rows(realm: &Realm, records: usize) -> Result<Vec<Row>> {
    let mut chain = ChainWriter::new("ingest-01", seed()?);
    let courier = Courier::admitted_with(realm, "ingest-01", Some(chain.start()))?;
    let batches = batches(&mut chain, records)?;
    let bytes: usize = batches.iter().map(String::len).sum();
    let (took, seconds) = realm.lab.on_switch(|| send(&courier, &batches))??;
    let each_second = (chain.number() as f64 / seconds).round();
    let per_record = (bytes as f64 / chain.number() as f64).round();
    let row = |case: &str, unit, ours, target| Row { case: case.to_owned(), unit, ours, beside: None, target };
    let one = |value| Figures { median: value, p99: value, n: records };
    Ok(vec![
        row("ingest", "1/s", one(each_second), "no target; one host, one batch after another"),
        row("ingest batch", "us", Figures::of(took), "no target; 512 KiB, sent and acknowledged"),
        row("ingest bytes", "B", one(per_record), "no target; a record on the wire, heads included"),
    ])
}

fn batches(chain: &mut ChainWriter, records: usize) -> Result<Vec<String>> {
    let (mut all, mut text) = (Vec::new(), String::new());
    for number in 1..=records {
        text.push_str(&chain.record()?);
        text.push('\n');
        if text.len() >= BATCH || number == records {
            text.push_str(&chain.head()?);
            text.push('\n');
            all.push(std::mem::take(&mut text));
        }
    }
    Ok(all)
}

fn send(courier: &Courier, batches: &[String]) -> Result<(Vec<f64>, f64)> {
    let (mut took, begun, mut at) = (Vec::new(), Instant::now(), (0, 0));
    for batch in batches {
        let sent = Instant::now();
        let taken = courier.send_lines(at, batch.as_bytes())?;
        ensure!(taken.trouble.is_none(), "{taken:?}");
        at = (taken.number, taken.lines);
        took.push(sent.elapsed().as_secs_f64() * 1e6);
    }
    Ok((took, begun.elapsed().as_secs_f64()))
}
