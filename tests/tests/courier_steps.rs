//! The courier dies before any of its calls, each in its turn, by SIGKILL. What it carries is at its end once, in order,
//! byte for byte, and nothing waits.

use anyhow::{Context, bail, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tether_central::store::{self, Place, Sqlite};
use tether_testhost::{Host, Suite};
use tether_tests::agent::Connection;
use tether_tests::provider::ALICE;
use tether_tests::realm::{Opened, Realm};
use tether_tests::steps::{self, Orders, Step, Whom, chosen};
use tether_tests::{Trail, on_bookworm_and_trixie_if_long};

type Result<T = ()> = anyhow::Result<T>;

on_bookworm_and_trixie_if_long!(a_courier_dies_before_any_of_its_calls);

/// As its unit starts it, without a second's pause before.
const COURIER: &str = "umask 077; exec setpriv --reuid=tether-courier --regid=tether-courier --init-groups \
                       /usr/libexec/tether/tether-courier run >/dev/null 2>>/srv/steps/courier.log";
/// So many deaths of the courier, unless all are wanted.
const DEATHS: usize = 100;
/// So many steps take each of its threads from its connection to the end of what it carried first, and more.
const ROUND: usize = 80;
/// How long all may take to be everywhere once nobody dies any more.
const SETTLED: Duration = Duration::from_secs(60);

/// What each of the courier's threads must have died before: the feed's, the report's, the chain's, the recordings'.
const COURIERS: [&str; 21] = [
    "1 connect -",
    "1 write socket",
    "1 read socket",
    "1 open .keys",
    "1 rename keys",
    "1 open .head",
    "1 rename head",
    "1 open .feed",
    "1 write .feed",
    "1 rename feed",
    "2 write socket",
    "2 read socket",
    "2 rename resume",
    "3 write socket",
    "3 read socket",
    "3 open .countersigned",
    "3 rename countersigned",
    "4 write socket",
    "4 read socket",
    "4 write .shipped",
    "4 rename shipped",
];

fn a_courier_dies_before_any_of_its_calls(suite: Suite) -> Result {
    let realm = Realm::new(suite)?;
    let host = realm.host()?;
    steps::build(host)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    host.sh("systemctl stop tether-courier")?;
    let stop = AtomicBool::new(false);
    let (ran, died) = std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&connection, &stop));
        let comer = scope.spawn(|| come(&realm, &alice, &stop));
        let died = die(host);
        stop.store(true, Ordering::SeqCst);
        let ran = worker.join().map_err(|_| anyhow::anyhow!("who works panicked"))?? + 1;
        ensure!(connection.run("echo unseen")?.out == "unseen\n", "no command");
        let least = Least { session: opened.session.clone(), recordings: ran, lines: signed(&here(host)?) };
        what_is_not_carried_is_missed(&realm, &least)?;
        host.sh("systemctl start tether-courier")?;
        comer.join().map_err(|_| anyhow::anyhow!("who comes panicked"))??;
        comes_to_its_end(&realm, &least)?;
        Ok::<_, anyhow::Error>((ran, died?))
    })?;
    let missed: Vec<&&str> = COURIERS.iter().filter(|kind| !died.contains_key(**kind)).collect();
    ensure!(missed.is_empty(), "no courier has died before {missed:?}: {died:?}");
    let deaths = died.values().sum::<usize>();
    eprintln!("{deaths} deaths before {} kinds of calls, {ran} commands", died.len());
    ensure!(2 * deaths > 3 * died.len(), "too few for this to mean anything");
    what_is_lost_or_twice_is_found(&realm)?;
    ensure!(connection.run("echo on")?.out == "on\n", "the session goes on");
    Ok(())
}

/// Commands, which make records and recordings, until it is told to stop. How many.
fn work(connection: &Connection<'_>, stop: &AtomicBool) -> Result<usize> {
    let mut ran = 0;
    while !stop.load(Ordering::SeqCst) {
        let done = connection.run(&format!("echo {ran}"))?;
        ensure!(done.out == format!("{ran}\n"), "{done:?}");
        ran += 1;
    }
    Ok(ran)
}

/// Sessions that are granted and taken back, of each of which the host is told. Most wait in vain for a courier that lives.
fn come(realm: &Realm, alice: &str, stop: &AtomicBool) -> Result {
    while !stop.load(Ordering::SeqCst) {
        let (ran, _) = realm.try_open("web-01", alice)?;
        if let Ok(opened) = serde_json::from_str::<Opened>(&ran.out) {
            realm.central.administer(&["revoke", "session", &opened.session])?;
        }
    }
    Ok(())
}

/// The controls: what nobody carries, and what a courier takes for placed and did not place; that one is stepped, and dies
/// of nothing.
fn what_is_not_carried_is_missed(realm: &Realm, least: &Least) -> Result {
    let missed = all_is_there(realm, least).err().context("what nobody carried is not missed")?;
    eprintln!("without a courier: {missed:#}");
    let lies = Orders { name: "tether-courier", seconds: 4, how: "l", at: None };
    steps::start(realm.host()?, &lies, Whom::Command(COURIER))?.end()?;
    let missed = all_is_there(realm, least).err().context("receipts that were not placed are not missed")?;
    eprintln!("with one that places nothing: {missed:#}");
    Ok(())
}

fn comes_to_its_end(realm: &Realm, least: &Least) -> Result {
    let begun = Instant::now();
    while let Err(why) = all_is_there(realm, least) {
        if begun.elapsed() > SETTLED {
            let read =
                "tail -n 40 /srv/steps/courier.log; journalctl -u tether-courier -u tether-agentd -n 60 --no-pager";
            bail!("after {SETTLED:?}: {why:#}\n{}", realm.host()?.sh(read)?);
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("all was there after {:?}", begun.elapsed());
    Ok(())
}

/// One courier after the other, each killed before another call. How many died before each kind of call.
fn die(host: &Host) -> Result<BTreeMap<String, usize>> {
    let orders = Orders { name: "tether-courier", seconds: 6, how: "", at: None };
    let seen = steps::start(host, &orders, Whom::Command(COURIER))?.end()?.seen;
    let seen = carrying(&seen);
    let tried = chosen(&seen, DEATHS);
    eprintln!("{} steps of {} are tried", tried.len(), seen.len());
    let mut died = BTreeMap::new();
    for step in &tried {
        let orders = Orders { at: Some(step), ..orders };
        let killed = steps::start(host, &orders, Whom::Command(COURIER))?.end()?.killed;
        // How many parts an answer comes in differs, and whether there is something to say twice.
        ensure!(killed || step.time > 1, "no courier came by {step:?}");
        *died.entry(step.kind()).or_default() += usize::from(killed);
    }
    Ok(died)
}

/// Of each thread the steps until it begins anew with what comes next, and the first of each kind, however late.
fn carrying(seen: &[Step]) -> Vec<Step> {
    let mut counts = BTreeMap::<usize, usize>::new();
    let is_one = |step: &&Step| {
        let count = counts.entry(step.thread).or_default();
        *count += 1;
        *count <= ROUND || step.time == 1
    };
    seen.iter().filter(is_one).cloned().collect()
}

/// What is to be there at least.
struct Least {
    session: String,
    recordings: usize,
    /// Lines of the host's chain.
    lines: usize,
}

fn here(host: &Host) -> Result<Vec<String>> {
    // What is being written may end within a line.
    let text = Trail::text(host)?;
    Ok(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect())
}

fn there(realm: &Realm) -> Result<Vec<String>> {
    let store = Sqlite::open_to_read(&realm.central.path("central.db"))?;
    let name = realm.host()?.name();
    let lines = store::look(&store, |act| Ok::<_, anyhow::Error>(act.lines(name, 0, Place::default(), usize::MAX)?))?;
    Ok(lines.into_iter().map(|(_, line)| line).collect())
}

/// How many lines the last signed head covers, with itself.
fn signed(lines: &[String]) -> usize {
    lines.iter().rposition(|line| line.starts_with("{\"head\"")).map_or(0, |last| last + 1)
}

/// Whether central has a host's chain, line by line.
fn is_same(here: &[String], there: &[String], least: usize) -> Result {
    ensure!(there.len() >= least, "central has {} lines of {least}", there.len());
    ensure!(there.len() <= here.len(), "central has {} lines, the host {}", there.len(), here.len());
    if let Some(at) = here.iter().zip(there).position(|(here, there)| here != there) {
        bail!("line {at} is {} at the host, and {} at central", here[at], there[at]);
    }
    Ok(())
}

/// Whether everything is where it belongs, once, and nobody waits for anything.
fn all_is_there(realm: &Realm, least: &Least) -> Result {
    let host = realm.host()?;
    let there = there(realm)?;
    let here = here(host)?;
    is_same(&here, &there, least.lines)?;
    is_logged_once(realm, &there)?;
    all_is_countersigned(&here, least.lines)?;
    all_recordings_are_there(realm, least)?;
    let hosts = realm.central.administer(&["hosts", "list"])?;
    let stands = &hosts[0];
    ensure!(stands["feed"] == stands["read"] && stands["listening"] == true, "the feed: {stands}");
    ensure!(stands["audit"]["state"] == "ok" && stands["audit"]["bad"].is_null(), "the chain: {stands}");
    let inbox = host.sh("ls -A /var/spool/tether/inbox")?;
    let stays = |name: &&str| ["head", "keys", "confirm-", "bundle-"].iter().any(|kind| name.starts_with(kind));
    let waits: Vec<&str> = inbox.lines().filter(|name| !stays(name)).collect();
    ensure!(waits.is_empty(), "in the inbox: {waits:?}");
    let alarms: Vec<_> =
        realm.central.trail()?.into_iter().filter(|link| link.event.event.ends_with(".alarm")).collect();
    ensure!(alarms.is_empty(), "{alarms:?}");
    let refused: Vec<_> = Trail::read(host)?.0.into_iter().filter(|link| link.event.event == "feed.refused").collect();
    ensure!(refused.is_empty(), "agentd was brought something that it does not take: {refused:?}");
    Ok(())
}

/// The records are in central's log, too, once and in their order.
fn is_logged_once(realm: &Realm, there: &[String]) -> Result {
    let store = Sqlite::open_to_read(&realm.central.path("central.db"))?;
    let entries = store::look(&store, |act| Ok::<_, anyhow::Error>(act.entries(0, usize::MAX)?))?;
    let chain = realm.host()?.name();
    let logged = entries.iter().filter(|entry| entry.chain == chain).map(|entry| entry.line.as_str());
    let records = there.iter().map(String::as_str).filter(|line| line.starts_with("{\"hash\""));
    // The log was read later than the lines.
    ensure!(logged.take(records.clone().count()).eq(records), "central's log has other records than its chain");
    Ok(())
}

/// agentd has central's word about all that was signed, each word once.
fn all_is_countersigned(here: &[String], least: usize) -> Result {
    let mut words = Vec::new();
    for jws in here.iter().filter_map(|line| line.strip_prefix("{\"countersigned\":\"")) {
        let payload = jws.split('.').nth(1).context("no JWS")?;
        let word: Value =
            serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).ok().context("no base64url")?)?;
        words.push(word["number"].as_u64().context("no number")?);
    }
    ensure!(words.is_sorted_by(|one, next| one < next), "a countersignature is there twice: {words:?}");
    let records = here.iter().take(least).filter(|line| line.starts_with("{\"hash\"")).count() as u64;
    ensure!(words.last() >= Some(&records), "{:?} of {records} records are countersigned", words.last());
    Ok(())
}

/// Each recording is at central as it is here, and agentd has a receipt for it.
fn all_recordings_are_there(realm: &Realm, least: &Least) -> Result {
    let (host, session) = (realm.host()?, &least.session);
    let folder = format!("/var/lib/tether/recordings/{session}");
    let names = host.sh(&format!("ls {folder}"))?;
    let names: BTreeSet<&str> = names.lines().collect();
    let recordings: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".rec")).collect();
    ensure!(recordings.len() >= least.recordings, "{} of {}", recordings.len(), least.recordings);
    for name in recordings {
        let here = host.read_file(format!("{folder}/{name}.rec"))?;
        let there = std::fs::read(realm.central.path(&format!("recordings/{session}/{name}.rec")))
            .with_context(|| format!("{name} is not at central"))?;
        ensure!(here == there, "{name}: other bytes");
        ensure!(names.contains(&*format!("{name}.shipped")), "agentd has no receipt for {name}");
    }
    Ok(())
}

/// The control: of what is there, one line less, one twice, two that have changed places, one bit.
fn what_is_lost_or_twice_is_found(realm: &Realm) -> Result {
    let there = there(realm)?;
    let here = here(realm.host()?)?;
    let (least, half) = (there.len(), there.len() / 2);
    is_same(&here, &there, least)?;
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut changed = there.clone();
        change(&mut changed);
        is_same(&here, &changed, least).is_err()
    };
    ensure!(with(&|lines| drop(lines.remove(half))), "a lost line is not found");
    ensure!(with(&|lines| lines.truncate(least - 1)), "a lost end is not found");
    ensure!(with(&|lines| lines.insert(half, lines[half].clone())), "a line that is there twice is not found");
    ensure!(with(&|lines| lines.swap(half, half + 1)), "another order is not found");
    ensure!(with(&|lines| lines[half].push(' ')), "another line is not found");
    Ok(())
}
