//! agentd dies between any two steps of a session's life, once each, by SIGKILL of its own. systemd starts it again,
//! and whatever was half done is done or undone: no account without a session, no uid twice, nothing left.

use anyhow::{Context, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tether_faults::{Crash, FOLDER};
use tether_testhost::Suite;
use tether_tests::scene::faulty;
use tether_tests::snapshot::Snapshot;
use tether_tests::{Agent, Draft, People, Scene};

type Result = anyhow::Result<()>;

const AGENTD: &str = "/usr/libexec/tether/tether-agentd";
/// How long agentd may take to come back and to be done with what it finds.
const SETTLED: Duration = Duration::from_secs(10);

#[test]
fn agentd_dies_between_any_two_steps() -> Result {
    between_any_two_steps(Suite::Bookworm)
}

/// agentd is the same on both suites, and each step is a death and a start.
#[test]
fn agentd_dies_between_any_two_steps_on_trixie() -> Result {
    if std::env::var_os("TETHER_TEST_LONG").is_none() {
        eprintln!("skipped: TETHER_TEST_LONG is not set");
        return Ok(());
    }
    between_any_two_steps(Suite::Trixie)
}

fn between_any_two_steps(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let people = People::new(&scene.lab, &scene.host)?;
    scene.host.copy_in(faulty("tether-agentd")?, AGENTD, 0o755)?;
    scene.host.sh(&format!("mkdir {FOLDER}"))?;
    // So small that each session begins one.
    scene.host.sh("printf '[audit]\nsegment_kib = 2\n' >> /etc/tether/host.toml")?;
    scene.restart_agentd()?;
    // Positive control: where nothing is armed a session comes and goes.
    let (draft, agent) = scene.session()?;
    works(&agent)?;
    scene.wait_gone(draft.grant.session.as_str())?;
    ensure!(people.ssh("bob", "sudo -n id -u")?.out == "0\n", "bob cannot work");
    let before = Snapshot::take(&scene.host)?;
    let starts = starts(&scene)?;
    for point in Crash::ALL {
        dies_at(&mut scene, &people, *point).with_context(|| format!("{point:?}"))?;
    }
    ensure!(self::starts(&scene)? == starts + Crash::ALL.len(), "agentd died elsewhere, too");
    before.looks_the_same(&scene.host)?;
    the_trail_is_whole(&scene)
}

fn works(agent: &Agent) -> Result {
    let ran = agent.run("sudo uptime >/dev/null && echo in")?;
    ensure!(ran.out == "in\n", "the session does not work: {ran:?}");
    Ok(())
}

fn starts(scene: &Scene) -> anyhow::Result<usize> {
    Ok(scene.trail()?.0.iter().filter(|link| link.event.event == "agentd.started").count())
}

fn dies_at(scene: &mut Scene, people: &People, point: Crash) -> Result {
    scene.host.write_file(point.path(), "", 0o600)?;
    let draft = Draft::new(&scene.central)?;
    let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
    let number = scene.central.feed.position().number;
    let reached =
        || anyhow::Ok(scene.host.exec(&["test", "-e", &point.path().display().to_string()])?.status.code() == Some(1));
    // Those of the reservation come by themselves; the others want the agent to log in, work and leave.
    within("the statement", || Ok(reached()? || scene.status().is_ok_and(|status| status.feed >= number)))?;
    if !reached()? {
        agent.run("sudo uptime")?;
    }
    within("agentd's death", reached)?;
    ensure!(people.ssh("bob", "sudo -n id -u")?.out == "0\n", "bob cannot work");
    scene.resume()?;
    no_half_account(scene)?;
    it_ends(scene, &draft, &agent)
}

fn within(what: &str, until: impl Fn() -> anyhow::Result<bool>) -> Result {
    let start = Instant::now();
    while !until()? {
        ensure!(start.elapsed() < SETTLED, "waited {SETTLED:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The account files by name and by uid: those that there are, and those of the sessions that there are.
fn accounts(scene: &Scene) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
    let found =
        scene.host.sh("ls -A /run/tether/accounts/name /run/tether/accounts/uid | grep -v '^/' | grep .; true")?;
    let live = scene.status()?.sessions.into_iter().filter(|session| session.state != "closing");
    let wanted =
        live.flat_map(|s| [s.account.clone(), format!("{}-ro", s.account), s.uid.to_string(), (s.uid + 1).to_string()]);
    Ok((found.lines().map(str::to_owned).collect(), wanted.collect()))
}

fn no_half_account(scene: &Scene) -> Result {
    let start = Instant::now();
    loop {
        let (found, wanted) = accounts(scene)?;
        if found == wanted {
            return Ok(());
        }
        ensure!(start.elapsed() < SETTLED, "accounts {found:?}, and sessions have {wanted:?}");
    }
}

/// What was interrupted works or is refused; then it ends, and no part of it is left.
fn it_ends(scene: &mut Scene, draft: &Draft, agent: &Agent) -> Result {
    let session = &draft.grant.session;
    let state = |scene: &Scene| -> anyhow::Result<Option<String>> {
        Ok(scene.status()?.sessions.into_iter().find(|s| s.session == *session).map(|s| s.state))
    };
    if state(scene)?.as_deref() == Some("reserved") {
        let ran = agent.run("sudo uptime >/dev/null && echo in")?;
        let used = scene.trail()?.of(session.as_str()).any(|link| link.event.code == "delegation.used");
        ensure!(ran.out == "in\n" || used, "a reserved session lets nobody in, and its papers are not used: {ran:?}");
        if used {
            scene.host.sh(&format!("tether session end {session}; true"))?;
        }
    }
    scene.wait_gone(session.as_str())?;
    let ran = agent.run("echo in")?;
    ensure!(ran.code == 255 && ran.out.is_empty(), "the papers of a session that is over are good: {ran:?}");
    let left = "getent passwd | grep '^ag-'; ls -A /run/tether/accounts/name /run/tether/accounts/uid /var/lib/tether/sessions | grep -v '^/' | grep .; find /sys/fs/cgroup -path '*tether.sessions/*' -type d; ps -eo uid=,args= | awk '$1 >= 65536 && $1 <= 99999'; true";
    let start = Instant::now();
    loop {
        let found = scene.host.sh(left)?;
        if found.is_empty() {
            return Ok(());
        }
        ensure!(start.elapsed() < SETTLED, "this is left:\n{found}");
    }
}

/// The chain holds; each session that was seen was reserved first and removed last, and no two had a uid.
fn the_trail_is_whole(scene: &Scene) -> Result {
    let trail = scene.trail()?;
    let mut events: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut uids: BTreeMap<u64, &str> = BTreeMap::new();
    for link in &trail.0 {
        let Some(session) = link.event.ids.session.id() else { continue };
        events.entry(session).or_default().push(&link.event.event);
        if link.event.event == "session.reserved" {
            let uid = link.event.details.get("uid").and_then(serde_json::Value::as_u64).context("no uid")?;
            let other = uids.insert(uid, session);
            ensure!(other.is_none_or(|other| other == session), "uid {uid} was given to {other:?} and {session}");
        }
    }
    for (session, events) in &events {
        // A recording's end is told by a thread of its own, when nobody has the file open any more.
        let is_beside = |event: &&&str| event.starts_with("login.refused") || event.starts_with("recording.");
        let of_life: Vec<&&str> = events.iter().filter(|event| !is_beside(event)).collect();
        ensure!(of_life.first() == Some(&&"session.reserved"), "{session} was not reserved: {events:?}");
        ensure!(of_life.last() == Some(&&"session.removed"), "{session} was not removed: {events:?}");
    }
    ensure!(events.len() > Crash::ALL.len() / 2, "only {} sessions were seen", events.len());
    ensure!(!trail.has_code("session.remains"), "something was found after an end");
    Ok(())
}
