//! Payloads of well-known programs (`tests/payloads`, written for these tests): each must do harm as plain root, and
//! none may confined.

use crate::attacker::Attacker;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use tether_testhost::Host;

/// Where they lie on a host.
const FOLDER: &str = "/usr/local/share/tether-payloads";
const SCRIPT: &str = include_str!("../scenarios/payloads/payloads.py");

const ONE_CLASS: &[&str] = &[
    include_str!("../payloads/shell.toml"),
    include_str!("../payloads/file-read.toml"),
    include_str!("../payloads/file-write.toml"),
];
const MANY_CLASSES: &[&str] = &[include_str!("../payloads/network.toml"), include_str!("../payloads/root.toml")];

/// One payload.
#[derive(Debug, Clone, Serialize)]
pub struct Payload {
    /// Its name: class and program.
    pub name: String,
    /// What it is to do, as GTFOBins names functions.
    pub class: String,
    /// What a shell is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// What is typed at a terminal instead, line by line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

/// What came of one.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Whether it did harm.
    pub harm: bool,
    /// Whether it reached a shell or helper of its own.
    pub reached: bool,
    /// The end of what it printed.
    pub out: String,
}

#[derive(Deserialize)]
struct OneClass {
    class: String,
    payloads: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Script(String),
    Keys(Vec<String>),
}

/// Our own payloads.
pub fn ours() -> Result<Vec<Payload>> {
    let mut all = Vec::new();
    for text in ONE_CLASS {
        let file: OneClass = toml::from_str(text)?;
        all.extend(file.payloads.into_iter().map(|(name, script)| payload(&file.class, &name, Text::Script(script))));
    }
    for text in MANY_CLASSES {
        let file: BTreeMap<String, BTreeMap<String, Text>> = toml::from_str(text)?;
        for (class, payloads) in file {
            all.extend(payloads.into_iter().map(|(name, text)| payload(&class, &name, text)));
        }
    }
    Ok(all)
}

fn payload(class: &str, program: &str, text: Text) -> Payload {
    let (script, keys) = match text {
        Text::Script(script) => (Some(script), None),
        Text::Keys(keys) => (None, Some(keys)),
    };
    Payload { name: format!("{class}.{program}"), class: class.to_owned(), script, keys }
}

/// Puts payloads on a host.
pub fn install(host: &Host, payloads: &[Payload]) -> Result<()> {
    host.write_file(format!("{FOLDER}/payloads.py"), SCRIPT, 0o644)?;
    host.write_file(format!("{FOLDER}/list.json"), serde_json::to_vec(payloads)?, 0o644)?;
    Ok(())
}

/// Runs all that were installed by an attacker.
pub fn run(host: &Host, attacker: &dyn Attacker, payloads: &[Payload]) -> Result<Vec<Outcome>> {
    let line = format!("exec python3 -B {FOLDER}/payloads.py judge 2>/var/tmp/judge.err");
    let mut judge = host.command("/bin/sh").args(&["-c", &line]).spawn()?;
    let mut lines = BufReader::new(judge.stdout.take().context("no stdout")?);
    let mut first = String::new();
    lines.read_line(&mut first)?;
    if first.trim() != "ready" {
        bail!("the judge is not ready: {}", host.sh("cat /var/tmp/judge.err")?);
    }
    let mut reports = String::new();
    if payloads.iter().any(|payload| payload.keys.is_some()) {
        reports.push_str(&attacker.before(&format!("{FOLDER}/payloads.py type -- {}", attacker.prefix()))?);
    }
    if payloads.iter().any(|payload| payload.script.is_some()) {
        reports.push_str(&attacker.attack(&format!("{FOLDER}/payloads.py run"))?);
    }
    let mut stdin = judge.stdin.take().context("no stdin")?;
    stdin.write_all(reports.as_bytes())?;
    drop(stdin);
    let outcomes = lines.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<Outcome>>>()?;
    judge.wait()?;
    ensure!(outcomes.len() == payloads.len(), "{} payloads were run, not {}", outcomes.len(), payloads.len());
    Ok(outcomes)
}

/// A table per class: how many did harm as root, how many of them confined, how many reached a shell there.
pub fn table(root: &[Outcome], confined: &[Outcome]) -> String {
    let mut classes: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (as_root, as_agent) in root.iter().zip(confined) {
        for class in [as_root.class.as_str(), "~ all"] {
            let counts = classes.entry(class).or_default();
            counts[0] += 1;
            counts[1] += usize::from(as_root.harm);
            counts[2] += usize::from(as_root.harm && as_agent.harm);
            counts[3] += usize::from(as_agent.reached);
        }
    }
    let mut text =
        format!("{:22} {:>9} {:>8} {:>9} {:>14}\n", "class", "payloads", "as root", "confined", "reached a shell");
    for (class, [all, as_root, as_agent, reached]) in classes {
        let _ = writeln!(text, "{class:22} {all:>9} {as_root:>8} {as_agent:>9} {reached:>14}");
    }
    text
}

/// One line each.
pub fn describe<'o>(outcomes: impl IntoIterator<Item = &'o Outcome>) -> String {
    outcomes.into_iter().map(|o| format!("  {}: {:?}\n", o.name, o.out)).collect()
}
