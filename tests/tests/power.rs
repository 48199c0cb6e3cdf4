//! The power of a host is cut while agents work. Its state lies on a disk that forgets whatever fsync of file and folder
//! did not cover. What anybody was told is there after each boot, once and in order, and central has the same past; the
//! control is the same disk with an fsync that does nothing.

use anyhow::{Context, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tether_audit::{Line, Link, Outcome, Reached, Verifier};
use tether_central::store::{self, Place, Sqlite};
use tether_forgetful::Fsync;
use tether_testhost::{Host, Suite};
use tether_tests::agent::Connection;
use tether_tests::central::seed;
use tether_tests::on_both_suites;
use tether_tests::power::HostDisk;
use tether_tests::provider::ALICE;
use tether_tests::realm::{Opened, Realm};
use tether_tests::{Agent, People, Trail};

type Result<T = ()> = anyhow::Result<T>;

on_both_suites!(
    what_was_acknowledged_survives_every_power_cut,
    without_fsync_loss_is_found,
    a_slow_disk_is_agents_alone,
    what_was_acknowledged_survives_every_kill,
);

/// How often the power is cut.
const CUTS: usize = 6;
/// How often somebody is killed.
const KILLS: usize = 18;
/// Sessions that work at a time.
const WORKING: usize = 3;
/// How long a flush takes on a disk that is somewhat slow.
const SLOWISH: Duration = Duration::from_millis(100);
/// How long it takes on a slow one: longer than anything that people do.
const SLOW: Duration = Duration::from_secs(5);
/// Seeds whose first cuts leave a part of what was not flushed.
const SEED: u64 = 1;

/// What a session was told.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    /// Commands that ran.
    ran: usize,
    /// Commands that were asked for.
    asked: usize,
}

/// All that anybody was told, by session.
type All = BTreeMap<String, Told>;

fn what_was_acknowledged_survives_every_power_cut(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    // Sessions of which the power made an end live on at central.
    realm.central.serve_with(|settings| settings.replace("per_pair = 8\n", "per_pair = 5000\n"))?;
    let mut disk = HostDisk::under(realm.host()?, SEED)?;
    admits(&realm)?;
    let cuts = if std::env::var_os("TETHER_TEST_LONG").is_some() { 10 * CUTS } else { CUTS };
    let mut told = All::new();
    for cut in 0..cuts {
        told.extend(work_and_cut(&realm, &mut disk)?);
        disk.boot(realm.hosts.first_mut().context("no host")?)?;
        let found = losses(&told, &on_disk(realm.host()?)?);
        ensure!(found.is_empty(), "cut {cut}: {found:?}");
        HostDisk::start(realm.host()?)?;
        admits(&realm).with_context(|| format!("after cut {cut}"))?;
        nothing_is_there_twice(&told, realm.host()?)?;
        every_recording_has_an_end(realm.host()?)?;
        central_has_the_same(&realm).with_context(|| format!("after cut {cut}"))?;
    }
    let (ran, sessions) = (told.values().map(|told| told.ran).sum::<usize>(), told.len());
    eprintln!("{}: {cuts} cuts, {sessions} sessions and {ran} commands acknowledged, nothing lost", suite.name());
    ensure!(ran > 3 * cuts && sessions > WORKING * cuts, "too little was done: {sessions} sessions, {ran} commands");
    let alarms = realm.central.trail()?.into_iter().filter(|link| link.event.event == "audit.alarm").count();
    ensure!(alarms == 0, "central has heard two pasts");
    Ok(())
}

/// agentd, courier and central are killed by turns, each at any moment, while agents work: what was acknowledged is
/// there, once, and central has it.
fn what_was_acknowledged_survives_every_kill(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let working: Vec<(Opened, Agent)> =
        (0..WORKING).map(|_| realm.open(realm.host()?, &alice)).collect::<Result<_>>()?;
    let connections: Vec<_> =
        working.iter().map(|(opened, agent)| Ok((opened.session.clone(), agent.connect()?))).collect::<Result<_>>()?;
    let kills = if std::env::var_os("TETHER_TEST_LONG").is_some() { 10 * KILLS } else { KILLS };
    let (told, stop) = (Mutex::new(All::new()), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let workers: Vec<_> = connections
            .into_iter()
            .map(|(session, connection)| scope.spawn(|| work_through(session, connection, &told, &stop)))
            .collect();
        let killed = kill_by_turns(&mut realm, kills);
        stop.store(true, Ordering::SeqCst);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        killed
    })?;
    let told = told.into_inner().expect("no panic");
    admits(&realm)?;
    let found = losses(&told, &on_disk(realm.host()?)?);
    ensure!(found.is_empty(), "{found:?}");
    nothing_is_there_twice(&told, realm.host()?)?;
    every_recording_has_an_end(realm.host()?)?;
    central_has_the_same(&realm)?;
    let ran = told.values().map(|told| told.ran).sum::<usize>();
    eprintln!("{}: {kills} kills, {ran} commands acknowledged, nothing lost", suite.name());
    ensure!(ran > kills, "too little was done: {told:?}");
    let alarms = realm.central.trail()?.into_iter().filter(|link| link.event.event == "audit.alarm").count();
    ensure!(alarms == 0, "central has heard two pasts");
    Ok(())
}

fn kill_by_turns(realm: &mut Realm, kills: usize) -> Result {
    for kill in 0..kills {
        let random = u64::from(u16::from_le_bytes(seed()?[..2].try_into()?));
        std::thread::sleep(Duration::from_millis(100) + Duration::from_micros(random * 10));
        match kill % 3 {
            0 => drop(realm.host()?.sh("systemctl kill --signal=KILL tether-courier")?),
            1 => drop(realm.host()?.sh("systemctl kill --signal=KILL tether-agentd")?),
            _ => {
                realm.central.kill();
                realm.central.serve()?;
            }
        }
    }
    Ok(())
}

/// Commands one after the other, whatever becomes of them.
fn work_through(session: String, connection: Connection<'_>, told: &Mutex<All>, stop: &AtomicBool) -> Result {
    let mut count = Told::default();
    while !stop.load(Ordering::SeqCst) {
        count.asked += 1;
        let ran = connection.run("sudo uptime >/dev/null && echo in")?;
        count.ran += usize::from(ran.out == "in\n");
    }
    told.lock().expect("no panic").insert(session, count);
    Ok(())
}

/// People notice nothing of it; agents wait or are refused, within a bound; what ran is on record, once.
fn a_slow_disk_is_agents_alone(suite: Suite) -> Result {
    let realm = Realm::new(suite)?;
    let people = People::new(&realm.lab, realm.host()?)?;
    let disk = HostDisk::under(realm.host()?, SEED)?;
    admits(&realm)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(realm.host()?, &alice)?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "control: no command");
    people.day(realm.host()?).context("control: people")?;
    // Somewhat slow: they wait.
    let (mut ran, mut asked) = (1, 1);
    disk.disk.set_slow(SLOWISH);
    for _ in 0..3 {
        let begun = Instant::now();
        let done = connection.run("sudo uptime >/dev/null && echo in")?;
        (ran, asked) = (ran + 1, asked + 1);
        ensure!(done.out == "in\n" && begun.elapsed() >= SLOWISH, "after {:?}: {done:?}", begun.elapsed());
    }
    disk.disk.set_slow(SLOW);
    let (flushes, over) = (disk.disk.flushes(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let agents = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !over.load(Ordering::SeqCst) {
                let begun = Instant::now();
                let done = connection.run("sudo uptime >/dev/null && echo in")?;
                (ran, asked) = (ran + usize::from(done.out == "in\n"), asked + 1);
                longest = longest.max(begun.elapsed());
                ensure!(done.out == "in\n" || done.err.contains("refused"), "refused without a word: {done:?}");
            }
            Ok(longest)
        });
        let day = people.day(realm.host()?).context("people, beside a slow disk")?;
        over.store(true, Ordering::SeqCst);
        let longest = agents.join().map_err(|_| anyhow::anyhow!("the agent panicked"))??;
        eprintln!("{}: a flush takes {SLOW:?}; people's deeds {day:?}, an agent's command {longest:?}", suite.name());
        ensure!(day.iter().all(|(_, took)| *took < SLOW), "people wait for the disk: {day:?}");
        ensure!(longest < 10 * SLOW, "an agent waits for {longest:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    ensure!(disk.disk.flushes() > flushes, "nothing was flushed meanwhile");
    disk.disk.set_slow(Duration::ZERO);
    admits(&realm)?;
    let told = All::from([(opened.session, Told { ran, asked })]);
    let found = losses(&told, &on_disk(realm.host()?)?);
    ensure!(found.is_empty(), "{found:?}");
    nothing_is_there_twice(&told, realm.host()?)
}

/// The control.
fn without_fsync_loss_is_found(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let mut disk = HostDisk::under(realm.host()?, SEED)?;
    admits(&realm)?;
    disk.disk.set_fsync(Fsync::Lies);
    let told = work_and_cut(&realm, &mut disk)?;
    disk.boot(realm.hosts.first_mut().context("no host")?)?;
    let found = losses(&told, &on_disk(realm.host()?)?);
    ensure!(!found.is_empty(), "a disk that keeps nothing has lost nothing: {told:?}");
    eprintln!("{}: {found:?}", suite.name());
    Ok(())
}

fn admits(realm: &Realm) -> Result {
    realm.wait(realm.host()?, "the host to admit", |status| status.state == "admitting")
}

/// Agents work and come while the power goes. What they were told.
fn work_and_cut(realm: &Realm, disk: &mut HostDisk) -> Result<All> {
    let host = realm.host()?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let working: Vec<(Opened, Agent)> = (0..WORKING).map(|_| realm.open(host, &alice)).collect::<Result<_>>()?;
    let (told, stop, begun) = (Mutex::new(All::new()), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            working.iter().map(|(opened, agent)| scope.spawn(|| work(opened, agent, &told, (&stop, &begun)))).collect();
        let comer = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let (ran, _) = realm.try_open(host.name(), &alice)?;
                let Ok(opened) = serde_json::from_str::<Opened>(&ran.out) else { continue };
                // A grant that was read after the cut was refused, which is for who logs in to hear.
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                told.lock().expect("no panic").entry(opened.session).or_default();
            }
            Ok::<_, anyhow::Error>(())
        });
        // The moment is any, once all are at work.
        let waits = Instant::now();
        while begun.load(Ordering::SeqCst) < WORKING && waits.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let random = u64::from(u16::from_le_bytes(seed()?[..2].try_into()?));
        std::thread::sleep(Duration::from_millis(400) + Duration::from_micros(random * 20));
        stop.store(true, Ordering::SeqCst);
        disk.cut();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        comer.join().map_err(|_| anyhow::anyhow!("who opens sessions panicked"))??;
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(told.into_inner().expect("no panic"))
}

/// Commands one after the other, until one is refused.
fn work(opened: &Opened, agent: &Agent, told: &Mutex<All>, (stop, begun): (&AtomicBool, &AtomicUsize)) -> Result {
    let connection = agent.connect()?;
    let mut count = Told::default();
    while !stop.load(Ordering::SeqCst) {
        count.asked += 1;
        let ran = connection.run("sudo uptime >/dev/null && echo in")?;
        if ran.out != "in\n" {
            break;
        }
        count.ran += 1;
        if count.ran == 1 {
            begun.fetch_add(1, Ordering::SeqCst);
        }
    }
    told.lock().expect("no panic").insert(opened.session.clone(), count);
    Ok(())
}

/// The records that are on a host's disk, whatever they hang on.
fn on_disk(host: &Host) -> Result<Vec<Link>> {
    let mut links = Vec::new();
    for line in Trail::text(host)?.lines() {
        let mut alone = Verifier::from(before(line));
        if let Ok(Line::Record { link, .. }) = alone.take(line) {
            links.push(*link);
        }
    }
    Ok(links)
}

/// Where a line says that it follows.
fn before(line: &str) -> Reached {
    let line: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let record = &line["record"];
    Reached {
        number: record["number"].as_u64().unwrap_or(1).saturating_sub(1),
        hash: record["previous"].as_str().unwrap_or_default().to_owned(),
        ..Reached::default()
    }
}

fn count(links: &[Link], session: &str, event: &str) -> usize {
    let is_it = |link: &&Link| {
        link.event.ids.session.id() == Some(session)
            && link.event.event == event
            && link.event.outcome == Outcome::Allowed
    };
    links.iter().filter(is_it).count()
}

/// What somebody was told and is not there.
fn losses(told: &All, links: &[Link]) -> Vec<String> {
    let mut lost = Vec::new();
    for (session, told) in told {
        let found = count(links, session, "sudo.command");
        if found < told.ran {
            lost.push(format!("{session}: {} commands ran, {found} are on record", told.ran));
        }
        if count(links, session, "session.reserved") == 0 {
            lost.push(format!("{session} is not on record"));
        }
    }
    lost
}

/// The chain holds from its start, and has nothing more often than it happened.
fn nothing_is_there_twice(told: &All, host: &Host) -> Result {
    let trail = Trail::read(host)?;
    for (session, told) in told {
        let (commands, reserved) =
            (count(&trail.0, session, "sudo.command"), count(&trail.0, session, "session.reserved"));
        ensure!(commands <= told.asked && reserved == 1, "{session}: {told:?}, on record {commands} and {reserved}");
    }
    let mut uids = BTreeSet::new();
    for link in trail.0.iter().filter(|link| link.event.event == "session.reserved") {
        let uid = link.event.details.get("uid").and_then(serde_json::Value::as_u64).context("no uid")?;
        ensure!(uids.insert(uid), "uid {uid} was given twice");
    }
    Ok(())
}

/// What was recorded when the power went has an end on record, and where its mark is lost, a gap before it.
fn every_recording_has_an_end(host: &Host) -> Result {
    let begun = Instant::now();
    loop {
        let trail = Trail::read(host)?;
        let named = |event: &str| -> BTreeSet<(String, String)> {
            let all = trail.0.iter().filter(|link| link.event.event == event);
            let name = |link: &Link| Some(link.event.details.get("recording")?.as_str()?.to_owned());
            all.filter_map(|link| Some((link.event.ids.session.id()?.to_owned(), name(link)?))).collect()
        };
        let (started, ended) = (named("recording.started"), named("recording.ended"));
        let open: Vec<_> = started.difference(&ended).collect();
        if open.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(10), "recordings without an end: {open:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What central was sent before the cut is what the host has after it, and it goes on from there.
fn central_has_the_same(realm: &Realm) -> Result {
    let host = realm.host()?;
    let wanted = Trail::read(host)?.0.len() as u64;
    let begun = Instant::now();
    loop {
        let hosts = realm.central.administer(&["hosts", "list"])?;
        let chain = &hosts[0]["audit"];
        let is_behind = chain["signed"].as_u64() < Some(wanted);
        ensure!(chain["bad"].is_null(), "central's word: {chain}");
        if chain["state"] == "ok" && !is_behind {
            break;
        }
        ensure!(begun.elapsed() < Duration::from_secs(30), "the chain does not come in: {chain}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let store = Sqlite::open_to_read(&realm.central.path("central.db"))?;
    let lines =
        store::look(&store, |act| Ok::<_, anyhow::Error>(act.lines(host.name(), 0, Place::default(), usize::MAX)?))?;
    let text = Trail::text(host)?;
    let mut here = text.lines();
    for (number, line) in lines {
        ensure!(here.next() == Some(line.as_str()), "central has another line {number:?}: {line}");
    }
    Ok(())
}
