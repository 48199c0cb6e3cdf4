//! What recording costs: a command that prints a great deal, a key at a terminal, agentd's memory.

use super::memory::pss;
use super::pair::Pair;
use super::{Beside, Figures, Row};
use crate::agent::Agent;
use crate::people::People;
use anyhow::{Context, Result, ensure};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tether_testhost::{Host, Suite};

/// Rounds in which all sides take turns, and of a quick run.
const ROUNDS: usize = 5;
const QUICK: usize = 1;
/// Keys that are typed on each side.
const KEYS: usize = 400;
/// Channels that are recorded at once: nine a session, since sshd serves ten a connection and one is kept free.
const SESSIONS: usize = 4;
const CHANNELS: usize = 9;
const MIB: usize = 1 << 20;
const FILE: &str = "/srv/random";
const RECORDINGS: &str = "/var/lib/tether/recordings";
const STOCK_LOG: &str = "/var/log/sudo-io";
const BUNDLE: &str = "name = 'triage'\nversion = 9\n[[rule]]\nid = 'cat'\nprogram = '/usr/bin/cat'\n\
    arguments = [{ path = '/srv' }]\noutput_limit = '1GiB'\ntime_limit = '10m'\n";

/// All rows; a quick run prints 64 MiB instead of 1 GiB.
pub fn rows(suite: Suite, package: &Path, quick: bool, tell: &mut dyn FnMut(&Row)) -> Result<Vec<Row>> {
    let mut pair = Pair::new(suite, package)?;
    let people = People::new(&pair.scene.lab, &pair.stock)?;
    give_room(&mut pair)?;
    let mut rows = large(&mut pair, &people, quick)?;
    rows.push(keystroke(&mut pair, &people)?);
    rows.extend(memory(&mut pair)?);
    rows.iter().for_each(tell);
    Ok(rows)
}

/// The limits of the host are above what is printed here.
fn give_room(pair: &mut Pair) -> Result<()> {
    let host = &pair.scene.host;
    host.sh("printf 'command_output_mib = 4096\\n' >> /etc/tether/ceiling.toml")?;
    host.sh("printf '[recording]\\ncommand_mib = 4096\\nsession_mib = 65536\\nhost_mib = 65536\\n' >> /etc/tether/host.toml")?;
    pair.scene.restart_agentd()?;
    pair.scene.publish(BUNDLE)
}

/// `record 1GiB`: text that cannot be made smaller, through a pipe, until all that was kept of it is on the disk.
fn large(pair: &mut Pair, people: &People, quick: bool) -> Result<Vec<Row>> {
    let (mib, rounds) = if quick { (64, QUICK) } else { (1024, ROUNDS) };
    for host in [&pair.scene.host, &pair.stock] {
        host.sh(&format!("openssl rand -base64 {} | head -c {} > {FILE}", mib * MIB, mib * MIB))?;
        host.sh(&format!("install -d -m 700 {STOCK_LOG}; cat {FILE} > /dev/null; sync"))?;
    }
    let (mut ours, mut logged, mut plain, mut none) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (_, agent) = pair.scene.session()?;
        ours.push(timed(&pair.scene.host, RECORDINGS, |command| agent.run(command))?);
        let kept = kept(&pair.scene.host, RECORDINGS)?;
        ensure!(kept >= mib * MIB, "{kept} bytes were recorded");
        // The session's folder stays: its end may be being written.
        pair.scene.host.sh(&format!("find {RECORDINGS} -type f -size +1M -delete"))?;
        logged.push(stock_logged(pair, people, "", mib * MIB)?);
        plain.push(stock_logged(pair, people, ", !compress_io", mib * MIB)?);
        none.push(timed(&pair.stock, STOCK_LOG, |command| people.ssh("bob", command))?);
    }
    let case = if quick { "record 64MiB" } else { "record 1GiB" };
    let row = |name, other: Vec<f64>, target| Row {
        case: case.to_owned(),
        unit: "ms",
        ours: Figures::of(ours.clone()),
        beside: Some(Beside { name, figures: Figures::of(other) }),
        target,
    };
    Ok(vec![
        row("stock sudo with log_output", logged, "no slower"),
        row("stock sudo with log_output, !compress_io", plain, "no slower"),
        row("stock sudo, nothing recorded", none, "no target; the ratio is told"),
    ])
}

/// The same at the stock host, whose sudo logs what is printed; with further settings of sudoers(5).
fn stock_logged(pair: &Pair, people: &People, further: &str, bytes: usize) -> Result<f64> {
    let settings = format!("Defaults:bob log_output, iolog_dir={STOCK_LOG}{further}\n");
    pair.stock.write_file("/etc/sudoers.d/log", &settings, 0o440)?;
    let took = timed(&pair.stock, STOCK_LOG, |command| people.ssh("bob", command))?;
    let kept = kept(&pair.stock, STOCK_LOG)?;
    // Where it compresses, three quarters are left: base64 has six bits in eight.
    ensure!(kept >= bytes / 4 * 3, "{kept} bytes were logged");
    pair.stock.sh(&format!("rm -rf {STOCK_LOG}/* /etc/sudoers.d/log"))?;
    Ok(took)
}

/// From ssh's start until what was kept is on the disk, in ms.
fn timed(host: &Host, kept: &str, run: impl FnOnce(&str) -> Result<crate::agent::Ran>) -> Result<f64> {
    let start = Instant::now();
    let ran = run(&format!("sudo -n /usr/bin/cat {FILE} | cat > /dev/null; exit ${{PIPESTATUS[0]}}"))?;
    ensure!(ran.code == 0, "{ran:?}");
    host.sh(&format!("find {kept} -type f -exec sync {{}} +"))?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn kept(host: &Host, folder: &str) -> Result<usize> {
    let text =
        host.sh(&format!("find {folder} -type f -printf '%s\\n' | awk '{{all += $1}} END {{print all + 0}}'"))?;
    text.trim().parse().context("sizes")
}

/// `keystroke`: a key over ssh, until it is shown. The sides take turns, key by key.
fn keystroke(pair: &mut Pair, people: &People) -> Result<Row> {
    let (_, agent) = pair.scene.session()?;
    let mut ours = Echo::new(terminal(&agent)?)?;
    let mut client = people.client("bob")?;
    client.arg("-tt");
    let mut stock = Echo::new(client)?;
    let (mut taken, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..KEYS {
        taken.push(ours.key()?);
        beside.push(stock.key()?);
    }
    Ok(Row {
        case: "keystroke".to_owned(),
        unit: "us",
        ours: Figures::of(taken),
        beside: Some(Beside { name: "stock ssh, nothing recorded", figures: Figures::of(beside) }),
        target: "no target; the difference is told",
    })
}

fn terminal(agent: &Agent) -> Result<Command> {
    let mut client = agent.client("ssh")?;
    client.args(["-tt", agent.destination()]);
    Ok(client)
}

/// A terminal that shows what is typed.
struct Echo {
    ssh: Child,
}

impl Echo {
    fn new(mut client: Command) -> Result<Self> {
        client.arg("stty raw -echo; echo ready; exec cat").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut echo = Self { ssh: client.spawn().context("ssh")? };
        let mut seen = Vec::new();
        while !seen.ends_with(b"ready\n") {
            seen.push(echo.read()?);
        }
        Ok(echo)
    }

    /// In microseconds.
    fn key(&mut self) -> Result<f64> {
        let start = Instant::now();
        self.ssh.stdin.as_mut().context("stdin")?.write_all(b"x")?;
        ensure!(self.read()? == b'x', "another key was shown");
        Ok(start.elapsed().as_secs_f64() * 1e6)
    }

    fn read(&mut self) -> Result<u8> {
        let mut byte = [0];
        self.ssh.stdout.as_mut().context("stdout")?.read_exact(&mut byte)?;
        Ok(byte[0])
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.ssh.stdin.take());
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}

/// `memory per recorded session`: agentd's proportional share with so many recorded channels more, by their number; and
/// that of the channels' recorders.
fn memory(pair: &mut Pair) -> Result<[Row; 2]> {
    let mut agents = Vec::new();
    for _ in 0..SESSIONS {
        agents.push(pair.scene.session()?.1);
    }
    let connections = agents.iter().map(Agent::connect).collect::<Result<Vec<_>>>()?;
    let before = pss(pair)?;
    let mut channels = Vec::new();
    for connection in &connections {
        for _ in 0..CHANNELS {
            let mut channel = connection.start("echo ready; exec cat")?;
            let mut seen = [0; 6];
            channel.stdout.as_mut().context("stdout")?.read_exact(&mut seen)?;
            channels.push(channel);
        }
    }
    let open = pair.scene.host.sh(&format!("find {RECORDINGS} -name '*.open' | wc -l"))?;
    ensure!(open.trim().parse::<usize>()? >= channels.len(), "only {open} channels are being recorded");
    let (with, recorders) = (pss(pair)?, recorders(&pair.scene.host)?);
    ensure!(recorders.len() >= channels.len(), "only {} recorders are there", recorders.len());
    let count = channels.len() as f64;
    for mut channel in channels {
        drop(channel.stdin.take());
        channel.wait()?;
    }
    let row = |case: &str, figures, target| Row {
        case: case.to_owned(),
        unit: "KiB",
        ours: Figures::of(figures),
        beside: None,
        target,
    };
    Ok([
        row("memory per recorded session", vec![(with - before) / count], "at most 100 KiB"),
        row("memory of its recorder", recorders, "no target; tether-shell, one a channel"),
    ])
}

/// The proportional share of each recorder of a channel.
fn recorders(host: &Host) -> Result<Vec<f64>> {
    let text = host.sh("for pid in $(pgrep -x tether-shell); do grep ^Pss: /proc/$pid/smaps_rollup; done")?;
    text.lines().map(|line| line.split_whitespace().nth(1).context("Pss")?.parse().context("Pss")).collect()
}
