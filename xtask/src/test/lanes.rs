//! In which order the programs run, and how many at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::program::Program;

/// Programs on hosts that take longest, longest first: a long one that is started last keeps one lane busy while
/// the other is idle. One that is not listed is taken for long.
const LONGEST: [&str; 40] = [
    "install",
    "inhost",
    "strangers",
    "battery",
    "races",
    "gtfobins",
    "forgeries",
    "panics",
    "recorder_steps",
    "session_recording",
    "power",
    "end",
    "crashes",
    "root_attacker",
    "courier_steps",
    "many",
    "hours",
    "full_disk",
    "run",
    "recording",
    "sudo",
    "useful",
    "bundles",
    "storm",
    "abuse_host",
    "login",
    "revocation",
    "central",
    "chain",
    "shipped",
    "central_package",
    "clock",
    "lab",
    "demo",
    "delegated",
    "glewlwyd",
    "admins",
    "host",
    "play",
    "humans",
];

/// Compares waiting times, which other load upsets.
const ALONE: &str = "humans";

/// One after the other, so that a mistake in a crate shows before any host is booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// The crates' own tests.
    Crates,
    /// Tests on real hosts, in lanes.
    Hosts,
    /// The same, one at a time.
    Alone,
}

impl Stage {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crates => "the crates' own tests",
            Self::Hosts => "tests on real hosts",
            Self::Alone => "tests on real hosts that want the machine for themselves",
        }
    }

    fn of(program: &Program) -> Self {
        match program.on_hosts {
            false => Self::Crates,
            true if program.target == ALONE => Self::Alone,
            true => Self::Hosts,
        }
    }
}

/// The programs of each stage in the order in which they are started.
pub(super) fn plan(mut programs: Vec<Program>) -> Vec<(Stage, Vec<Program>)> {
    // No position sorts before every position.
    programs.sort_by_key(|program| LONGEST.iter().position(|target| *target == program.target));
    let of = |stage| programs.iter().filter(|program| Stage::of(program) == stage).cloned().collect();
    [Stage::Crates, Stage::Hosts, Stage::Alone].map(|stage| (stage, of(stage))).to_vec()
}

/// Does something with each item, in so many lanes; the results in the order in which they came.
pub(super) fn each<I: Send, R: Send>(lanes: usize, items: Vec<I>, deed: impl Fn(I) -> R + Sync) -> Vec<R> {
    let queue = Mutex::new(VecDeque::from(items));
    let results = Mutex::new(Vec::new());
    let lane = || {
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(item) = next else { return };
            let result = deed(item);
            results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::program::example;
    use super::*;

    #[test]
    fn crates_come_first_the_longest_first_and_what_measures_last() {
        let programs = ["humans", "login", "new_one", "strangers"].map(|target| example(target, true));
        let plan = plan(programs.into_iter().chain([example("humans", false)]).collect());
        let names = |stage: usize| plan[stage].1.iter().map(|p| p.target.as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["humans"]);
        assert_eq!(names(1), ["new_one", "strangers", "login"]);
        assert_eq!(names(2), ["humans"]);
        assert!(plan[2].1[0].on_hosts && plan[2].0 == Stage::Alone);
    }

    #[test]
    fn as_many_at_a_time_as_there_are_lanes_and_each_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        // Two that wait for each other end only if they run at the same time.
        let both = Barrier::new(2);
        let mut done = each(2, (0..10).collect(), |n| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            both.wait();
            now.fetch_sub(1, Ordering::SeqCst);
            n
        });
        done.sort_unstable();
        assert_eq!(done, (0..10).collect::<Vec<_>>());
        assert_eq!(most.into_inner(), 2);
        assert_eq!(each(1, vec![1, 2, 3], |n| n), [1, 2, 3]);
    }
}
