//! A real host's audit chain at central: it comes in, signed from the enrolment on, waits while central is away, and what
//! root does to its past shows.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tether_centrallink::{Central, Credential};
use tether_testhost::{Host, Suite};
use tether_tests::on_both_suites;
use tether_tests::provider::ALICE;
use tether_tests::realm::Realm;

type Result<T = ()> = anyhow::Result<T>;

on_both_suites!(a_chain_comes_in_and_a_fork_shows, damage_on_a_disk_holds_up_nothing_else);

/// How the host's chain stands, once that holds; polled, since central is another process.
fn wait(realm: &Realm, what: &str, until: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let hosts = realm.central.administer(&["hosts", "list"])?;
        let chain = &hosts[0]["audit"];
        if until(chain) {
            return Ok(chain.clone());
        }
        if begun.elapsed() > Duration::from_secs(60) {
            let journal = realm.host()?.journal("tether-courier").unwrap_or_default();
            anyhow::bail!("waited 60 s for {what}: {chain}\n{journal}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What an auditor reads of a session: chain and event of each record.
fn events(realm: &Realm, session: &str) -> Result<Vec<String>> {
    let authority = std::fs::read(realm.central.authority())?;
    let found: Value = realm.lab.on_switch(|| {
        let central = Central::new(&realm.central.url(), &authority)?;
        let token = Credential::Bearer(realm.central.break_glass());
        Ok::<_, anyhow::Error>(central.get(&format!("/v1/sessions/{session}/trail"), token)?)
    })??;
    let lines = found["lines"].as_array().context("lines")?;
    lines
        .iter()
        .map(|entry| {
            let line: Value = serde_json::from_str(entry["line"].as_str().context("a line")?)?;
            let event = line["record"]["event"].as_str().context("an event")?.to_owned();
            Ok(format!("{} {event}", entry["chain"].as_str().context("a chain")?))
        })
        .collect()
}

fn count(events: &[String], event: &str) -> usize {
    events.iter().filter(|one| *one == event).count()
}

fn a_chain_comes_in_and_a_fork_shows(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(realm.host()?, &alice)?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");

    // From the enrolment on: what was committed to then is what the heads are signed by.
    let chain = wait(&realm, "a signed chain", |chain| chain["state"] == "ok" && chain["signed"].as_u64() > Some(0))?;
    ensure!(chain["anchored"] == true && chain["generation"] == 0, "{chain}");
    let begun = Instant::now();
    while count(&events(&realm, &opened.session)?, "web-01 sudo.command") == 0 {
        ensure!(begun.elapsed() < Duration::from_secs(30), "{:?}", events(&realm, &opened.session)?);
    }
    for event in ["central token.issued", "central grant.sent", "web-01 session.reserved", "web-01 login.bound"] {
        ensure!(count(&events(&realm, &opened.session)?, event) == 1, "{event}");
    }

    // Central is away: nothing is lost, nothing comes twice.
    realm.central.kill();
    for _ in 0..3 {
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
    }
    realm.central.serve()?;
    let begun = Instant::now();
    while count(&events(&realm, &opened.session)?, "web-01 sudo.command") < 4 {
        ensure!(begun.elapsed() < Duration::from_secs(60), "{:?}", events(&realm, &opened.session)?);
        std::thread::sleep(Duration::from_millis(200));
    }
    ensure!(count(&events(&realm, &opened.session)?, "web-01 sudo.command") == 4, "a record came twice");
    connection.close();

    // Root puts the chain back to what it was, and it goes on from there with another past.
    let host = realm.host()?;
    let root = |line: &str| -> Result {
        let done = host.exec(&["sh", "-c", line])?;
        ensure!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    };
    root("systemctl stop tether-agentd && cp -a /var/lib/tether /root/before && systemctl start tether-agentd")?;
    // What came in since is no longer here afterwards.
    let copied = host.sh("cat /root/before/audit/*.jsonl | grep -c '^{\"hash\"'")?.trim().parse::<u64>()?;
    let at = wait(&realm, "the chain after a restart", |now| now["signed"].as_u64() > Some(copied))?;
    root(
        "systemctl stop tether-courier tether-agentd && rm -rf /var/lib/tether && cp -a /root/before /var/lib/tether",
    )?;
    root("systemctl start tether-agentd tether-courier")?;
    let put_back = |chain: &Value| matches!(chain["state"].as_str(), Some("forked" | "rewound"));
    let found = wait(&realm, "the fork", put_back)?;
    ensure!(found["bad"].as_u64() <= at["number"].as_u64().map(|number| number + 1), "{found} {at}");
    let alarms = realm.central.trail()?.into_iter().filter(|link| link.event.event == "audit.alarm").count();
    ensure!((1..=2).contains(&alarms), "{alarms} alarms");
    Ok(())
}

/// One bit of a segment flips before central had it. What was before is there, what is after the next head comes in, the
/// alarm names the record, and another host notices nothing.
fn damage_on_a_disk_holds_up_nothing_else(suite: Suite) -> Result {
    let realm = Realm::with_hosts(suite, &["web-01", "web-02"])?;
    let host = realm.host()?;
    // So small that a few commands fill one.
    host.sh("printf '[audit]\nsegment_kib = 2\n' >> /etc/tether/host.toml; systemctl restart tether-agentd")?;
    realm.wait(host, "the host to admit", |status| status.state == "admitting")?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    let works = || -> Result {
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
        Ok(())
    };
    works()?;
    wait(&realm, "a signed chain", |chain| chain["state"] == "ok" && chain["signed"].as_u64() > Some(0))?;
    host.sh("systemctl stop tether-courier")?;
    let had = wait(&realm, "central's place", |_| true)?["number"].as_u64().context("a number")?;
    for _ in 0..8 {
        works()?;
    }
    let first = second_after(host, had)?;
    flip(host, first)?;
    host.sh("systemctl start tether-courier")?;

    let chain = wait(&realm, "the rest", |chain| chain["state"] == "damaged" && chain["generation"] == 1)?;
    ensure!(chain["anchored"] == false && chain["number"].as_u64() > Some(first), "{chain}");
    let trail = realm.central.trail()?;
    let of = |event: &str| -> Vec<_> {
        trail.iter().filter(|link| link.event.event == event).map(|link| &link.event.details).collect()
    };
    let alarms = of("audit.alarm");
    ensure!(alarms.len() == 1 && alarms[0]["number"] == first && alarms[0]["host"] == "web-01", "{alarms:?}");
    let begun = of("audit.begun").into_iter().find(|about| about["generation"] == 1).context("no other chain")?;
    ensure!(begun["missing"]["from"] == first, "{begun:?}");
    works()?;
    let before = count(&events(&realm, &opened.session)?, "web-01 sudo.command");
    works()?;
    let since = Instant::now();
    while count(&events(&realm, &opened.session)?, "web-01 sudo.command") <= before {
        ensure!(since.elapsed() < Duration::from_secs(30), "the chain does not go on");
        std::thread::sleep(Duration::from_millis(200));
    }
    let hosts = realm.central.administer(&["hosts", "list"])?;
    ensure!(hosts[1]["audit"]["state"] == "ok" && hosts[1]["audit"]["generation"] == 0, "{hosts}");
    Ok(())
}

/// The first record of the second whole segment after a record.
fn second_after(host: &Host, number: u64) -> Result<u64> {
    let names = host.sh("ls /var/lib/tether/audit | grep jsonl")?;
    let mut firsts: Vec<u64> = names.lines().filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok()).collect();
    // The last one is written to.
    firsts.pop();
    firsts.into_iter().filter(|first| *first > number).nth(1).context("too few segments")
}

/// Flips one bit in the middle of a segment's first line.
fn flip(host: &Host, first: u64) -> Result {
    let path = format!("/var/lib/tether/audit/{first:020}.jsonl");
    let text = host.read_file(&path)?;
    let at = text.iter().position(|byte| *byte == b'\n').context("no line")? / 2;
    let other = text[at] ^ 1;
    host.sh(&format!("printf '\\{other:o}' | dd of={path} bs=1 seek={at} conv=notrunc status=none"))?;
    ensure!(host.read_file(&path)?[at] == other, "nothing was flipped");
    Ok(())
}
