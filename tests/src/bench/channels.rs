//! What recording costs a session: a keystroke's way and back, a long output, agentd's memory. Beside a person's ssh to
//! the same host, which nobody records.

use super::{Bench, Beside, Figures, Row};
use crate::{People, Scene};
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tether_testhost::{Storage, Suite};

const KEYS: usize = 400;
const ROUNDS: usize = 3;
const CHANNELS: usize = 10;
/// Each of these many sessions has [`CHANNELS`] open channels, once.
const SESSIONS: usize = 10;
const LONG: &str = "head -c 268435456 /dev/zero";

/// Measures on a suite with the package to test; `tell` hears each row as it comes.
pub fn channels(suite: Suite, tell: &mut dyn FnMut(&Row)) -> Result<Bench> {
    let mut scene = Scene::with(suite, Storage::Disk, "")?;
    let people = People::new(&scene.lab, &scene.host)?;
    let mut rows = vec![keystroke(&mut scene, &people)?, long_output(&mut scene, &people)?];
    rows.push(memory(&mut scene)?);
    rows.iter().for_each(tell);
    Ok(Bench { bench: "channels", rows })
}

fn row(case: &str, unit: &'static str, ours: Vec<f64>, beside: Option<Vec<f64>>, target: &'static str) -> Row {
    let beside = beside.map(|figures| Beside { name: "a person's ssh", figures: Figures::of(figures) });
    Row { case: case.to_owned(), unit, ours: Figures::of(ours), beside, target }
}

/// A key is typed at a terminal in raw mode, and its echo comes back.
fn keystroke(scene: &mut Scene, people: &People) -> Result<Row> {
    let (_, agent) = scene.session()?;
    let mut ssh = agent.client("ssh")?;
    ssh.args(["-tt", &agent.destination]);
    let mut ours = Typist::start(&mut ssh)?;
    let mut theirs = Typist::start(people.client("bob")?.arg("-tt"))?;
    let (mut recorded, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..KEYS {
        recorded.push(ours.key()?);
        plain.push(theirs.key()?);
    }
    Ok(row("keystroke", "us", recorded, Some(plain), "at most 1000 us more"))
}

struct Typist(Child);

impl Typist {
    fn start(ssh: &mut Command) -> Result<Self> {
        let child =
            ssh.arg("stty raw -echo; echo ready; exec cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut typist = Self(child);
        let mut shown = Vec::new();
        while !shown.ends_with(b"ready\n") && !shown.ends_with(b"ready\r\n") {
            shown.push(typist.read()?);
        }
        Ok(typist)
    }

    fn key(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.0.stdin.as_mut().context("it is piped")?.write_all(b"x")?;
        ensure!(self.read()? == b'x', "another key came back");
        Ok(start.elapsed().as_secs_f64() * 1e6)
    }

    fn read(&mut self) -> Result<u8> {
        let mut one = [0];
        self.0.stdout.as_mut().context("it is piped")?.read_exact(&mut one)?;
        Ok(one[0])
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn long_output(scene: &mut Scene, people: &People) -> Result<Row> {
    let (mut recorded, mut plain) = (Vec::new(), Vec::new());
    let timed = |ssh: &mut Command| -> Result<f64> {
        let start = Instant::now();
        let output = ssh.arg(LONG).stdout(Stdio::null()).stderr(Stdio::piped()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(start.elapsed().as_secs_f64() * 1e3)
    };
    for _ in 0..ROUNDS {
        let (_, agent) = scene.session()?;
        let ours = timed(agent.client("ssh")?.arg(&agent.destination));
        recorded.push(ours.with_context(|| scene.host.journal("tether-agentd").unwrap_or_default())?);
        plain.push(timed(&mut people.client("bob")?)?);
    }
    Ok(row("output of 256 MiB", "ms", recorded, Some(plain), "reported"))
}

/// What agentd has more of for each recorded channel.
fn memory(scene: &mut Scene) -> Result<Row> {
    let before = pss(scene)?;
    let mut agents = Vec::new();
    for _ in 0..SESSIONS {
        agents.push(scene.session()?.1);
    }
    let connections: Vec<_> = agents.iter().map(crate::Agent::connect).collect::<Result<_>>()?;
    let mut open = Vec::new();
    for connection in &connections {
        for _ in 0..CHANNELS {
            let mut child = connection.start("echo up; exec cat")?;
            child.stdout.as_mut().context("it is piped")?.read_exact(&mut [0; 3])?;
            open.push(child);
        }
    }
    let after = pss(scene)?;
    for mut child in open {
        child.kill().and_then(|()| child.wait())?;
    }
    let each = (after - before) / (SESSIONS * CHANNELS) as f64;
    Ok(row("memory of agentd, a recorded channel", "KiB", vec![each], None, "at most 100 KiB"))
}

fn pss(scene: &Scene) -> Result<f64> {
    let text = scene.host.sh("cat /proc/$(systemctl show -p MainPID --value tether-agentd)/smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    Ok(line.and_then(|line| line.split_whitespace().next()).context("no Pss in smaps_rollup")?.parse()?)
}
