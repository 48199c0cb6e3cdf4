//! agentd's memory: its proportional share (PSS), with few sessions and with a thousand.

use super::pair::Pair;
use super::{Figures, Row};
use crate::Draft;
use anyhow::{Context, Result};
use tether_statement::Body;

const SESSIONS: usize = 1000;

/// Idle, then with a thousand sessions.
pub fn rows(pair: &mut Pair) -> Result<Vec<Row>> {
    pair.scene.host.sh("tether host stop && tether host start")?;
    pair.scene.wait("an empty host", |status| status.sessions.is_empty())?;
    let idle = pss(pair)?;
    for _ in 0..SESSIONS {
        let draft = Draft::new(&pair.scene.central)?;
        pair.scene.central.say(&pair.scene.host, &Body::Grant(Box::new(draft.grant)))?;
    }
    let number = pair.scene.central.feed.position().number;
    let start = std::time::Instant::now();
    while pair.scene.status()?.feed < number {
        anyhow::ensure!(start.elapsed().as_secs() < 120, "a thousand sessions were not reserved within 120 s");
    }
    let here = pair.scene.status()?.sessions.len();
    anyhow::ensure!(here == SESSIONS, "{here} sessions are here, not {SESSIONS}");
    let full = pss(pair)?;
    let row = |case: &str, value: f64, target| Row {
        case: case.to_owned(),
        unit: "KiB",
        ours: Figures::of(vec![value]),
        beside: None,
        target,
    };
    Ok(vec![
        row("memory idle", idle, "at most 15360 KiB"),
        row("memory 1000 sessions", full, "at most 100 KiB a session above idle"),
    ])
}

/// agentd's proportional share.
pub(super) fn pss(pair: &Pair) -> Result<f64> {
    let text = pair.scene.host.sh("cat /proc/$(systemctl show -p MainPID --value tether-agentd)/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next()).context("no Pss in smaps_rollup")?;
    Ok(number.parse()?)
}
