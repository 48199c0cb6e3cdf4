//! Recorders die before any of their calls, each in its turn, by SIGKILL: those of a command's and a terminal's channel,
//! the keepers under sudo and `tether run`, sudo where it records a terminal. Nothing runs on that nobody records, what
//! was shown is recorded, and what is missing is said to be.

use anyhow::{Context, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::ChildStdout;
use std::time::{Duration, Instant};
use tether_testhost::{Host, Suite};
use tether_tests::agent::Connection;
use tether_tests::recordings::{Recording, Shown, wait_for};
use tether_tests::steps::{self, Held, Orders, Step, Stepped, Whom, chosen};
use tether_tests::{Agent, Scene, on_bookworm_and_trixie_if_long};

type Result<T = ()> = anyhow::Result<T>;

on_bookworm_and_trixie_if_long!(
    a_commands_recorder_dies_before_any_of_its_calls,
    a_terminals_recorder_dies_before_any_of_its_calls,
    a_keeper_under_sudo_dies_before_any_of_its_calls,
    a_keeper_under_run_dies_before_any_of_its_calls,
    sudo_that_records_a_terminal_dies_before_any_of_its_calls,
);

/// How long what nobody records may live.
const AT_MOST: Duration = Duration::from_secs(5);
/// So many deaths of a recorder, unless all are wanted.
const RECORDERS: usize = 36;
/// A process that is in no process group, terminal or output of its channel's, and a text longer than a pipe takes.
const CHANNEL: &str = "setsid -f sleep 4321 >/dev/null 2>&1 </dev/null; echo one; echo err >&2; seq 1 15000; echo two";

/// A channel, and what its recorder must have died before.
struct Channel {
    kinds: &'static [&'static str],
    /// All that the client was shown.
    run: fn(&Agent, &Connection<'_>) -> Result<Vec<u8>>,
}

/// What became of one.
struct Through {
    session: String,
    uid: u32,
    shown: Vec<u8>,
    killed: bool,
    seen: Vec<Step>,
}

fn a_commands_recorder_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let run = |_: &Agent, connection: &Connection<'_>| {
        let mut child = Held(connection.start(CHANNEL)?);
        drop(child.0.stdin.take());
        read_all(&mut child)
    };
    let kinds =
        &["0 connect -", "0 write socket", "0 read socket", "0 fork -", "0 read pipe", "0 write pipe", "0 exit -"];
    a_recorder_dies(suite, &Channel { kinds, run })
}

fn a_terminals_recorder_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let run = |agent: &Agent, connection: &Connection<'_>| {
        let ready = r"\$ $";
        let sized = "while test \"$(stty size)\" != '44 132'; do sleep 0.01; done; seq 1 15000; stty size\n";
        let steps = serde_json::json!([
            ["want", ready],
            ["send", "setsid -f sleep 4321 >/dev/null 2>&1 </dev/null; echo one\n"],
            ["want", "\rone\r\n"],
            ["want", ready],
            ["size", 132, 44],
            ["send", sized],
            ["want", "\n44 132"],
            ["want", ready],
            ["send", "exit\n"],
        ]);
        Ok(agent.at_a_terminal(&steps, &["-S", &connection.control()])?.stdout)
    };
    let kinds =
        &["0 connect -", "0 write socket", "0 read socket", "0 fork -", "0 read device", "0 write device", "0 ioctl -"];
    a_recorder_dies(suite, &Channel { kinds, run })
}

fn a_recorder_dies(suite: Suite, channel: &Channel) -> Result {
    let mut scene = Scene::new(suite)?;
    steps::build(&scene.host)?;
    // The control: watched, and let live, the channel comes to its end, and what it left runs on.
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    let whole = through(&scene, channel, &agent, &connection, None)?;
    ensure!(!whole.killed && runs(&scene.host, whole.uid)?.contains("sleep"), "nothing runs");
    let recording = recorded(&scene, &whole.session)?.context("it is not recorded")?;
    ensure!(
        is_prefix(&whole.shown, &recording.shown()?.out) && whole.shown.len() > 50_000,
        "{}",
        String::from_utf8_lossy(&whole.shown)
    );
    connection.close();
    scene.wait_gone(&whole.session)?;
    what_is_unrecorded_runs_where_nobody_ends_it(&mut scene)?;

    let tried = chosen(&whole.seen, RECORDERS);
    let (mut kinds, mut ends) = (BTreeSet::new(), BTreeMap::<_, usize>::new());
    for step in &tried {
        scene.central.head(&scene.host)?;
        let (_, agent) = scene.session()?;
        let connection = agent.connect()?;
        let dead = through(&scene, channel, &agent, &connection, Some(step))?;
        if dead.killed {
            kinds.insert(step.kind());
            let is_early = whole.seen.iter().take_while(|seen| seen.call != "fork").any(|seen| seen == step);
            let end =
                nothing_goes_on(&scene, &dead, is_early, connection).with_context(|| format!("before {step:?}"))?;
            *ends.entry(end).or_default() += 1;
        } else {
            // How many parts an output comes in differs.
            ensure!(step.time > 1, "no recorder came by {step:?}");
        }
    }
    eprintln!("{} steps of {}: {ends:?}", tried.len(), whole.seen.len());
    let missed: Vec<_> = channel.kinds.iter().filter(|kind| !kinds.contains(**kind)).collect();
    ensure!(missed.is_empty(), "no recorder has died before {missed:?}: {kinds:?}");
    ensure!(ends.len() == 3, "before, in the midst and after were wanted: {ends:?}");
    Ok(())
}

/// One channel over a connection that stands.
fn through(
    scene: &Scene,
    channel: &Channel,
    agent: &Agent,
    connection: &Connection<'_>,
    at: Option<&Step>,
) -> Result<Through> {
    let sessions = scene.status()?.sessions;
    let about = sessions.iter().find(|session| session.account == agent.account).context("no session")?;
    // The half of sshd that is the account's, and starts what its channels run.
    let find = format!("timeout 10 sh -c 'until pgrep -u {} ^sshd; do sleep 0.01; done'", about.uid);
    let sshd = scene.host.sh(&find)?.trim().parse()?;
    let orders = Orders { name: "tether-shell", seconds: 20, how: "", at };
    let stepping = steps::start(&scene.host, &orders, Whom::Of(sshd))?;
    let shown = (channel.run)(agent, connection)?;
    let stepped = stepping.end()?;
    let (session, uid) = (about.session.to_string(), about.uid);
    Ok(Through { session, uid, shown, killed: stepped.killed, seen: stepped.seen })
}

/// What runs of an account, beside sshd.
fn runs(host: &Host, uid: u32) -> Result<String> {
    Ok(host.sh(&format!("pgrep -l -u {uid} | grep -v sshd; true"))?)
}

/// The recording of the session's channel, once it has an end; none if none was begun.
fn recorded(scene: &Scene, session: &str) -> Result<Option<Recording>> {
    let trail = scene.trail()?;
    let started = trail.of(session).find(|link| link.event.event == "recording.started");
    let Some(name) = started.and_then(|link| link.event.details["recording"].as_str()) else { return Ok(None) };
    let recording = Recording::named(scene, session, name)?;
    recording.check()?;
    Ok(Some(recording))
}

fn is_regular(recording: &Recording) -> bool {
    recording.ended.event.details["regular"] == true
}

/// Whether what a client was shown is the beginning of what is recorded. ssh's own last line is not.
fn is_prefix(shown: &[u8], recorded: &[u8]) -> bool {
    let said = b"Shared connection to ";
    let own = shown.windows(said.len()).position(|part| part == said).unwrap_or(shown.len());
    shown.get(..own).is_some_and(|shown| recorded.starts_with(shown))
}

/// After a recorder's death nothing of the channel runs on, and what is missing is said. How it ended, in a word.
fn nothing_goes_on(scene: &Scene, dead: &Through, is_early: bool, connection: Connection<'_>) -> Result<&'static str> {
    let begun = Instant::now();
    loop {
        let left = runs(&scene.host, dead.uid)?;
        let trail = scene.trail()?;
        let of = |event: &str| trail.of(&dead.session).find(|link| link.event.event == event);
        // All that the channel showed is recorded: what it left is the session's.
        let has_end = of("recording.ended").is_some_and(|link| link.event.details["regular"] == true);
        let is_settled = of("recording.started").is_none() || of("recording.ended").is_some();
        if has_end || (left.is_empty() && is_settled) {
            break;
        }
        ensure!(begun.elapsed() < AT_MOST, "nobody records it, and this runs on:\n{left}");
    }
    connection.close();
    scene.wait_gone(&dead.session)?;
    let recording = recorded(scene, &dead.session)?;
    let trail = scene.trail()?;
    let is_lost = trail.of(&dead.session).any(|link| link.event.event == "recording.lost");
    let ending = trail.of(&dead.session).find(|link| link.event.event == "session.ending").context("no end")?;
    let was_ended = ending.event.details["reason"] == "recorder";
    ensure!(is_lost == was_ended, "lost: {is_lost}, ended for that: {was_ended}");
    let Some(recording) = recording else {
        ensure!(dead.shown.is_empty() && !is_lost, "shown and not recorded: {:?}", dead.shown);
        return Ok("nothing began");
    };
    let Shown { out, gaps, end, .. } = recording.shown()?;
    ensure!(is_prefix(&dead.shown, &out), "shown were {} bytes, recorded {}", dead.shown.len(), out.len());
    if is_regular(&recording) {
        ensure!(!is_lost && gaps.is_empty() && end.is_some(), "lost: {is_lost}, {gaps:?} {end:?}");
        return Ok("it was over");
    }
    ensure!(end.is_none(), "{end:?}");
    if !is_lost {
        // It did not hear agentd's yes: its recording is empty, and says that it was cut. Nothing ran.
        ensure!(is_early && recording.ended.event.details["shown"] == 0, "lost, and not said: {:?}", recording.ended);
        return Ok("nothing began");
    }
    ensure!(gaps.iter().any(|gap| gap.starts_with("the recorder is gone")), "{gaps:?}");
    ensure!(recording.ended.event.details["gaps"] == serde_json::json!(gaps), "{:?} {gaps:?}", recording.ended);
    Ok("lost")
}

/// The control: while agentd cannot act, what left its channel runs on, and is seen to.
fn what_is_unrecorded_runs_where_nobody_ends_it(scene: &mut Scene) -> Result {
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    let mut child = Held(connection.start("setsid -f sleep 4321 >/dev/null 2>&1 </dev/null; echo $PPID; read x")?);
    let mut recorder = String::new();
    let mut out = BufReader::new(child.0.stdout.take().context("no stdout")?);
    out.read_line(&mut recorder)?;
    let host = &scene.host;
    let uid = host.sh(&format!("ps -o uid= -p {}", recorder.trim()))?.trim().parse()?;
    host.sh(&format!("{STOP}; kill -9 {}", recorder.trim()))?;
    child.0.wait()?;
    let goes_on = runs(host, uid)?;
    host.sh("systemctl kill -s CONT tether-agentd")?;
    ensure!(goes_on.contains("sleep"), "nobody could end it, and it is not seen: {goes_on:?}");
    wait_for("agentd ends it", || Ok(runs(&scene.host, uid)?.is_empty()))?;
    drop(connection);
    scene.wait_gone(draft.grant.session.as_str())?;
    Ok(())
}

/// All of agentd's threads: the signal is one thread's to hand on, when it gets to run.
const STOP: &str = "pid=$(systemctl show -p MainPID --value tether-agentd); kill -STOP $pid; \
                    while grep -q '^State:.[^T]' /proc/$pid/task/*/status; do sleep 0.01; done";

fn read_all(child: &mut Held) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    child.0.stdout.as_mut().context("no stdout")?.read_to_end(&mut all)?;
    child.0.wait()?;
    Ok(all)
}

/// dash may be run with any arguments.
const WIDE: &str =
    "name = \"triage\"\nversion = 7\n[[rule]]\nid = \"shell\"\nprogram = \"/usr/bin/dash\"\narguments = \"any\"\n";
/// What a command does that ends; the other goes on for ever.
const ENDS: &str = "echo one; echo err >&2; seq 1 15000; echo two";

/// Who records a command, and how it is come by.
struct Keeper {
    /// The program that records.
    name: &'static str,
    /// What the agent types before the command.
    way: &'static str,
    /// Whether it has a terminal.
    terminal: bool,
    /// What it must have died before.
    kinds: &'static [&'static str],
}

/// A command that was recorded.
struct Command {
    shown: Vec<u8>,
    killed: bool,
    seen: Vec<Step>,
}

fn a_keeper_under_sudo_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let kinds = &["0 identity -", "0 read pipe", "0 write sudo", "0 write pipe", "0 wait -", "0 exit -"];
    a_keeper_dies(suite, &Keeper { name: "tether-confine", way: "sudo", terminal: false, kinds })
}

fn a_keeper_under_run_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let kinds = &["0 identity -", "0 read pipe", "0 write run", "0 write pipe", "0 wait -", "0 exit -"];
    a_keeper_dies(suite, &Keeper { name: "tether-confine", way: "tether run", terminal: false, kinds })
}

fn sudo_that_records_a_terminal_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let kinds = &["0 read device", "0 write sudo", "0 write device", "0 exit -"];
    a_keeper_dies(suite, &Keeper { name: "sudo", way: "sudo", terminal: true, kinds })
}

fn a_keeper_dies(suite: Suite, keeper: &Keeper) -> Result {
    let mut scene = Scene::new(suite)?;
    scene.publish(WIDE)?;
    steps::build(&scene.host)?;
    let (draft, agent) = scene.session()?;
    let (session, connection) = (draft.grant.session.to_string(), agent.connect()?);
    let endless = format!("{ENDS}; exec sleep 4321");
    // The control: watched, and let live, one ends and the other runs on.
    let ending = keeper.keep(&scene, &connection, ENDS, None)?;
    ensure!(ending.shown.len() > 50_000 && !ending.killed, "{} bytes", ending.shown.len());
    let running = keeper.keep(&scene, &connection, &endless, None)?;
    let ends = |seen: &[Step]| seen.iter().any(|step| step.call == "exit");
    ensure!(!running.killed && ends(&ending.seen) && !ends(&running.seen), "{:?}", ending.seen);
    if !keeper.terminal {
        // What has sudo's terminal ends with that, whoever is there.
        a_command_goes_on_where_nobody_ends_it(&scene, &connection, keeper)?;
    }

    // Its first steps are tried with the command that does not end by itself, what comes after that with the other.
    let seen = |step: &Step| running.seen.contains(step);
    let tried = chosen(&ending.seen, RECORDERS);
    let (mut kinds, mut irregular) = (BTreeSet::new(), 0);
    for step in &tried {
        scene.central.head(&scene.host)?;
        let before = begun(&scene, &session)?;
        let script = if seen(step) { &endless } else { ENDS };
        let dead = keeper.keep(&scene, &connection, script, Some(step))?;
        if !dead.killed {
            // How many parts an output comes in differs, and who sees first that the other is over.
            continue;
        }
        kinds.insert(step.kind());
        let checked = a_command_is_over(&scene, &session, &before, &dead);
        irregular += usize::from(checked.with_context(|| format!("before {step:?}"))?);
    }
    eprintln!("{} steps of {}, {irregular} without an end", tried.len(), ending.seen.len());
    let missed: Vec<_> = keeper.kinds.iter().filter(|kind| !kinds.contains(**kind)).collect();
    ensure!(missed.is_empty(), "no keeper has died before {missed:?}: {kinds:?}");
    ensure!(irregular > kinds.len(), "only {irregular} died in the midst");
    ensure!(connection.run("sudo dash -c 'echo on'")?.out == "on\n", "the session goes on");
    Ok(())
}

/// A unit's own process is stepped by what the unit starts in its place.
const RUNNER: &str = "mkdir -p /run/systemd/system/tether-runner@.service.d; \
    printf '[Service]\\nExecStart=\\nExecStart=/bin/sh /srv/steps/runner\\n' > /run/systemd/system/tether-runner@.service.d/steps.conf; \
    systemctl daemon-reload";

impl Keeper {
    /// Runs a command, its recorder stepped. One that would go on for ever, and was not killed, is ended here.
    fn keep(&self, scene: &Scene, connection: &Connection<'_>, script: &str, at: Option<&Step>) -> Result<Command> {
        let is_endless = script != ENDS;
        let orders = Orders { name: self.name, seconds: if is_endless { 2 } else { 20 }, how: "f", at };
        let (stepped, shown) = if self.way == "sudo" {
            let (mut child, mut out, shell) = self.start(connection, script)?;
            let stepping = steps::start(&scene.host, &orders, Whom::Of(shell))?;
            child.0.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
            self.watch(scene, is_endless, &mut child, &mut out, || stepping.end())?
        } else {
            scene.host.sh(RUNNER)?;
            steps::instead(&scene.host, &orders, "/srv/steps/runner", "/usr/libexec/tether/tether-runner")?;
            let (mut child, mut out, _) = self.start(connection, script)?;
            child.0.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
            self.watch(scene, is_endless, &mut child, &mut out, || steps::told(&scene.host))?
        };
        Ok(Command { shown, killed: stepped.killed, seen: stepped.seen })
    }

    /// A shell that becomes the command at a line's end, and its number.
    fn start(&self, connection: &Connection<'_>, script: &str) -> Result<(Held, BufReader<ChildStdout>, u32)> {
        let line = format!("echo $$; read go; exec {} dash -c '{script}'", self.way);
        let options: &[&str] = if self.terminal { &["-tt", "-o", "LogLevel=ERROR"] } else { &[] };
        let mut child = Held(connection.start_with(options, &line)?);
        let mut out = BufReader::new(child.0.stdout.take().context("no stdout")?);
        let mut shell = String::new();
        if out.read_line(&mut shell)? == 0 {
            let mut why = String::new();
            child.0.stderr.as_mut().context("no stderr")?.read_to_string(&mut why)?;
            bail!("no shell: {why}");
        }
        Ok((child, out, shell.trim().parse()?))
    }

    fn watch(
        &self,
        scene: &Scene,
        is_endless: bool,
        child: &mut Held,
        out: &mut BufReader<ChildStdout>,
        end: impl FnOnce() -> Result<Stepped>,
    ) -> Result<(Stepped, Vec<u8>)> {
        let mut shown = Vec::new();
        let stepped = std::thread::scope(|scope| {
            let reading = scope.spawn(|| out.read_to_end(&mut shown));
            let stepped = end()?;
            if is_endless && !stepped.killed {
                ensure!(commands(&scene.host)?.contains("sleep"), "the control: watched, it does not run");
                scene.host.sh("pkill -KILL -x 'sudo|tether-runner'")?;
            }
            reading.join().map_err(|_| anyhow::anyhow!("who reads panicked"))??;
            Ok::<_, anyhow::Error>(stepped)
        })?;
        child.0.wait()?;
        // The terminal shows the line's end that was typed to begin, and what sudo's other half says of sudo's death.
        let said = b"sudo: ";
        let own = shown.windows(said.len()).position(|part| part == said).filter(|_| self.terminal);
        shown.truncate(own.unwrap_or(shown.len()));
        let typed = if self.terminal && shown.starts_with(b"\r\n") { 2 } else { 0 };
        Ok((stepped, shown.split_off(typed)))
    }
}

/// What runs in a command's cgroup.
fn commands(host: &Host) -> Result<String> {
    Ok(host.sh("ps -o pid=,comm= -p \"$(cat /sys/fs/cgroup/tether.sessions/*/run-*/cgroup.procs 2>/dev/null | paste -sd, -)\" 2>/dev/null; true")?)
}

/// The recordings of a session's commands that were begun.
fn begun(scene: &Scene, session: &str) -> Result<BTreeSet<String>> {
    let trail = scene.trail()?;
    let started = trail.of(session).filter(|link| link.event.event == "recording.started");
    let names = started.filter_map(|link| link.event.details["recording"].as_str());
    let is_of_a_command = |name: &&str| ["sudo-", "run-"].iter().any(|kind| name.starts_with(kind));
    Ok(names.filter(is_of_a_command).map(str::to_owned).collect())
}

/// Whether its recording has no end; it says so. Nothing of it runs.
fn a_command_is_over(scene: &Scene, session: &str, before: &BTreeSet<String>, dead: &Command) -> Result<bool> {
    let at = Instant::now();
    while let left = commands(&scene.host)?
        && !left.is_empty()
    {
        ensure!(at.elapsed() < AT_MOST, "nobody records it, and this runs on:\n{left}");
    }
    let new: Vec<String> = begun(scene, session)?.difference(before).cloned().collect();
    let [name] = new.as_slice() else { bail!("recordings that began: {new:?}") };
    let recording = Recording::named(scene, session, name)?;
    recording.check()?;
    let Shown { out, end, .. } = recording.shown()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes.get(..100).unwrap_or(bytes)).into_owned();
    ensure!(out.starts_with(&dead.shown), "shown: {:?}, recorded: {:?}", text(&dead.shown), text(&out));
    ensure!(is_regular(&recording) == end.is_some(), "{:?} {end:?}", recording.ended);
    Ok(end.is_none())
}

/// The control: while agentd cannot act, a command outlives its recorder, and is seen to.
fn a_command_goes_on_where_nobody_ends_it(scene: &Scene, connection: &Connection<'_>, keeper: &Keeper) -> Result {
    let host = &scene.host;
    let script = "echo started; exec sleep 4321";
    let (mut child, mut out, _) = keeper.start(connection, script)?;
    child.0.stdin.as_mut().context("no stdin")?.write_all(b"\n")?;
    wait_for("it runs", || Ok(commands(host)?.contains("sleep")))?;
    // sudo waits for agentd a while; the channel itself would wait for it in vain, and a runner longer than this does.
    let over = "timeout 10 sh -c 'while pgrep -x \"sudo|tether-confine\" >/dev/null; do sleep 0.01; done'";
    host.sh(&format!("{STOP}; pkill -KILL -x {}; {over}", keeper.name))?;
    let goes_on = commands(host)?;
    host.sh("systemctl kill -s CONT tether-agentd")?;
    ensure!(goes_on.contains("sleep"), "nobody could end it, and it is not seen: {goes_on:?}");
    wait_for("agentd ends it", || Ok(commands(host)?.is_empty()))?;
    out.read_to_end(&mut Vec::new())?;
    child.0.wait()?;
    Ok(())
}
