//! `cargo xtask bench confine`: what the launcher costs, beside a bare exec and beside bubblewrap, by turns; what deciding
//! costs, beside sudoers; what a large program costs; what replaying a million decisions takes.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tether_testhost::{Image, Suite};
use tether_tests::bench::{Beside, Figures, Row, commands};

use crate::deb;
use crate::run::{capture, cargo, say};

/// Measures on this machine; it takes root.
pub(crate) fn rows(suite: Suite) -> Result<Vec<Row>> {
    let mut rows = launcher()?;
    rows.extend(decisions(suite)?);
    Ok(rows)
}

fn decisions(suite: Suite) -> Result<Vec<Row>> {
    say("measuring decisions, beside sudoers with as many rules, and a program of 50 MB");
    let cases = Cases::of("tether-bundle", "decide")?;
    let package = deb::build()?;
    Image::ensure(suite, &mut |line| say(line))?;
    let decided =
        [("decide 10", 10, cases.figures("decide 10")?), ("decide 10000", 10_000, cases.figures("decide 10000")?)];
    let mut rows = commands::rows(suite, &package, &decided)?;
    say("replaying a million decisions");
    let ours = Cases::of("tether", "replay")?.figures("replay")?;
    rows.push(Row { case: "replay".to_owned(), unit: "us", ours, beside: None, target: "10^6 decisions in 60 s" });
    Ok(rows)
}

/// What one of cargo's benches measured.
pub(crate) struct Cases(Vec<(String, Vec<f64>)>);

impl Cases {
    pub(crate) fn of(package: &str, bench: &str) -> Result<Self> {
        let text = capture(&mut cargo(&["bench", "--quiet", "--locked", "--package", package, "--bench", bench]))?;
        let cases: Vec<_> = text.lines().filter(|line| line.starts_with('{')).map(samples).collect::<Result<_>>()?;
        if cases.is_empty() {
            bail!("{package}: nothing was measured: are you root?");
        }
        Ok(Self(cases))
    }

    pub(crate) fn figures(&self, name: &str) -> Result<Figures> {
        let found = self.0.iter().find(|(case, _)| case == name);
        found.map(|(_, samples)| Figures::of(samples.clone())).with_context(|| format!("no samples of {name:?}"))
    }
}

fn launcher() -> Result<Vec<Row>> {
    say("measuring the launcher: all sides take turns");
    let cases = Cases::of("tether-confine", "launch")?;
    let figures = |name: &str| cases.figures(name);
    let row = |case: &str, ours: &str, name: &'static str, other: &str, target: &'static str| -> Result<Row> {
        let beside = Some(Beside { name, figures: figures(other)? });
        Ok(Row { case: case.to_owned(), unit: "us", ours: figures(ours)?, beside, target })
    };
    let has_bubblewrap = figures("bubblewrap").is_ok();
    if !has_bubblewrap {
        say("bubblewrap is not installed: no row for it");
    }
    let mut rows = Vec::new();
    // Processor time of all processes of a launch besides, since other load on the machine does not change it much.
    for of in ["", ", cpu"] {
        let mut add = |case: &str, ours: &str, name, other: &str, target| -> Result<()> {
            rows.push(row(&format!("{case}{of}"), &format!("{ours}{of}"), name, &format!("{other}{of}"), target)?);
            Ok(())
        };
        add("confine", "confine", "bare exec", "bare", "at most +2 ms")?;
        add("confine, no trees", "confine minimal", "bare exec", "bare", "at most +2 ms")?;
        if has_bubblewrap {
            add("confine bubblewrap", "confine", "bubblewrap", "bubblewrap", "no target")?;
        }
        add("confine proc-links 1000", "proc-links 1000", "without the grant", "confine 1000", "at most +80 ms")?;
    }
    Ok(rows)
}

fn samples(line: &str) -> Result<(String, Vec<f64>)> {
    let value: Value = serde_json::from_str(line).context("the bench printed something else")?;
    let case = value["case"].as_str().context("a row without a case")?;
    let samples =
        value.get("us").or_else(|| value.get("samples")).and_then(Value::as_array).context("a row without samples")?;
    Ok((case.to_owned(), samples.iter().filter_map(Value::as_f64).collect()))
}
