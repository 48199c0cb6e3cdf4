//! The benches: figures, each beside what it is measured against.

use std::process::ExitCode;

use anyhow::{Result, bail};
use tether_testhost::{Image, Suite};
use tether_tests::bench::{self, Bench, Row};

use crate::run::say;
use crate::{bench_audit, bench_central, bench_confine, deb, setup};

pub(crate) fn run(name: &str, suite: Suite, quick: bool, json: bool) -> Result<ExitCode> {
    setup::ensure()?;
    let mut tell = |row: &Row| eprintln!("{}", line(row));
    let table = match name {
        "host" => host(suite)?,
        "confine" => Bench { bench: "confine", rows: bench_confine::rows(suite)? },
        "audit" => Bench { bench: "audit", rows: bench_audit::rows(suite)? },
        "central" => bench_central::central(suite, quick, &mut tell)?,
        "revocation" => bench_central::revocation(suite, quick, &mut tell)?,
        "fleet" => bench_central::fleet(suite, quick, &mut tell)?,
        "recording" => Bench { bench: "recording", rows: recording(suite, quick, &mut tell)? },
        "channels" => bench::channels(suite, &mut tell)?,
        _ => bail!(
            "there is no bench {name:?}; there are: host, confine, central, revocation, fleet, audit, recording, channels"
        ),
    };
    if json {
        println!("{}", serde_json::to_string(&table)?);
    } else {
        println!(
            "| case | unit | ours, median (p99, n) | beside, median (p99, n) | ratio | target |\n|---|---|---|---|---|---|"
        );
        table.rows.iter().for_each(|row| println!("{}", line(row)));
    }
    Ok(ExitCode::SUCCESS)
}

fn host(suite: Suite) -> Result<Bench> {
    let package = deb::build()?;
    Image::ensure(suite, &mut |line| say(line))?;
    say("measuring; both sides take turns, which takes a few minutes");
    bench::host(suite, &package, &mut |row: &Row| eprintln!("{}", line(row)))
}

fn recording(suite: Suite, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Vec<Row>> {
    let package = deb::build()?;
    Image::ensure(suite, &mut |line| say(line))?;
    bench::recording::rows(suite, &package, quick, tell)
}

fn line(row: &Row) -> String {
    let figures = |f: &bench::Figures| format!("{} ({}, {})", f.median, f.p99, f.n);
    let beside = row.beside.as_ref().map_or_else(|| "-".to_owned(), |b| format!("{}: {}", b.name, figures(&b.figures)));
    let ratio =
        row.beside.as_ref().map_or_else(|| "-".to_owned(), |b| format!("{:.2}", row.ours.median / b.figures.median));
    format!("| {} | {} | {} | {beside} | {ratio} | {} |", row.case, row.unit, figures(&row.ours), row.target)
}
