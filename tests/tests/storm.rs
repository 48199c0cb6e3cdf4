//! More at once than a host can do: commands by sudo and `tether run` in several channels, beside channels that start
//! short-lived processes as fast as they can. Each command that ran is on record with its end, and each byte that the
//! client saw is in a recording. What ran is counted by what came out at the client, not by agentd. A command may be
//! refused, when a host has more to do than it answers in time; then the client was told so, and it did not run.
//!
//! Elsewhere kernel events are lost under `while sleep .5; do ls; done`: four processes a second.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::process::Output;
use std::time::{Duration, Instant};
use tether_audit::{Link, Outcome, Parent};
use tether_recording::Stream;
use tether_testhost::{Storage, Suite};
use tether_tests::agent::Connection;
use tether_tests::channels::Recorded;
use tether_tests::{Agent, Scene, on_both_suites};

on_both_suites!(a_storm_loses_nothing);

const WIDE: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "say"
program = "/usr/bin/echo"
arguments = "any"
"#;
/// A hundred times the processes a second that lose events elsewhere.
const RATE: f64 = 400.0;
/// Channels that start processes, and how many each.
const STORMS: usize = 3;
const CHILDREN: usize = 2000;
/// Channels that run commands, and how many each.
const LANES: usize = 5;
const COMMANDS: usize = 40;

/// What a channel does, and how long its client saw it do that.
struct Ran {
    name: String,
    output: Output,
    took: Duration,
}

fn in_channel(agent: &Agent, control: &str, name: String, script: &str) -> Result<Ran> {
    let begun = Instant::now();
    let mut ssh = agent.client("ssh")?;
    ssh.args(["-q", "-S", control, "-o", "ControlMaster=no"]).arg(&agent.destination);
    let output = ssh.arg(format!(": {name}; {script}")).output().context("ssh")?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(Ran { name, output, took: begun.elapsed() })
}

/// Channels that each start one process after another. A process prints its number; so do two that come as one.
fn storm(number: usize) -> (String, String) {
    let name = format!("storm{number}");
    (name.clone(), format!("n=0; while test $n -lt {CHILDREN}; do n=$((n + 1)); /usr/bin/echo {name}.$n; done"))
}

/// Commands by sudo and by `tether run`, in turn.
fn lane(number: usize) -> (String, String) {
    let name = format!("lane{number}");
    let pair = format!("n=$((n + 1)); sudo echo {name}.$n; n=$((n + 1)); tether run echo {name}.$n");
    (name, format!("n=0; while test $n -lt {COMMANDS}; do {pair}; done"))
}

fn all_at_once(agent: &Agent, connection: &Connection<'_>, work: &[(String, String)]) -> Result<Vec<Ran>> {
    let control = connection.control();
    std::thread::scope(|scope| {
        let channels: Vec<_> = work
            .iter()
            .map(|(name, script)| scope.spawn(|| in_channel(agent, &control, name.clone(), script)))
            .collect();
        channels.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a channel's thread"))?).collect()
    })
}

/// How many lines came, which must be the numbers from 1 in their order.
fn counted(ran: &Ran, most: usize) -> Result<usize> {
    let text = String::from_utf8_lossy(&ran.output.stdout);
    let wanted: String = (1..=most).map(|n| format!("{}.{n}\n", ran.name)).collect();
    ensure!(text == wanted, "{}: the client did not see {most} lines in order", ran.name);
    Ok(text.lines().count())
}

/// The numbers of a lane's commands that ran, in their order. Who did not was refused, in words.
fn answered(ran: &Ran) -> Result<Vec<usize>> {
    let (out, err) = (String::from_utf8_lossy(&ran.output.stdout), String::from_utf8_lossy(&ran.output.stderr));
    let number = |line: &str| line.strip_prefix(&format!("{}.", ran.name))?.parse().ok();
    let seen: Vec<usize> =
        out.lines().map(|line| number(line).with_context(|| line.to_owned())).collect::<Result<_>>()?;
    ensure!(seen.is_sorted_by(|one, next| one < next), "{}: not in order: {seen:?}", ran.name);
    let refused = err.lines().filter(|line| line.contains("tether: ") && line.ends_with(']')).count();
    ensure!(seen.len() + refused == COMMANDS, "{}: {} ran, {refused} were refused: {err}", ran.name, seen.len());
    ensure!(seen.len() >= COMMANDS / 2, "{}: most were refused: {err}", ran.name);
    Ok(seen)
}

fn rate(count: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / took.as_secs_f64()
}

fn a_storm_loses_nothing(suite: Suite) -> Result<()> {
    let mut scene = Scene::with(suite, Storage::Memory, "")?;
    scene.publish(WIDE)?;
    let (draft, agent) = scene.session()?;
    let connection = agent.connect()?;
    // Processes alone: this is the rate that the host can do.
    let storms: Vec<_> = (0..STORMS).map(storm).collect();
    let begun = Instant::now();
    let first = all_at_once(&agent, &connection, &storms)?;
    let alone = rate(STORMS * CHILDREN, begun.elapsed());
    // And beside commands.
    let again: Vec<_> = (STORMS..2 * STORMS).map(storm).collect();
    let work: Vec<_> = again.into_iter().chain((0..LANES).map(lane)).collect();
    let begun = Instant::now();
    let both = all_at_once(&agent, &connection, &work)?;
    let took = begun.elapsed();
    let (mut processes, mut busy) = (0, Duration::ZERO);
    let mut lanes = BTreeMap::new();
    for ran in first.iter().chain(&both) {
        if ran.name.starts_with("storm") {
            processes += counted(ran, CHILDREN)?;
        } else {
            lanes.insert(ran.name.clone(), answered(ran)?);
            busy = busy.max(ran.took);
        }
    }
    let commands = lanes.values().map(Vec::len).sum::<usize>();
    ensure!((processes, lanes.len()) == (2 * STORMS * CHILDREN, LANES), "{processes} {lanes:?}");
    connection.close();
    let session = draft.grant.session.as_str();
    scene.wait_gone(session)?;
    let lost = on_record(&scene, session, &lanes)?;
    let records = scene.trail()?.of(session).count();
    eprintln!(
        "{alone:.0} processes a second; with commands beside them {:.0} processes and {:.1} commands a second, {} refused, {records} \
         records in {:.1} s; {lost} gaps",
        rate(STORMS * CHILDREN, took),
        rate(commands, busy),
        LANES * COMMANDS - commands,
        took.as_secs_f64(),
    );
    ensure!(alone >= RATE, "{alone:.0} processes a second are no storm");
    let recordings = scene.recordings(session, first.len() + both.len() + commands)?;
    for ran in first.iter().chain(&both) {
        shown(&recordings, ran, lanes.get(&ran.name).map_or(&[], Vec::as_slice))?;
    }
    Ok(())
}

/// Each command that the clients saw run is on record, once, in order, and then its end; how many gaps there are. One that
/// was refused may be on record as well, if agentd had said yes and was not heard in time; never as one that ran.
fn on_record(scene: &Scene, session: &str, lanes: &BTreeMap<String, Vec<usize>>) -> Result<usize> {
    let trail = scene.trail()?;
    let host = trail.of(session).next().context("no record")?.host.clone();
    let ended: BTreeMap<&Parent, Vec<&Link>> =
        trail.of(session).filter(|link| link.event.event == "sudo.ended").fold(BTreeMap::new(), |mut all, link| {
            all.entry(link.event.parent.as_ref().unwrap_or(&NOWHERE)).or_insert_with(Vec::new).push(link);
            all
        });
    let mut begun: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for link in trail.of(session).filter(|link| link.event.event == "sudo.command") {
        if link.event.outcome != Outcome::Allowed {
            continue;
        }
        let word = link.event.details["argv"][1].as_str().context("no argument")?;
        let (lane, number) = word.split_once('.').with_context(|| word.to_owned())?;
        let number = number.parse()?;
        if !lanes.get(lane).is_some_and(|seen| seen.contains(&number)) {
            continue;
        }
        begun.entry(lane.to_owned()).or_default().push(number);
        let ends = ended.get(&Parent::record(&host, link.number)).map(Vec::as_slice).unwrap_or_default();
        let [end] = ends else { anyhow::bail!("{word} has {} ends on record", ends.len()) };
        ensure!(end.number > link.number && end.event.details["exit"] == 0, "{end:?}");
        ensure!(end.event.details["argv"] == link.event.details["argv"], "{end:?}");
    }
    ensure!(begun == *lanes, "{begun:?}, and the clients saw {lanes:?}");
    let gaps = trail.of(session).filter(|link| link.event.event == "recording.gap").count();
    ensure!(gaps == 0, "nothing was lost, and there are {gaps} gaps");
    Ok(gaps)
}

static NOWHERE: std::sync::LazyLock<Parent> = std::sync::LazyLock::new(|| Parent::record("nowhere", 0));

/// What a client saw is in its channel's recording, byte for byte, and each command's in its own.
fn shown(recordings: &BTreeMap<String, Recorded>, ran: &Ran, commands: &[usize]) -> Result<()> {
    let begins = format!(": {};", ran.name);
    let mut own = recordings.values().filter(|one| one.header.command.as_str().is_some_and(|c| c.starts_with(&begins)));
    let (channel, more) = (own.next().context("it is not recorded")?, own.next());
    ensure!(more.is_none(), "{} has two recordings", ran.name);
    ensure!(channel.of(Stream::Output) == ran.output.stdout, "{}: the recording shows something else", ran.name);
    ensure!(channel.of(Stream::Error) == ran.output.stderr, "{}: the recording shows other errors", ran.name);
    ensure!(channel.of(Stream::Gap).is_empty() && channel.status == Some(0), "{}: a gap, or no end", ran.name);
    for number in commands {
        let line = format!("{}.{number}\n", ran.name);
        let count = recordings.values().filter(|one| one.of(Stream::Output) == line.as_bytes()).count();
        ensure!(count == 1, "{line:?} is in {count} recordings of commands");
    }
    Ok(())
}
