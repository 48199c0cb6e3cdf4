//! What a real host recorded is at central, as it was shown, whatever the host's root does to it afterwards; and what
//! root did before it was shipped is refused, by name.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tether_centrallink::{Central, Credential};
use tether_recording::{Reader, Stream};
use tether_testhost::Suite;
use tether_tests::agent::Ran;
use tether_tests::on_both_suites;
use tether_tests::provider::ALICE;
use tether_tests::realm::{Opened, Realm};
use tether_tests::recordings::{path, wait_for};

type Result<T = ()> = anyhow::Result<T>;

on_both_suites!(
    a_shipped_recording_survives_the_hosts_root,
    a_recording_that_was_swapped_before_is_refused_by_name,
    a_long_recording_goes_on_whoever_is_killed,
);

/// How long a recording may take to be whole at central: its courier asks ever later, and is one of several hosts'.
const WHOLE: Duration = Duration::from_secs(90);

/// The session's recordings as central lists them.
fn listed(realm: &Realm, session: &str) -> Result<Vec<Value>> {
    let authority = std::fs::read(realm.central.authority())?;
    let found: Value = realm.lab.on_switch(|| {
        let central = Central::new(&realm.central.url(), &authority)?;
        let token = Credential::Bearer(realm.central.break_glass());
        Ok::<_, anyhow::Error>(central.get(&format!("/v1/sessions/{session}/recordings"), token)?)
    })??;
    Ok(found["recordings"].as_array().context("no list")?.clone())
}

/// Waits until so many recordings of a session are in these states; their names with their states.
fn wait(realm: &Realm, session: &str, wanted: &BTreeMap<&str, &str>) -> Result {
    let begun = Instant::now();
    loop {
        let all = listed(realm, session)?;
        let states: BTreeMap<&str, &str> =
            all.iter().filter_map(|one| Some((one["name"].as_str()?, one["state"].as_str()?))).collect();
        if states == *wanted {
            return Ok(());
        }
        if begun.elapsed() > WHOLE {
            let journal = realm.host()?.journal("tether-courier").unwrap_or_default();
            anyhow::bail!("waited for {wanted:?}: {states:?}\n{journal}\n{}", realm.central.log()?);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What an auditor plays from central.
fn play(realm: &Realm, session: &str, name: &str) -> Result<Ran> {
    realm.central.admin(&["session", "play", session, name, "--raw"])
}

fn root(realm: &Realm, line: &str) -> Result<String> {
    let done = realm.host()?.exec(&["sh", "-c", line])?;
    ensure!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// The same words in a recording of the same length.
fn swapped(bytes: &[u8], from: &str, to: &str) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "{from} {to}");
    let at = bytes.windows(from.len()).rposition(|part| part == from.as_bytes()).context("it is not in there")?;
    let mut swapped = bytes.to_vec();
    swapped[at..at + to.len()].copy_from_slice(to.as_bytes());
    ensure!(shown(&swapped)?.contains(to), "the control: it is a recording that says something else");
    Ok(swapped)
}

fn shown(bytes: &[u8]) -> Result<String> {
    let (mut reader, mut out) = (Reader::new(), Vec::new());
    reader.take(bytes, |frame| {
        if frame.stream == Stream::Output {
            out.extend_from_slice(frame.data);
        }
    })?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// Puts bytes in a file's place, as root does who leaves no trace.
fn put(realm: &Realm, session: &str, name: &str, bytes: &[u8]) -> Result {
    realm.host()?.write_file(path(session, name), bytes, 0o640)?;
    root(realm, &format!("chgrp tether-courier {}", path(session, name))).map(drop)
}

fn a_shipped_recording_survives_the_hosts_root(suite: Suite) -> Result {
    let realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (Opened { session, .. }, agent) = realm.open(realm.host()?, &alice)?;
    let seen = agent.run("echo what was done; sudo uptime")?;
    ensure!(seen.code == 0 && seen.out.contains("load average"), "{seen:?}");
    let whole = BTreeMap::from([("exec-1", "whole"), ("sudo-1", "whole")]);
    wait(&realm, &session, &whole)?;
    // The host knows by central's word, and lets nothing go before that.
    let host = realm.host()?;
    let folder = format!("/var/lib/tether/recordings/{session}");
    wait_for("central's word at the host", || {
        Ok(host.sh(&format!("ls {folder}"))?.lines().filter(|name| name.ends_with(".shipped")).count() == 2)
    })?;
    host.sh("test -f /var/lib/tether/recordings/ships")?;
    let kept: BTreeMap<&str, Vec<u8>> = ["exec-1", "sudo-1"]
        .into_iter()
        .map(|name| Ok((name, host.read_file(path(&session, name))?)))
        .collect::<anyhow::Result<_>>()?;

    // Root swaps one and removes the other.
    put(&realm, &session, "exec-1", &swapped(&kept["exec-1"], "what was done", "what was said")?)?;
    root(&realm, &format!("rm {} && systemctl restart tether-courier tether-agentd", path(&session, "sudo-1")))?;
    for name in whole.keys() {
        let at = realm.central.path(&format!("recordings/{session}/{name}.rec"));
        ensure!(std::fs::read(at)? == kept[name], "{name}: central has other bytes than were recorded");
    }
    let played = play(&realm, &session, "exec-1")?;
    ensure!((played.code, &played.out) == (0, &seen.out), "not what was seen: {played:?} {seen:?}");
    wait(&realm, &session, &whole)?;

    // The page has them too. Whoever looked is on record.
    let page = realm.files.path().join("page.html");
    let page = page.to_str().context("a path")?;
    let plain = realm.central.plain(&["session", "show", &session, "--html", page])?;
    ensure!(plain.code == 0, "{plain:?}");
    let text = std::fs::read_to_string(page)?;
    ensure!(text.contains("what was done") && text.contains("load average"), "the page plays nothing");
    let trail = realm.central.trail()?;
    let read = trail.iter().filter(|link| link.event.event == "recording.read");
    let names: Vec<&str> = read.filter_map(|link| link.event.details["recording"].as_str()).collect();
    assert_eq!(names, ["exec-1", "exec-1", "sudo-1"]);
    ensure!(trail.iter().all(|link| link.event.event != "recording.alarm"), "an alarm about nothing");

    // Central's own copy is changed: the command line shows none of it, and says which.
    let at = realm.central.path(&format!("recordings/{session}/exec-1.rec"));
    std::fs::write(&at, swapped(&kept["exec-1"], "what was done", "what was said")?)?;
    let played = play(&realm, &session, "exec-1")?;
    ensure!(played.code == 1 && played.out.is_empty() && played.err.contains("exec-1 is not what"), "{played:?}");
    std::fs::write(&at, &kept["exec-1"])?;
    ensure!(play(&realm, &session, "exec-1")?.code == 0, "the control");
    Ok(())
}

fn a_recording_that_was_swapped_before_is_refused_by_name(suite: Suite) -> Result {
    let realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (Opened { session, .. }, agent) = realm.open(realm.host()?, &alice)?;
    // The chain goes on; recordings are held back.
    let held = "/run/systemd/system/tether-courier.service.d";
    root(
        &realm,
        &format!(
            "mkdir -p {held} && printf '[Service]\\nInaccessiblePaths=/var/lib/tether/recordings\\n' > {held}/held.conf \
             && systemctl daemon-reload && systemctl restart tether-courier"
        ),
    )?;
    let seen = agent.run("echo what was done")?;
    ensure!(seen.out == "what was done\n", "{seen:?}");
    wait(&realm, &session, &BTreeMap::from([("exec-1", "awaited")]))?;
    let host = realm.host()?;
    wait_for("its end on record", || {
        Ok(listed(&realm, &session)?.iter().all(|one| one["bytes"].is_u64() && one["regular"] == true))
    })?;
    let genuine = host.read_file(path(&session, "exec-1"))?;
    put(&realm, &session, "exec-1", &swapped(&genuine, "what was done", "what was said")?)?;
    root(&realm, &format!("rm -r {held} && systemctl daemon-reload && systemctl restart tether-courier"))?;
    wait(&realm, &session, &BTreeMap::from([("exec-1", "differs")]))?;
    let alarms = || -> Result<Vec<Value>> {
        let trail = realm.central.trail()?.into_iter().filter(|link| link.event.event == "recording.alarm");
        Ok(trail.map(|link| Value::Object(link.event.details)).collect())
    };
    let alarm = alarms()?;
    let [alarm] = alarm.as_slice() else { anyhow::bail!("{alarm:?}") };
    assert_eq!(
        (&alarm["recording"], &alarm["host"], &alarm["offset"]),
        (&"exec-1".into(), &"web-01".into(), &0.into())
    );
    let aside = realm.central.path("recordings").join(alarm["kept_aside"].as_str().context("nothing is kept aside")?);
    ensure!(shown(&std::fs::read(aside)?)? == "what was said\n", "what was swapped is no evidence");
    let played = play(&realm, &session, "exec-1")?;
    ensure!(played.code == 1 && played.err.contains("exec-1") && played.out.is_empty(), "{played:?}");
    let shipped = format!("/var/lib/tether/recordings/{session}/exec-1.shipped");
    host.sh(&format!("! test -e {shipped}"))?;

    // The courier says that central has it: agentd does not believe it.
    let inbox = "/var/spool/tether/inbox";
    root(&realm, &format!("echo e30.e30.c2ln > {inbox}/shipped-{session}-exec-1.jws"))?;
    wait_for("the forged word is refused", || {
        Ok(host
            .sh("grep -h recording.receipt_refused /var/lib/tether/audit/*.jsonl; true")?
            .contains("receipt_refused"))
    })?;
    host.sh(&format!("! test -e {shipped}"))?;

    // Control: the true bytes are taken, so it was the bytes; and what central says of them the host believes.
    put(&realm, &session, "exec-1", &genuine)?;
    root(&realm, "systemctl restart tether-courier")?;
    wait(&realm, &session, &BTreeMap::from([("exec-1", "whole")]))?;
    ensure!(play(&realm, &session, "exec-1")?.out == seen.out, "it is not what was seen");
    wait_for("central's word at the host", || Ok(host.sh(&format!("test -e {shipped} && echo in; true"))? == "in\n"))?;
    ensure!(alarms()?.len() == 1, "one alarm for all tries");
    Ok(())
}

fn a_long_recording_goes_on_whoever_is_killed(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (Opened { session, .. }, agent) = realm.open(realm.host()?, &alice)?;
    let connection = agent.connect()?;
    // It goes on, and what is whole of it is at central before its end: a root of later cannot take that back.
    let mut running = connection.start("head -c 6000000 /dev/urandom | base64; read line; echo the end")?;
    let mut out = running.stdout.take().context("it is piped")?;
    let reading = std::thread::spawn(move || {
        let mut seen = String::new();
        std::io::Read::read_to_string(&mut out, &mut seen).map(|_| seen)
    });
    wait(&realm, &session, &BTreeMap::from([("exec-1", "part")]))?;
    root(&realm, "systemctl kill -s KILL tether-courier")?;
    realm.central.kill();
    drop(running.stdin.take());
    ensure!(running.wait()?.success(), "the command");
    let seen = reading.join().ok().context("it is read")??;
    ensure!(seen.len() > 8_000_000 && seen.ends_with("the end\n"), "{}", seen.len());
    realm.central.serve()?;
    wait(&realm, &session, &BTreeMap::from([("exec-1", "whole")]))?;
    let at = realm.central.path(&format!("recordings/{session}/exec-1.rec"));
    ensure!(std::fs::read(&at)? == realm.host()?.read_file(path(&session, "exec-1"))?, "other bytes");
    let played = play(&realm, &session, "exec-1")?;
    ensure!(played.code == 0 && played.out == seen, "not what was seen: {} {}", played.out.len(), seen.len());
    Ok(())
}
