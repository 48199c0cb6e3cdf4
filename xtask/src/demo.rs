//! The demo: builds the package, then tells the story step by step.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use tether_testhost::{Image, Suite};
use tether_tests::demo::{self, Step};

use crate::run::say;
use crate::{deb, setup};

pub(crate) fn run(suite: Suite, json: bool) -> Result<ExitCode> {
    setup::ensure()?;
    let package = deb::build()?;
    Image::ensure(suite, &mut |line| say(line))?;
    let mut tell = |step: &Step, shown: &str| show(step, shown);
    let story = demo::run_with(suite, &package, &mut tell)?;
    if json {
        println!("{}", serde_json::to_string(&story)?);
    } else {
        let total: u64 = story.steps.iter().map(|step| step.milliseconds).sum();
        eprintln!();
        println!("{}", story.trail);
        eprintln!("{} steps in {total} ms; every record names the human and the agent", story.steps.len());
    }
    Ok(if story.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(step: &Step, shown: &str) {
    let (bold, plain) = if std::io::stderr().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    eprintln!("{:>6} ms  {bold}{}{plain}", step.milliseconds, step.name);
    for line in shown.lines() {
        eprintln!("           {}", line.chars().take(150).collect::<String>());
    }
}
