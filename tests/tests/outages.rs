//! What is out: the network, a courier, central. Agents are shut out on time and no sooner, come back by themselves,
//! and people notice nothing.

use anyhow::{Context, ensure};
use std::io::BufRead;
use std::process::Child;
use std::time::{Duration, Instant};
use tether_testhost::{Host, Suite};
use tether_tests::provider::{ALICE, BOB};
use tether_tests::realm::Realm;
use tether_tests::{People, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(agents_are_shut_out_on_time_and_people_never);

/// Without a head this young nobody new comes in, in seconds; heads come every second.
const SILENCE: u64 = 4;
/// Without one this young sessions end.
const SILENCE_LIVE: u64 = 9;
/// By how much later than that a host that shares two cores may be.
const SLACK: Duration = Duration::from_secs(4);

fn agents_are_shut_out_on_time_and_people_never(suite: Suite) -> Result {
    let times = format!("max_silence = {SILENCE}\nmax_silence_live = {SILENCE_LIVE}\n");
    let mut realm = Realm::with_settings(suite, &["web-01", "web-02"], "[feed]\nhead_seconds = 1\n", &times)?;
    let people: Vec<People> =
        realm.hosts.iter().map(|host| People::new(&realm.lab, host)).collect::<anyhow::Result<_>>()?;
    let (alice, bob) = (realm.provider.sign_in(&ALICE)?, realm.provider.sign_in(&BOB)?);
    let (opened, agent) = realm.open(&realm.hosts[1], &alice)?;
    let live = agent.connect()?;
    let mut running = started(&live)?;
    // Bound to nothing yet: this one has a certificate and waits.
    let (_, waits) = realm.open(&realm.hosts[1], &bob)?;

    the_network_of_one(&realm, &people, &bob).context("the network")?;
    a_courier(&realm, &realm.hosts[1]).context("the courier")?;
    ensure!(running.try_wait()?.is_none() && live.run("echo here")?.out == "here\n", "its session ended with it");

    realm.central.kill();
    let down = Instant::now();
    for (host, people) in realm.hosts.iter().zip(&people) {
        stale_on_time(&realm, host, down)?;
        people_work(people, host)?;
    }
    let refused = waits.run("echo in")?;
    ensure!(refused.code == 255 && refused.err.contains("feed.stale"), "with central down: {refused:?}");
    // What it has begun goes on for a while; it begins nothing more.
    if down.elapsed() < Duration::from_secs(SILENCE_LIVE - 2) {
        ensure!(live.run("sudo ss -tn")?.err.contains("[feed.stale]"), "a command with central down");
        ensure!(running.try_wait()?.is_none(), "it was ended too soon");
    }
    realm.wait_gone(&realm.hosts[1], &opened.session)?;
    let (most, ended) = (Duration::from_secs(SILENCE_LIVE), down.elapsed());
    ensure!(ended + Duration::from_secs(2) > most && ended < most + SLACK, "the session ended after {ended:?}");
    running.wait()?;
    for (host, people) in realm.hosts.iter().zip(&people) {
        people_work(people, host)?;
    }

    realm.central.serve_again()?;
    for host in &realm.hosts {
        realm.wait(host, "to admit again", |status| status.state == "admitting")?;
        let (_, agent) = realm.open(host, &alice)?;
        ensure!(agent.run("echo in")?.out == "in\n", "it does not come back");
    }
    ensure!(waits.run("echo in")?.code == 255, "what was ended by silence is back");
    Ok(())
}

fn started(connection: &tether_tests::agent::Connection<'_>) -> anyhow::Result<Child> {
    let mut running = connection.start("echo started; exec sleep 1000")?;
    let mut line = String::new();
    std::io::BufReader::new(running.stdout.as_mut().context("no stdout")?).read_line(&mut line)?;
    ensure!(line == "started\n", "{line:?}");
    Ok(running)
}

/// One host is cut off; the other does not notice.
fn the_network_of_one(realm: &Realm, people: &[People], token: &str) -> Result {
    let [one, two] = realm.hosts.as_slice() else { anyhow::bail!("two hosts") };
    one.set_link(false)?;
    let cut = Instant::now();
    stale_on_time(realm, one, cut)?;
    // Nobody reaches it; who sits there works.
    ensure!(one.sh("su - bob -c 'sudo -n id -u'")?.trim() == "0", "sudo without the network");
    people_work(&people[1], two)?;
    let status = realm.status(two)?;
    ensure!(status.state == "admitting", "the other host: {status:?}");
    one.set_link(true)?;
    realm.wait(one, "to admit again", |status| status.state == "admitting")?;
    let (_, agent) = realm.open(one, token)?;
    ensure!(agent.run("echo in")?.out == "in\n", "after the network is back");
    people_work(&people[0], one)
}

/// A courier that is killed is started again, before anybody is shut out.
fn a_courier(realm: &Realm, host: &Host) -> Result {
    let pid = |host: &Host| host.sh("systemctl show -p MainPID --value tether-courier");
    let before = pid(host)?;
    host.sh(&format!("kill -9 {}", before.trim()))?;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(SILENCE + 2) {
        let status = realm.status(host)?;
        ensure!(status.state == "admitting", "agents are shut out: {status:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = pid(host)?;
    ensure!(after != before && after.trim() != "0", "it is the same courier: {before} {after}");
    Ok(())
}

/// Shut out when the last head is too old: heads are a second apart.
fn stale_on_time(realm: &Realm, host: &Host, since: Instant) -> Result {
    realm.wait(host, "silence", |status| status.state == "stale")?;
    let (most, took) = (Duration::from_secs(SILENCE), since.elapsed());
    ensure!(took + Duration::from_secs(2) > most && took < most + SLACK, "{}: shut out after {took:?}", host.name());
    Ok(())
}

fn people_work(people: &People, host: &Host) -> Result {
    for (who, command) in [("bob", "sudo -n id -u"), ("carol", "echo rightcarol | sudo -k -S -p '' id -u")] {
        let ran = people.ssh(who, command)?;
        ensure!(ran.code == 0 && ran.out == "0\n", "{}: {who}: {ran:?}", host.name());
    }
    Ok(())
}
