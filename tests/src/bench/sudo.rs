//! sudo: for a person, and for an agent.

use super::figures::parse;
use super::pair::{Pair, timer};
use super::{Beside, Figures, Row};
use anyhow::{Result, ensure};

const RUNS: &str = "20";
/// Rounds in which both sides take turns.
const ROUNDS: usize = 10;
const BUNDLE: &str =
    "name = 'triage'\nversion = 9\n[[rule]]\nid = 'true'\nprogram = '/usr/bin/true'\narguments = 'none'\n";

/// `sudo -n true`, from fork to its end.
pub fn rows(pair: &mut Pair) -> Result<Vec<Row>> {
    pair.scene.publish(BUNDLE)?;
    let (_, agent) = pair.scene.session()?;
    let connection = agent.connect()?;
    let (mut person, mut agents, mut stock) = (Vec::new(), Vec::new(), Vec::new());
    let command = ["run", RUNS, "sudo", "-n", "true"];
    for _ in 0..ROUNDS {
        person.extend(parse(&timer(&pair.scene.host, Some("carol"), &command)?, 1e3));
        stock.extend(parse(&timer(&pair.stock, Some("carol"), &command)?, 1e3));
        let ran = connection.run(&format!("timer run {RUNS} sudo -n true"))?;
        ensure!(ran.code == 0, "{ran:?}");
        agents.extend(parse(&ran.out, 1e3));
    }
    let beside = || Some(Beside { name: "stock sudo", figures: Figures::of(stock.clone()) });
    Ok(vec![
        Row {
            case: "sudo human".to_owned(),
            unit: "us",
            ours: Figures::of(person),
            beside: beside(),
            target: "at most +0.3 ms",
        },
        Row {
            case: "sudo agent".to_owned(),
            unit: "us",
            ours: Figures::of(agents),
            beside: beside(),
            target: "faster, before confinement; this is with it, and with two records on disk",
        },
    ])
}
