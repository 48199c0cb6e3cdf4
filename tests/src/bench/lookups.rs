//! Look-ups of names, with agentd in every state, beside files alone on the same host.

use super::figures::parse;
use super::pair::{Pair, timer};
use super::{Beside, Figures, Row};
use anyhow::Result;

const NOBODY: &str = "nobody-has-this-name";
const LOOKUPS: &str = "2000";
const PROCESSES: &str = "100";
/// Rounds in which both sides take turns.
const ROUNDS: usize = 5;

/// All look-up rows.
pub fn rows(pair: &mut Pair) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let warm = "warm: at most +0.5 us";
    rows.push(compared(pair, "lookup foreign running", NOBODY, "lookup", LOOKUPS, warm)?);
    pair.scene.host.sh("systemctl stop tether-agentd")?;
    rows.push(compared(pair, "lookup foreign stopped", NOBODY, "lookup", LOOKUPS, warm)?);
    pair.scene.host.sh("systemctl start tether-agentd; systemctl kill --signal=STOP tether-agentd")?;
    rows.push(compared(pair, "lookup foreign hung", NOBODY, "lookup", LOOKUPS, warm)?);
    pair.scene.host.sh("systemctl kill --signal=CONT tether-agentd")?;
    pair.scene.resume()?;
    rows.push(compared(pair, "lookup foreign cold", NOBODY, "cold", PROCESSES, "cold process: at most +200 us")?);
    let (draft, _) = pair.scene.session()?;
    rows.push(compared(
        pair,
        "lookup ours",
        &draft.login,
        "lookup",
        LOOKUPS,
        "no target; beside files that do not have it",
    )?);
    Ok(rows)
}

fn compared(pair: &Pair, case: &str, name: &str, how: &str, count: &str, target: &'static str) -> Result<Row> {
    let host = &pair.scene.host;
    host.sh("cp /etc/nsswitch.conf /etc/nsswitch.ours; sed -E 's/^(passwd|group):.*/\\1: files/' /etc/nsswitch.conf > /etc/nsswitch.files; sed -E 's/^(passwd|group):.*/\\1: files tether/' /etc/nsswitch.ours > /etc/nsswitch.tether")?;
    let (mut ours, mut files) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (conf, samples) in [("tether", &mut ours), ("files", &mut files)] {
            host.sh(&format!("cp /etc/nsswitch.{conf} /etc/nsswitch.conf"))?;
            samples.extend(parse(&timer(host, None, &[how, name, count])?, 1.0));
        }
    }
    host.sh("cp /etc/nsswitch.ours /etc/nsswitch.conf")?;
    let beside = Some(Beside { name: "files alone", figures: Figures::of(files) });
    Ok(Row { case: case.to_owned(), unit: "ns", ours: Figures::of(ours), beside, target })
}
