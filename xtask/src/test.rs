//! Every test, and one line at the end that says how it went.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::run::{cargo, say};
use crate::{deb, setup};

/// Tells the tests which package to install; without it they do not use one.
const PACKAGE: &str = "TETHER_DEB";

/// Tells the tests that take minutes to run.
const LONG: &str = "TETHER_TEST_LONG";

pub(crate) fn run(long: bool) -> Result<ExitCode> {
    setup::ensure()?;
    let start = Instant::now();
    let mut tests = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    if deb::is_described()? {
        tests.env(PACKAGE, deb::build()?);
    }
    if long {
        tests.env(LONG, "1");
    }
    say("running the tests");
    let mut child = tests.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no stdout")?;
    let tally = follow(BufReader::new(stdout), std::io::stderr())?;
    let status = child.wait().context("cannot wait for cargo test")?;
    for name in &tally.failures {
        println!("FAILED {name}");
    }
    // A test binary that does not build or dies leaves no count behind, only cargo's status.
    let verdict = if status.success() { "ok" } else { "FAILED" };
    let seconds = start.elapsed().as_secs();
    println!("{verdict}: {} passed, {} failed, {} ignored in {seconds} s", tally.passed, tally.failed, tally.ignored);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    ignored: u32,
    failures: Vec<String>,
}

/// Copies the test harness' lines as they come and counts.
fn follow(lines: impl BufRead, mut copy: impl Write) -> Result<Tally> {
    let mut tally = Tally::default();
    for line in lines.lines() {
        let line = line.context("cannot read what cargo test says")?;
        writeln!(copy, "{line}").context("cannot write progress")?;
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            tally.failures.push(name.to_owned());
        }
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
                let place = words.iter().position(|word| *word == what);
                place.and_then(|place| words[place - 1].parse::<u32>().ok()).unwrap_or(0)
            };
            tally.passed += count("passed");
            tally.failed += count("failed");
            tally.ignored += count("ignored");
        }
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::follow;

    #[test]
    fn counts_what_the_harness_says() {
        let text = "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\n\n\
            test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n\
            test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s\n";
        let tally = follow(text.as_bytes(), std::io::sink()).unwrap();
        assert_eq!((tally.passed, tally.failed, tally.ignored), (21, 1, 1));
        assert_eq!(tally.failures, ["b::c"]);
    }
}
