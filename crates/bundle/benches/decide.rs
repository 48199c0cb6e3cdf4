//! What a decision takes with 10 rules and with 10,000, allowed and refused in turn. Prints one JSON line per row:
//! microseconds of one decision.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;
use tether_bundle::{Command, Policy, source};

const ROUNDS: usize = 1000;
/// Decisions that are timed together: one alone is not much longer than asking for the time.
const TOGETHER: usize = 50;

fn main() {
    let (few, many) = (policy(10), policy(10_000));
    let (mut of_few, mut of_many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        of_few.push(decide(&few));
        of_many.push(decide(&many));
    }
    row("decide 10", &of_few);
    row("decide 10000", &of_many);
}

/// As many rules, each with patterns, for as many programs.
fn policy(rules: usize) -> Policy {
    let mut text = String::from("name = 'bench'\nversion = 1\n");
    for number in 0..rules {
        write!(
            text,
            "[[rule]]\nid = 'r{number}'\nprogram = '/usr/bin/p{number}'\n\
             arguments = ['-n', {{ integer = [1, 100] }}, {{ regex = '[a-z.]+' }}, {{ path = '/var/log' }}]\n"
        )
        .expect("a string takes everything");
    }
    Policy::new(source::compile(&text).expect("it compiles")).expect("it has an index")
}

fn decide(policy: &Policy) -> f64 {
    let argv = |number: &str| ["-n", number, "auth.log", "/var/log/auth.log"].map(str::to_owned);
    let (fits, fits_not) = (argv("5"), argv("500"));
    let start = Instant::now();
    for argv in [&fits, &fits_not].into_iter().cycle().take(TOGETHER) {
        let command = Command { program: "/usr/bin/p7", sha256: None, argv, cwd: "/" };
        black_box(policy.decide(black_box(&command)));
    }
    start.elapsed().as_nanos() as f64 / 1e3 / TOGETHER as f64
}

fn row(name: &str, samples: &[f64]) {
    let samples: Vec<String> = samples.iter().map(|sample| format!("{sample:.3}")).collect();
    println!("{{\"case\":\"{name}\",\"us\":[{}]}}", samples.join(","));
}
