//! The same payloads by plain root and by an agent, each judged on the host that it runs on.

use super::data::Payload;
use crate::agent::Connection;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout};
use std::time::Duration;
use tether_testhost::Host;

/// Where it all lies on a host.
pub const FOLDER: &str = "/usr/local/share/tether-gtfobins";
const SCRIPT: &str = include_str!("../../scenarios/gtfobins/gtfobins.py");
/// How long a whole run may take.
const LIMIT: Duration = Duration::from_secs(1500);

/// Who typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Root, in an overlay of each payload's own.
    Root,
    /// An agent, under sudo.
    Confined,
}

/// What came of one.
#[derive(Debug, Clone, Deserialize)]
pub struct Outcome {
    /// Its place among those that were run.
    pub number: usize,
    /// What harm was seen, or nothing.
    pub harm: String,
    /// Whether the shell that it is typed into began at all.
    pub began: bool,
    /// Whether it reached a shell or command of its own.
    pub reached: bool,
    /// The end of what its terminal showed.
    pub out: String,
}

/// Puts payloads on a host.
pub fn install(host: &Host, payloads: &[Payload]) -> Result<()> {
    host.write_file(format!("{FOLDER}/gtfobins.py"), SCRIPT, 0o644)?;
    host.write_file(format!("{FOLDER}/list.json"), serde_json::to_vec(payloads)?, 0o644)?;
    Ok(())
}

/// Root's half: plants, watches, listens, and judges.
struct Judge {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Judge {
    fn prepare(host: &Host) -> Result<Self> {
        let line = format!("exec python3 -B {FOLDER}/gtfobins.py judge 2>/var/tmp/judge.err");
        let mut child = host.command("/bin/sh").args(&["-c", &line]).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        if first.trim() != "ready" {
            bail!("the judge is not ready: {}", host.sh("cat /var/tmp/judge.err")?);
        }
        Ok(Self { child, lines })
    }

    fn verdicts(mut self, reports: &str) -> Result<Vec<Outcome>> {
        let mut stdin = self.child.stdin.take().context("no stdin")?;
        stdin.write_all(reports.as_bytes())?;
        drop(stdin);
        let outcomes = self.lines.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<_>>>()?;
        self.child.wait()?;
        Ok(outcomes)
    }
}

/// All that were installed, by root.
pub fn plain_root(host: &Host, payloads: &[Payload]) -> Result<Vec<Outcome>> {
    let judge = Judge::prepare(host)?;
    // By a file: what a payload leaves behind may hold the player's output.
    let line = format!("cd /var/tmp; python3 -B {FOLDER}/gtfobins.py play root > report 2> play.err; cat report");
    let output = host.command("/bin/sh").args(&["-c", &line]).timeout(LIMIT).output()?;
    judged(host, judge, &String::from_utf8_lossy(&output.stdout), payloads)
}

/// What changes on a host that an agent works on, by those who keep its records and keep it fresh.
const EXPECTED: &str = "^/(var/log|var/lib/tether|var/spool/tether|var/lib/systemd|var/lib/gtfobins|var/tmp/judge.err)";

/// All that were installed, by an agent; and which files of the host changed meanwhile, wherever they are.
pub fn confined(host: &Host, agent: &Connection<'_>, payloads: &[Payload]) -> Result<(Vec<Outcome>, String)> {
    let judge = Judge::prepare(host)?;
    host.sh("touch /var/lib/gtfobins/began; sync")?;
    let mut player =
        agent.start(&format!("exec timeout {} python3 -B {FOLDER}/gtfobins.py play agent", LIMIT.as_secs()))?;
    drop(player.stdin.take());
    let mut reports = String::new();
    player.stdout.take().context("no stdout")?.read_to_string(&mut reports)?;
    let ended = player.wait_with_output()?;
    ensure!(ended.status.success(), "the player: {}", String::from_utf8_lossy(&ended.stderr));
    let find = format!("find / -xdev -cnewer /var/lib/gtfobins/began ! -type d | grep -vE '{EXPECTED}'; true");
    let changed = host.sh(&find)?;
    Ok((judged(host, judge, &reports, payloads)?, changed))
}

fn judged(host: &Host, judge: Judge, reports: &str, payloads: &[Payload]) -> Result<Vec<Outcome>> {
    let outcomes = judge.verdicts(reports)?;
    let said = || host.sh("cat /var/tmp/play.err /var/tmp/judge.err 2>/dev/null; true").unwrap_or_default();
    ensure!(outcomes.len() == payloads.len(), "{} of {} were run: {}", outcomes.len(), payloads.len(), said());
    Ok(outcomes)
}
