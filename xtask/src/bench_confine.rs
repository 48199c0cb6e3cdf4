//! `cargo xtask bench confine`: what the launcher costs, beside a bare exec and beside bubblewrap, by turns.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tether_tests::bench::{Beside, Figures, Row};

use crate::run::{capture, cargo, say};

/// Measures on this machine; it takes root.
pub(crate) fn rows() -> Result<Vec<Row>> {
    say("measuring the launcher: all sides take turns");
    let text =
        capture(&mut cargo(&["bench", "--quiet", "--locked", "--package", "tether-confine", "--bench", "launch"]))?;
    let cases: Vec<(String, Vec<f64>)> =
        text.lines().filter(|line| line.starts_with('{')).map(samples).collect::<Result<_>>()?;
    if cases.is_empty() {
        bail!("nothing was measured: are you root?");
    }
    let figures = |name: &str| -> Result<Figures> {
        let found = cases.iter().find(|(case, _)| case == name);
        found.map(|(_, samples)| Figures::of(samples.clone())).with_context(|| format!("no samples of {name:?}"))
    };
    let row = |case: &str, ours: &str, name: &'static str, other: &str, target: &'static str| -> Result<Row> {
        let beside = Some(Beside { name, figures: figures(other)? });
        Ok(Row { case: case.to_owned(), unit: "us", ours: figures(ours)?, beside, target })
    };
    let mut rows = vec![
        row("confine", "confine", "bare exec", "bare", "at most +2 ms")?,
        row("confine, no trees", "confine minimal", "bare exec", "bare", "at most +2 ms")?,
    ];
    if figures("bubblewrap").is_ok() {
        rows.push(row("confine bubblewrap", "confine", "bubblewrap", "bubblewrap", "no target")?);
    } else {
        say("bubblewrap is not installed: no row for it");
    }
    rows.push(row(
        "confine proc-links 1000",
        "proc-links 1000",
        "without the grant",
        "confine 1000",
        "at most +80 ms",
    )?);
    Ok(rows)
}

fn samples(line: &str) -> Result<(String, Vec<f64>)> {
    let value: Value = serde_json::from_str(line).context("the bench printed something else")?;
    let case = value["case"].as_str().context("a row without a case")?;
    let samples = value["us"].as_array().context("a row without samples")?;
    Ok((case.to_owned(), samples.iter().filter_map(Value::as_f64).collect()))
}
