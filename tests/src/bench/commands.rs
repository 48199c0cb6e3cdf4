//! What deciding costs beside sudoers with as many rules, and what a large program costs, hashed anew and known.

use super::figures::parse;
use super::pair::{Pair, timer};
use super::{Beside, Figures, Row};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::Path;
use tether_testhost::{Host, Suite};

const ROUNDS: usize = 10;
const RUNS: &str = "5";
const BUNDLE: &str = "name = 'triage'\nversion = 9\n\
    [[rule]]\nid = 'true'\nprogram = '/usr/bin/true'\narguments = 'none'\n\
    [[rule]]\nid = 'big'\nprogram = '/usr/local/bin/big'\narguments = 'none'\n";

/// `decide` (its samples were taken before) and `sudo agent 50MB`.
pub fn rows(suite: Suite, package: &Path, decided: &[(&'static str, usize, Figures)]) -> Result<Vec<Row>> {
    let mut pair = Pair::new(suite, package)?;
    let mut rows = Vec::new();
    for (case, count, ours) in decided {
        let beside =
            Some(Beside { name: "stock sudo -n true, whole, as many rules", figures: sudoers(&pair.stock, *count)? });
        rows.push(Row { case: (*case).to_owned(), unit: "us", ours: *ours, beside, target: "at most 20 us, and flat" });
    }
    rows.extend(big(&mut pair)?);
    Ok(rows)
}

/// A whole `sudo -n true` where sudoers has so many rules, of which the last is the one that fits.
fn sudoers(host: &Host, count: usize) -> Result<Figures> {
    let mut text = String::new();
    for number in 1..count {
        writeln!(text, "carol ALL=(root) NOPASSWD: /usr/bin/p{number} -n [0-9]* /var/log/*").context("text")?;
    }
    text.push_str("carol ALL=(root) NOPASSWD: /usr/bin/true\n");
    host.write_file("/etc/sudoers.d/carol", text, 0o440)?;
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        samples.extend(parse(&timer(host, Some("carol"), &["run", RUNS, "sudo", "-n", "true"])?, 1e3));
    }
    Ok(Figures::of(samples))
}

/// A program of 50 MB. Cold: its inode was touched, so it is hashed anew.
fn big(pair: &mut Pair) -> Result<Vec<Row>> {
    pair.scene.publish(BUNDLE)?;
    let (_, agent) = pair.scene.session()?;
    let connection = agent.connect()?;
    let host = &pair.scene.host;
    host.sh("cp /usr/bin/true /usr/local/bin/big && truncate -s 50M /usr/local/bin/big")?;
    let run = |runs: &str, program: &str| -> Result<Vec<f64>> {
        let ran = connection.run(&format!("timer run {runs} sudo -n {program}"))?;
        ensure!(ran.code == 0, "{ran:?}");
        Ok(parse(&ran.out, 1e3))
    };
    let (mut cold, mut warm, mut small) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        host.sh("chmod 755 /usr/local/bin/big")?;
        cold.extend(run("1", "/usr/local/bin/big")?);
        warm.extend(run(RUNS, "/usr/local/bin/big")?);
        small.extend(run(RUNS, "true")?);
    }
    let row = |case: &str, ours: Vec<f64>, target: &'static str| Row {
        case: case.to_owned(),
        unit: "us",
        ours: Figures::of(ours),
        beside: Some(Beside { name: "sudo agent, a small program", figures: Figures::of(small.clone()) }),
        target,
    };
    Ok(vec![
        row("sudo agent 50MB cold", cold, "no target; it is read once"),
        row("sudo agent 50MB warm", warm, "as a small program"),
    ])
}
