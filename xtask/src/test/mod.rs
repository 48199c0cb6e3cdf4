//! Every test, and one line at the end that says how it went.
//!
//! The test programs are built once and then run here, not by cargo: two at a time where that is no harm, and each
//! one's words in one piece. A test on a real host that failed has one more chance, alone, when all else is over:
//! hosts boot, sign and wait on two cores that others may use too. A unit test has none.

mod lanes;
mod program;
mod tally;

use std::io::Write;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::run::{cargo, say};
use crate::{deb, faulty, setup};
use lanes::Stage;
use program::{Program, Run};
use tally::{Tally, Verdict};

/// Tells the tests which package to install; without it they do not use one.
const PACKAGE: &str = "TETHER_DEB";

/// The same for central's package.
const CENTRAL_PACKAGE: &str = "TETHER_CENTRAL_DEB";

/// Tells the tests where the programs are that fail on purpose.
const FAULTY: &str = "TETHER_FAULTY";

/// Tells the tests that take minutes to run.
const LONG: &str = "TETHER_TEST_LONG";

/// How many programs run at a time.
const LANES: usize = 2;

/// What the programs are told, and how long each may take.
struct Settings {
    environment: Vec<(&'static str, std::ffi::OsString)>,
    limit: Duration,
}

pub(crate) fn run(long: bool) -> Result<ExitCode> {
    setup::ensure()?;
    setup::provider()?;
    let start = Instant::now();
    let settings = settings(long)?;
    say("building the tests");
    let programs = program::build()?;
    let mut tally = Tally::default();
    for (stage, of_it) in lanes::plan(programs) {
        say(format!("{}: {} programs", stage.name(), of_it.len()));
        let lanes = if stage == Stage::Alone { 1 } else { LANES };
        lanes::each(lanes, of_it, |program| tally::of(&program, &run_whole(&program, &settings)))
            .into_iter()
            .for_each(|one| tally.add(one));
    }
    tally.add(doc_tests()?);
    again(&mut tally, &settings);
    Ok(report(&tally, start.elapsed()))
}

fn settings(long: bool) -> Result<Settings> {
    let mut environment = Vec::new();
    if deb::is_described()? {
        environment.push((PACKAGE, deb::build()?.into()));
        environment.push((CENTRAL_PACKAGE, deb::build_central()?.into()));
        environment.push((FAULTY, faulty::build()?.into()));
    }
    if long {
        environment.push((LONG, "1".into()));
    }
    // A program that hangs is a failure, and the others still get their turn.
    let limit = Duration::from_secs(if long { 3 * 3600 } else { 15 * 60 });
    Ok(Settings { environment, limit })
}

/// Runs a program's tests, and prints all that it said in one piece.
fn run_whole(program: &Program, settings: &Settings) -> Run {
    let run = program.run(&[], &settings.environment, settings.limit);
    print_whole(&program.name, &run);
    run
}

fn print_whole(name: &str, run: &Run) {
    let mut out = std::io::stderr().lock();
    // Nobody reads it: that is no failure of a test.
    let _ = writeln!(out, "==> {name}, {} s\n{}", run.took.as_secs(), run.said.trim_end());
}

/// Tests of the examples in the documentation; cargo alone can build them.
fn doc_tests() -> Result<Tally> {
    let start = Instant::now();
    let output = cargo(&["test", "--doc", "--workspace", "--locked", "--no-fail-fast"])
        .stdin(Stdio::null())
        .output()
        .context("cannot run cargo test --doc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let run = Run { said, end: program::End::of(output.status), took: start.elapsed() };
    print_whole("examples in the documentation", &run);
    Ok(tally::of_documentation(&run))
}

/// The second and last chance of tests on real hosts, each alone.
fn again(tally: &mut Tally, settings: &Settings) {
    for failure in tally.with_a_second_chance() {
        let run = failure.program.run(&["--exact", &failure.test], &settings.environment, settings.limit);
        print_whole(&format!("{}, once more and alone", failure.name()), &run);
        if tally::of(&failure.program, &run).passed == 1 && run.end == program::End::Passed {
            tally.passed_alone(&failure);
        }
    }
}

fn report(tally: &Tally, took: Duration) -> ExitCode {
    for name in &tally.unsteady {
        println!("UNSTEADY {name} (passed alone)");
    }
    for name in tally.failures() {
        println!("FAILED {name}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    let verdict = tally.verdict();
    let word = if verdict == Verdict::Passed { "ok" } else { "FAILED" };
    println!(
        "{word}: {} passed, {} failed, {} ignored in {} s",
        tally.passed,
        tally.failed,
        tally.ignored,
        took.as_secs()
    );
    if verdict == Verdict::Passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
