//! Counting what the test programs say.

use super::program::{End, Program, Run};

/// With more failures than this nothing is tried again: each takes up to a minute, alone.
const AGAIN_MOST: usize = 12;

/// How it went as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
}

/// One test that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// In which program.
    pub program: Program,
    /// Its name there.
    pub test: String,
}

impl Failure {
    /// As people know it.
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.program.name, self.test)
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub passed: u32,
    pub failed: u32,
    pub ignored: u32,
    /// Tests on hosts that failed beside others and passed alone.
    pub unsteady: Vec<String>,
    failures: Vec<Failure>,
    /// What no test's name says: a program that died, an example that failed.
    other: Vec<String>,
}

/// Counts one run of a program.
pub(super) fn of(program: &Program, run: &Run) -> Tally {
    let mut tally = counted(&program.name, run);
    let failed = names_of_failed(&run.said);
    tally.failures = failed.into_iter().map(|test| Failure { program: program.clone(), test }).collect();
    tally
}

/// Counts the run of all examples in the documentation.
pub(super) fn of_documentation(run: &Run) -> Tally {
    let mut tally = counted("examples in the documentation", run);
    tally.other.extend(names_of_failed(&run.said));
    tally
}

fn counted(name: &str, run: &Run) -> Tally {
    let mut tally = Tally::default();
    let mut ended = false;
    for counts in run.said.lines().filter_map(|line| line.strip_prefix("test result: ")) {
        ended = true;
        tally.passed += count(counts, "passed");
        tally.failed += count(counts, "failed");
        tally.ignored += count(counts, "ignored");
    }
    // A program that died has no last line, or failed without a test of its that did.
    if let End::Failed(why) = &run.end
        && (!ended || tally.failed == 0)
    {
        tally.failed += 1;
        tally.other.push(format!("{name}: {why}"));
    }
    tally
}

fn count(counts: &str, what: &str) -> u32 {
    let words: Vec<&str> = counts.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let pair = words.windows(2).find(|pair| pair[1] == what);
    pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
}

fn names_of_failed(said: &str) -> Vec<String> {
    let failed = said.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    failed.map(str::to_owned).collect()
}

impl Tally {
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.unsteady.extend(other.unsteady);
        self.failures.extend(other.failures);
        self.other.extend(other.other);
    }

    /// The failures that are tried once more: machines are noisy, code is not. Many failures are no noise.
    pub(super) fn with_a_second_chance(&self) -> Vec<Failure> {
        let on_hosts: Vec<Failure> = self.failures.iter().filter(|f| f.program.on_hosts).cloned().collect();
        if on_hosts.len() > AGAIN_MOST { Vec::new() } else { on_hosts }
    }

    /// A failure passed alone: it counts as passed, and is told of.
    pub(super) fn passed_alone(&mut self, failure: &Failure) {
        let before = self.failures.len();
        self.failures.retain(|other| other != failure);
        if self.failures.len() < before {
            self.failed -= 1;
            self.passed += 1;
            self.unsteady.push(failure.name());
        }
    }

    /// The names of what failed in the end.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.iter().map(Failure::name).chain(self.other.iter().cloned()).collect()
    }

    pub(super) fn verdict(&self) -> Verdict {
        // Nothing at all was run: that is no success either.
        if self.failed == 0 && self.failures().is_empty() && self.passed > 0 {
            Verdict::Passed
        } else {
            Verdict::Failed
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::program::example;
    use super::*;

    const SAID: &str = "running 3 tests\ntest a ... ok\ntest b::c ... FAILED\n\n\
        test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";

    fn run(said: &str, end: &str) -> Run {
        let end = if end.is_empty() { End::Passed } else { End::Failed(end.to_owned()) };
        Run { said: said.to_owned(), end, took: Duration::ZERO }
    }

    #[test]
    fn counts_what_the_harness_says() {
        let mut tally = of(&example("end", true), &run(SAID, "exit status: 101"));
        tally.add(of(
            &example("other", true),
            &run("test result: ok. 20 passed; 0 failed; 0 ignored; 0 measured; finished in 1.00s\n", ""),
        ));
        assert_eq!((tally.passed, tally.failed, tally.ignored), (21, 1, 1));
        assert_eq!(tally.failures(), ["package: end b::c"]);
        assert_eq!(tally.verdict(), Verdict::Failed);
    }

    #[test]
    fn a_test_on_a_host_has_a_second_chance_and_only_one() {
        let mut tally = of(&example("end", true), &run(SAID, "exit status: 101"));
        let again = tally.with_a_second_chance();
        assert_eq!(again.len(), 1);
        tally.passed_alone(&again[0]);
        tally.passed_alone(&again[0]);
        assert_eq!((tally.passed, tally.failed), (2, 0));
        assert_eq!(tally.unsteady, ["package: end b::c"]);
        assert_eq!(tally.verdict(), Verdict::Passed);
        for n in 0..=AGAIN_MOST {
            let one = example(&format!("end{n}"), true);
            tally.add(of(&one, &run(SAID, "exit status: 101")));
        }
        assert!(tally.with_a_second_chance().is_empty(), "that many are no noise");
        let unit = of(&example("tether_audit", false), &run(SAID, "exit status: 101"));
        assert!(unit.with_a_second_chance().is_empty() && unit.verdict() == Verdict::Failed);
    }

    #[test]
    fn a_program_that_dies_is_a_failure_whatever_it_said_before() {
        let killed = of(&example("end", true), &run("running 2 tests\ntest a ... ok\n", "signal: 9 (SIGKILL)"));
        assert_eq!(killed.failures(), ["package: end: signal: 9 (SIGKILL)"]);
        assert!(killed.with_a_second_chance().is_empty() && killed.failed == 1);
        let late = of(&example("end", true), &run("test result: ok. 2 passed; 0 failed; 0 ignored\n", "signal: 6"));
        assert_eq!((late.passed, late.failed, late.verdict()), (2, 1, Verdict::Failed));
        assert_eq!(Tally::default().verdict(), Verdict::Failed, "nothing was run");
    }

    #[test]
    fn a_failed_example_is_named() {
        let said =
            "test crates/audit/src/lib.rs - (line 3) ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        let tally = of_documentation(&run(said, "exit status: 101"));
        assert_eq!(tally.failures(), ["crates/audit/src/lib.rs - (line 3)"]);
        assert_eq!(tally.failed, 1);
    }
}
