//! The escape battery (`tests/scenarios/battery`): the same probes as plain root and confined, judged from outside.

use crate::agent::{Agent, Connection};
use crate::attacker::Attacker;
use crate::scene::Scene;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdout};
use tether_testhost::Host;

/// Where the battery lies on a host: everybody may read it.
const FOLDER: &str = "/usr/local/share/tether-battery";

macro_rules! scripts {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../scenarios/battery/", $name)))),+]
    };
}

const SCRIPTS: &[(&str, &str)] = scripts!(
    "battery.py",
    "kit.py",
    "probes_identity.py",
    "probes_ipc.py",
    "probes_kernel.py",
    "probes_limit.py",
    "probes_lock.py",
    "probes_memory.py",
    "probes_metadata.py",
    "probes_mount.py",
    "probes_program.py",
    "probes_route.py",
    "probes_secret.py",
    "probes_session.py",
    "probes_signal.py",
    "probes_socket.py",
    "probes_start.py",
    "probes_write.py",
    "session.py",
    "uring.py",
    "warden.py",
);

/// The interpreters that a probe may be run by, by their resolved names.
pub const BUNDLE: &str = r#"
name = "triage"
version = 7
about = "Anything at all, read-only: so that only the kernel holds it"
[read]
# As wide as an analyst's: what is held is held by the never-list, and by what others cannot read.
trees = [
    "/usr", "/boot", "/etc", "/opt", "/run", "/sys", "/tmp", "/var/tmp", "/var/cache", "/var/lib", "/var/log",
    "/var/spool/cron",
]
[[rule]]
id = "python-12"
program = "/usr/bin/python3.11"
arguments = "any"
[[rule]]
id = "python-13"
program = "/usr/bin/python3.13"
arguments = "any"
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
"#;

/// One probe as the battery lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Probe {
    /// Its name.
    pub name: String,
    /// Its class.
    pub group: String,
    /// Whether its harm lies in how the command is started.
    pub starter: bool,
    /// Why no test host can have it, or nothing.
    pub impossible: String,
}

/// What came of one probe.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    /// Its name.
    pub name: String,
    /// Its class.
    pub group: String,
    /// What it tries.
    pub tries: String,
    /// How harm is recognised.
    pub oracle: String,
    /// Whether there was harm.
    pub harm: bool,
    /// Why no test host can have it, or nothing.
    pub impossible: String,
    /// What stopped it.
    pub error: String,
    /// What it brought out.
    pub seen: String,
}

/// Root's half: plants, starts, and judges.
struct Warden {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Warden {
    /// Prepares the probes; what it starts and holds lives until it has judged.
    fn prepare(host: &Host, names: &str) -> Result<Self> {
        let line = format!("exec python3 -B {FOLDER}/battery.py warden {names}");
        let mut child = host.command("/bin/sh").args(&["-c", &line]).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut first = String::new();
        lines.read_line(&mut first)?;
        if first.trim() != "ready" {
            child.kill()?;
            bail!("the warden is not ready: {first}");
        }
        Ok(Self { child, lines })
    }

    fn judge(self, reports: &str) -> Result<Vec<Verdict>> {
        let Self { mut child, lines } = self;
        let mut stdin = child.stdin.take().context("no stdin")?;
        stdin.write_all(reports.as_bytes())?;
        drop(stdin);
        let lines = lines.lines();
        let verdicts = lines.map(|line| Ok(serde_json::from_str(&line?)?)).collect::<Result<Vec<_>>>()?;
        child.wait()?;
        Ok(verdicts)
    }
}

/// Puts the battery on a host; what it has.
pub fn install(host: &Host) -> Result<Vec<Probe>> {
    for (name, text) in SCRIPTS {
        host.write_file(format!("{FOLDER}/{name}"), text, 0o644)?;
    }
    // Folders that a minimal host lacks and an ordinary one has, and the user whose files are among the secrets.
    host.sh("mkdir -p /srv /boot /opt /mnt /home; id carol >/dev/null 2>&1 || useradd -m carol; sync")?;
    let list = host.sh(&format!("python3 -B {FOLDER}/battery.py list"))?;
    list.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Runs probes by an attacker; no name means all.
pub fn run(host: &Host, attacker: &dyn Attacker, probes: &[Probe], names: &[&str]) -> Result<Vec<Verdict>> {
    let mut sibling = attacker.start(&format!("{FOLDER}/battery.py sibling"))?;
    let mut said = String::new();
    BufReader::new(sibling.stdout.as_mut().context("no stdout")?).read_line(&mut said)?;
    if said.trim() != "sibling" {
        sibling.kill()?;
        bail!("the attacked command does not start: {said:?}, {:?}", sibling.wait_with_output()?);
    }
    let wanted = |probe: &&Probe| names.is_empty() || names.contains(&probe.name.as_str());
    let wanted: Vec<_> = probes.iter().filter(wanted).filter(|probe| probe.impossible.is_empty()).collect();
    ensure!(names.is_empty() || names.len() == wanted.len(), "some of {names:?} is no probe, or none can have it");
    let listed = |starter: bool| {
        let names: Vec<_> =
            wanted.iter().filter(|probe| probe.starter == starter).map(|probe| probe.name.as_str()).collect();
        names
    };
    let warden = Warden::prepare(host, &names.join(" "))?;
    let mut reports = String::new();
    // What is started specially goes first: the others end what it may need.
    for name in listed(true) {
        reports.push_str(&attacker.before(&format!("{FOLDER}/battery.py start {name} -- {}", attacker.prefix()))?);
    }
    let inside = listed(false);
    if !inside.is_empty() {
        reports.push_str(&attacker.attack(&format!("{FOLDER}/battery.py attack {}", inside.join(" ")))?);
    }
    let verdicts = warden.judge(&reports)?;
    let unheard = |v: &&Verdict| v.impossible.is_empty() && v.error.starts_with("no report");
    let unheard: Vec<_> = verdicts.iter().filter(unheard).collect();
    ensure!(unheard.is_empty(), "these were not attempted at all:\n{}", describe(unheard));
    // On the host: the ssh client's end would leave it there, and its channel open.
    host.sh("pkill -KILL -f '[b]attery.py sibling'; true")?;
    sibling.wait()?;
    Ok(verdicts)
}

/// Starts the process that stands for the session's login; it ends with what is given back.
pub fn login(scene: &Scene, connection: &Connection<'_>) -> Result<Child> {
    let child = connection.start(&format!("exec python3 -B {FOLDER}/battery.py login"))?;
    wait_for(&scene.host, "battery.py login")?;
    Ok(child)
}

/// A scene with the bundle that lets everything through to the kernel, and an agent in it.
pub fn scene(suite: tether_testhost::Suite) -> Result<(Scene, Agent)> {
    let mut scene = Scene::new(suite)?;
    scene.publish(BUNDLE)?;
    let (_, agent) = scene.session()?;
    Ok((scene, agent))
}

fn wait_for(host: &Host, words: &str) -> Result<()> {
    let found =
        format!("timeout 20 sh -c 'until pgrep -f \"^[^ ]*python3 -B .*{words}\" >/dev/null; do sleep 0.01; done'");
    host.sh(&found).with_context(|| format!("waiting for {words}"))?;
    Ok(())
}

/// A table per class: how many there are, how many hurt as root, how many hurt confined, how many none can have.
pub fn table(root: &[Verdict], confined: &[Verdict]) -> String {
    let mut classes: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    for (verdicts, column) in [(root, 1), (confined, 2)] {
        for verdict in verdicts {
            let counts = classes.entry(&verdict.group).or_default();
            if column == 1 {
                counts[0] += 1;
                counts[3] += usize::from(!verdict.impossible.is_empty());
            }
            counts[column] += usize::from(verdict.harm);
        }
    }
    let mut text = format!("{:12} {:>7} {:>8} {:>9} {:>9}\n", "class", "probes", "as root", "confined", "excluded");
    for (class, [all, as_root, as_agent, none]) in &classes {
        let _ = writeln!(text, "{class:12} {all:>7} {as_root:>8} {as_agent:>9} {none:>9}");
    }
    let sum = |column: usize| classes.values().map(|counts| counts[column]).sum::<usize>();
    let _ = writeln!(text, "{:12} {:>7} {:>8} {:>9} {:>9}", "all", sum(0), sum(1), sum(2), sum(3));
    text
}

/// What hurt, one line each.
pub fn describe<'v>(verdicts: impl IntoIterator<Item = &'v Verdict>) -> String {
    verdicts
        .into_iter()
        .map(|v| format!("  {} ({}): {}; {}; {:?} {}\n", v.name, v.group, v.tries, v.oracle, v.seen, v.error))
        .collect()
}

/// A launcher that can leave layers out: `tether-confine` with the feature `ablation`. It is built here, beside the
/// tests, unless `TETHER_ABLATION` names one.
pub fn ablation() -> Result<PathBuf> {
    match std::env::var_os("TETHER_ABLATION") {
        Some(path) => Ok(path.into()),
        None => build_ablation(),
    }
}

fn build_ablation() -> Result<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| format!("{root}/target").into(), PathBuf::from);
    let target = target.join("ablation");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = std::process::Command::new(cargo);
    build.current_dir(root).args(["build", "--locked", "--package", "tether-confine", "--features", "ablation"]);
    let status = build.arg("--target-dir").arg(&target).status().context("cargo")?;
    ensure!(status.success(), "the launcher with the feature `ablation` is not built");
    Ok(target.join("debug/tether-confine"))
}

/// Says which layers the launcher leaves out from now on, separated by commas.
pub fn leave_out(host: &Host, layers: &str) -> Result<()> {
    host.write_file("/run/tether-ablation", layers, 0o644)?;
    Ok(())
}
