//! Central is away for hours, or out of its mind, or strange files lie where the courier and agentd look: nothing that was
//! recorded is lost, all of it comes in once and in order, agents are refused when there is no more room, and people
//! notice nothing.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tether_audit::{Chain, HeadAt, HeadSigner, Link, Verified};
use tether_identity::SessionId;
use tether_statement::{Countersignature, Receipt, Revocation, Typ, digest};
use tether_testhost::{Host, Suite};
use tether_tests::central::HOST;
use tether_tests::evidence::{
    CHAIN, RECORDINGS, copy_out, export, roots, standing, verify, wait_shipped, wait_standing,
};
use tether_tests::forger::{Stolen, head, number};
use tether_tests::provider::ALICE;
use tether_tests::realm::Realm;
use tether_tests::recordings::{Recording, wait_for};
use tether_tests::scene::SHIPPED_BUNDLE;
use tether_tests::{People, Scene, Trail, on_bookworm_and_trixie_if_long};

type Result<T = ()> = anyhow::Result<T>;

// What is shipped is the same on both suites.
on_bookworm_and_trixie_if_long!(
    agents_work_until_there_is_no_room_and_all_of_it_comes_in,
    recordings_fill_the_host_and_go_once_central_has_them,
    a_revocation_passes_a_long_backlog,
    a_central_that_answers_anything_loses_nothing,
    strange_files_hold_up_nothing,
    bad_files_in_the_inbox_keep_nothing_good_out,
);

/// What central missed.
const HOURS_US: u64 = 5 * 3_600_000_000;

fn root(host: &Host, line: &str) -> Result<String> {
    let done = host.exec(&["sh", "-c", line])?;
    ensure!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// More settings for a host, which admits again.
fn set(realm: &Realm, host: &Host, more: &str) -> Result {
    let settings = String::from_utf8(host.read_file("/etc/tether/host.toml")?)?;
    host.write_file("/etc/tether/host.toml", format!("{settings}\n{more}"), 0o644)?;
    host.sh("systemctl restart tether-agentd")?;
    admits(realm, host)
}

fn admits(realm: &Realm, host: &Host) -> Result {
    realm.wait(host, "the host to admit", |status| {
        status.state == "admitting" && status.bundles.iter().any(|bundle| bundle.state == "usable")
    })
}

fn people_work(people: &People) -> Result {
    for (who, command) in [("bob", "sudo -n id -u"), ("carol", "echo rightcarol | sudo -k -S -p '' id -u")] {
        let ran = people.ssh(who, command)?;
        ensure!(ran.code == 0 && ran.out == "0\n", "{who}: {ran:?}");
    }
    Ok(())
}

/// The lines of a folder's segments, in order.
fn lines(folder: &Path) -> Result<Vec<String>> {
    Ok(Stolen::read(folder)?.lines())
}

/// The lines of a host as central exports them.
fn exported(folder: &Path) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        files.push(entry?.path());
    }
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
    files.sort();
    let texts: Vec<String> = files.iter().map(std::fs::read_to_string).collect::<std::io::Result<_>>()?;
    Ok(texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect())
}

/// Central has these lines, in this order, from its first on, and each record once.
fn came_in(theirs: &[String], ours: &[String]) -> Result {
    let differ = ours.iter().zip(theirs).position(|(our, their)| our != their);
    ensure!(differ.is_none() && theirs.len() >= ours.len(), "{} lines, {} here; {differ:?}", theirs.len(), ours.len());
    let numbers: Vec<u64> = theirs.iter().filter_map(|line| number(line)).collect();
    ensure!(numbers.iter().zip(1..).all(|(number, wanted)| *number == wanted), "a record is missing or there twice");
    Ok(())
}

/// Every recording that the host has, byte for byte at central.
fn recordings_came_in(realm: &Realm, host: &Host) -> Result<usize> {
    let files = host.sh(&format!("cd {RECORDINGS}; ls */*.rec"))?;
    for file in files.lines() {
        let ours = host.read_file(format!("{RECORDINGS}/{file}"))?;
        let at = realm.central.path(&format!("recordings/{file}"));
        let begun = Instant::now();
        while !std::fs::read(&at).is_ok_and(|theirs| theirs == ours) {
            let had = std::fs::read(&at).map(|theirs| theirs.len());
            ensure!(begun.elapsed() < Duration::from_secs(60), "{file}: {} bytes here, {had:?} there", ours.len());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(files.lines().count())
}

/// Agents may work for hours without central where the admin says so. Then the room for records ends, and with it their
/// turn; not a record goes that central has not, people work all the while, and all of it comes in when central is back.
fn agents_work_until_there_is_no_room_and_all_of_it_comes_in(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    realm.central.serve_with(|settings| settings.replace("silent_seconds = 90", "silent_seconds = 12"))?;
    realm.central.wait_listening()?;
    let host = realm.host()?;
    set(
        &realm,
        host,
        "[times]\nmax_silence = 21600\nmax_silence_live = 43200\n[audit]\nmax_mib = 1\nsegment_kib = 64\n",
    )?;
    let people = People::new(&realm.lab, host)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
    wait_standing(&realm, host, "a good chain", |chain| chain["state"] == "ok" && chain["anchored"] == true)?;

    // Nothing comes from the host: central says so.
    host.sh("systemctl stop tether-courier")?;
    wait_standing(&realm, host, "lateness", |chain| chain["state"] == "late")?;
    wait_standing(&realm, host, "silence", |chain| chain["state"] == "silent")?;
    wait_for("the alarm", || Ok(realm.central.trail()?.iter().any(|link| link.event.code == "audit.silent")))?;
    realm.central.kill();
    let host = realm.host()?;
    host.sh("systemctl start tether-courier")?;

    // Agents work until the room is full: each command line is long, and on record.
    let long = "x".repeat(7500);
    let begun = Instant::now();
    let (mut ran, mut refused) = (0, None);
    while refused.is_none() {
        let one = connection.run(&format!("sudo uptime > /dev/null; echo in: {long}"))?;
        ensure!(begun.elapsed() < Duration::from_secs(60), "after {ran} commands: {:?}", realm.status(host)?);
        match one.code {
            0 => ran += 1,
            _ => refused = Some(one),
        }
    }
    ensure!(ran > 50, "{ran}");
    let refused = refused.context("refused")?;
    ensure!(refused.err.contains("[audit.full]"), "a channel: {refused:?}");
    let status = realm.status(host)?;
    ensure!(status.state == "audit.full" && status.audit.closed.as_deref() == Some("audit.full"), "{status:?}");
    ensure!(agent.run("echo in")?.code == 255, "a login");
    // However often it is tried, the bound holds.
    for _ in 0..20 {
        ensure!(connection.run(&format!("echo in: {long}"))?.code != 0, "a channel");
    }
    people_work(&people)?;
    let held = realm.status(host)?.audit;
    ensure!(held.bytes < (1 << 20) + (1 << 17), "the bound does not hold: {held:?}");
    let folder = tempfile::tempdir()?;
    let before = folder.path().join("before");
    wait_for("a head over all of it", || {
        let audit = realm.status(host)?.audit;
        Ok(audit.signed == audit.records)
    })?;
    copy_out(host, CHAIN, &before)?;
    let ours = lines(&before)?;
    ensure!(number(&ours[0]) == Some(1) || number(&ours[1]) == Some(1), "records are gone that central has not");
    let segments = Stolen::read(&before)?.segments.len();
    ensure!(segments > 10, "{segments} segments");

    // Central is back. Nobody does anything here.
    realm.central.serve()?;
    let back = Instant::now();
    let host = realm.host()?;
    wait_shipped(&realm, host)?;
    eprintln!("{} lines in {segments} segments came in {:?} after central", ours.len(), back.elapsed());
    wait_standing(&realm, host, "a good chain", |chain| chain["state"] == "ok")?;
    realm.wait(host, "agents to be let in", |status| status.state == "admitting")?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "its session does not go on");
    wait_for("room", || Ok(realm.status(host)?.audit.bytes < 1 << 20))?;
    realm.central.administer(&["revoke", "session", &opened.session])?;
    realm.wait_gone(host, &opened.session)?;
    let recordings = recordings_came_in(&realm, host)?;
    ensure!(recordings > 2 * ran, "{recordings} recordings of {ran} commands");
    people_work(&people)?;

    wait_shipped(&realm, host)?;
    let export = export(&realm, folder.path().join("export"))?;
    came_in(&exported(&export.join("hosts/web-01"))?, &ours)?;
    let (path, trust) = (export.display().to_string(), roots(host)?);
    let mut words = vec!["--export", &path];
    words.extend(trust.iter().flat_map(|root| ["--root", root.as_str()]));
    let (code, said) = verify(&words)?;
    ensure!(code == 0, "{said:#}");
    let trail = realm.central.trail()?;
    let alarms: Vec<&str> =
        trail.iter().filter(|link| link.event.event == "audit.alarm").map(|link| link.event.code.as_str()).collect();
    ensure!(!alarms.is_empty() && alarms.iter().all(|code| *code == "audit.silent"), "{alarms:?}");
    Ok(())
}

/// The room for recordings ends before that for records. Nothing goes that central has not; once it has them the oldest go,
/// and agents are let in again.
fn recordings_fill_the_host_and_go_once_central_has_them(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let host = realm.host()?;
    set(&realm, host, "[times]\nmax_silence = 21600\nmax_silence_live = 43200\n[recording]\nhost_mib = 3\n")?;
    let people = People::new(&realm.lab, host)?;
    let (_, agent) = realm.open(host, &realm.provider.sign_in(&ALICE)?)?;
    let connection = agent.connect()?;
    ensure!(connection.run("echo in")?.out == "in\n", "no command");
    realm.central.kill();
    let host = realm.host()?;
    let (mut ran, begun) = (0, Instant::now());
    let refused = loop {
        let one = connection.run("head -c 200000 /dev/urandom | base64 -w0")?;
        ensure!(begun.elapsed() < Duration::from_secs(30), "it may record what it likes: {ran}");
        match one.code {
            0 => ran += 1,
            _ => break one,
        }
    };
    ensure!(refused.err.contains("[recording.full]") && ran > 5, "after {ran}: {refused:?}");
    people_work(&people)?;
    // Longer than room is looked for.
    std::thread::sleep(Duration::from_secs(6));
    ensure!(connection.run("echo in")?.code != 0, "room was made of what central has not");
    let folder = tempfile::tempdir()?;
    copy_out(host, RECORDINGS, folder.path())?;

    realm.central.serve()?;
    let (host, back) = (realm.host()?, Instant::now());
    while connection.run("echo in")?.code != 0 {
        ensure!(back.elapsed() < Duration::from_secs(60), "agents stay out: {}", host.journal("tether-agentd")?);
        std::thread::sleep(Duration::from_millis(200));
    }
    eprintln!("agents are in again {:?} after central", back.elapsed());
    recordings_came_in(&realm, host)?;
    let (mut all, mut gone) = (0, 0);
    for entry in std::fs::read_dir(folder.path())? {
        let session = entry?.path();
        for entry in std::fs::read_dir(&session).into_iter().flatten() {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "rec") {
                let file = path.strip_prefix(folder.path())?.display().to_string();
                let theirs = std::fs::read(realm.central.path(&format!("recordings/{file}")));
                ensure!(theirs.is_ok_and(|theirs| std::fs::read(&path).is_ok_and(|ours| ours == theirs)), "{file}");
                all += 1;
                gone += usize::from(host.read_file(format!("{RECORDINGS}/{file}")).is_err());
            }
        }
    }
    ensure!(all > ran && (1..all).contains(&gone), "{gone} of {all} went");
    let removed = host.sh(&format!("grep -ch '\"event\":\"recording.removed\"' {CHAIN}/*.jsonl; true"))?;
    let removed: usize = removed.lines().filter_map(|line| line.parse::<usize>().ok()).sum();
    ensure!(removed >= gone, "{gone} went, {removed} on record");
    people_work(&people)
}

/// Writes what a host would have recorded in hours without central, signed with its own key; agentd takes it up. How many
/// records it has then.
fn live_for_hours(realm: &Realm, host: &Host, records: u64) -> Result<u64> {
    let folder = tempfile::tempdir()?;
    root(host, "systemctl stop tether-agentd")?;
    copy_out(host, CHAIN, folder.path())?;
    let stolen = Stolen::read(folder.path())?;
    let all = stolen.lines();
    let last = all.iter().rev().find(|line| number(line).is_some()).context("no record")?;
    let value: Value = serde_json::from_str(last)?;
    let link: Link = serde_json::from_value(value["record"].clone())?;
    let hash = value["hash"].as_str().context("a hash")?.to_owned();
    let before = all.iter().rev().find_map(|line| head(line)).context("a head")?.head;
    let mut signer = HeadSigner::new(stolen.key.0, stolen.key.1);
    while signer.index() <= before.key {
        signer = signer.next();
    }
    let (mut chain, mut previous) =
        (Chain::after(&link.host, &link.boot, Verified { records: link.number, head: hash }), before.digest()?);
    let (mut event, mut text, mut first) = (link.event, String::new(), link.number + 1);
    let write = |first: u64, text: &str| -> Result {
        let path = format!("{CHAIN}/{first:020}.jsonl");
        host.write_file(&path, text, 0o640)?;
        root(host, &format!("chgrp tether-courier {path}")).map(drop)
    };
    for at in 0..records {
        event.details = serde_json::json!({"at": at, "of": records, "words": "x".repeat(300)})
            .as_object()
            .context("an object")?
            .clone();
        let time_us = link.time_us + HOURS_US * (at + 1) / records;
        let next = chain.next(event.clone(), time_us)?;
        chain.commit(&next);
        text.push_str(&next.line);
        text.push('\n');
        if at % 100 == 99 || at + 1 == records {
            let (host, boot) = (link.host.as_str(), link.boot.as_str());
            let (number, hash) = (chain.number(), chain.head());
            let signed = signer.sign(&HeadAt { host, boot, number, hash, time_us, previous: &previous })?;
            previous = signed.head.digest()?;
            text.push_str(&signed.line()?);
            text.push('\n');
            signer = signer.next();
        }
        if text.len() > 8 << 20 {
            write(first, &text)?;
            (text, first) = (String::new(), chain.number() + 1);
        }
    }
    write(first, &text)?;
    root(host, "systemctl start tether-agentd")?;
    admits(realm, host)?;
    Ok(chain.number())
}

/// The courier's way to the chain or to recordings is barred, or free again.
fn bar(host: &Host, folders: &[&str]) -> Result {
    let held = "/run/systemd/system/tether-courier.service.d";
    let bars: String = folders.iter().map(|folder| format!("InaccessiblePaths={folder}\\n")).collect();
    root(
        host,
        &format!("mkdir -p {held} && printf '[Service]\\n{bars}' > {held}/held.conf && systemctl daemon-reload"),
    )?;
    root(host, "systemctl restart tether-courier").map(drop)
}

/// Tens of MiB wait when central comes back, and the host's clock has run back by hours: whom it revokes at that moment is
/// out at once, and all the rest comes in, in batches.
fn a_revocation_passes_a_long_backlog(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let host = realm.host()?;
    bar(host, &[CHAIN, RECORDINGS])?;
    admits(&realm, host)?;
    let last = live_for_hours(&realm, host, 44_000)?;
    let (opened, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    let seen = connection.run("head -c 12000000 /dev/urandom | base64 -w0; echo the end")?;
    ensure!(seen.code == 0 && seen.out.len() > 16_000_000, "{}", seen.out.len());
    let mut running = connection.start("echo started; exec sleep 1000")?;
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(running.stdout.as_mut().context("no stdout")?),
        &mut String::new(),
    )?;
    let had = standing(&realm, host)?["number"].as_u64().context("a number")?;
    ensure!(had < last - 40_000, "it is no backlog: {had} of {last}");

    realm.central.kill();
    let host = realm.host()?;
    bar(host, &[])?;
    realm.central.serve()?;
    let back = Instant::now();
    // Until it is being sent.
    let host = realm.host()?;
    wait_standing(&realm, host, "the backlog", |chain| chain["number"].as_u64() > Some(had))?;
    let revoked = Instant::now();
    realm.central.administer(&["revoke", "session", &opened.session])?;
    realm.wait_gone(host, &opened.session)?;
    let took = revoked.elapsed();
    running.wait()?;
    let then = standing(&realm, host)?["number"].as_u64().context("a number")?;
    ensure!(then < last, "the backlog was there before: it held up nothing, and this shows nothing");
    ensure!(took < Duration::from_secs(5), "the revocation took {took:?} with the backlog at {then} of {last}");

    let last = wait_shipped(&realm, host)?;
    let all = back.elapsed();
    let folder = tempfile::tempdir()?;
    copy_out(host, CHAIN, &folder.path().join("chain"))?;
    let ours = lines(&folder.path().join("chain"))?;
    let bytes: usize = ours.iter().map(String::len).sum();
    eprintln!("revoked within {took:?} at {then} of {last} records; {} MiB came in within {all:?}", bytes >> 20);
    ensure!(bytes > 30 << 20, "{bytes}");
    ensure!(all < Duration::from_secs(60), "{all:?}");
    wait_standing(&realm, host, "a good chain", |chain| chain["state"] == "ok" && chain["anchored"] == true)?;
    recordings_came_in(&realm, host)?;
    wait_shipped(&realm, host)?;
    let theirs = exported(&export(&realm, folder.path().join("export"))?.join("hosts/web-01"))?;
    came_in(&theirs, &ours[..ours.iter().rposition(|line| head(line).is_some()).context("a head")?])?;
    let trail = realm.central.trail()?;
    ensure!(trail.iter().all(|link| link.event.event != "audit.alarm"), "an alarm about nothing");
    Ok(())
}

/// Where central was, with its name and its certificate, somebody who answers anything.
const MAD: &str = r#"
import http.server, json, socketserver, ssl, sys, time
folder, address, port, way = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
class Mad(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): pass
    def say(self, status, body, kind="application/json"):
        self.send_response(status); self.send_header("Content-Type", kind)
        self.send_header("DPoP-Nonce", "n"); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def any(self):
        left = int(self.headers.get("Content-Length") or 0)
        while left > 0:
            left -= len(self.rfile.read(min(left, 65536)))
        with open(folder + "/mad." + way, "a") as f: f.write(self.command + " " + self.path + "\n")
        audit, recording = "/host/audit" in self.path, "/host/recording" in self.path
        if way == "garbage": return self.say(200, b"\xff\xfe{garbage" * 1000)
        if way == "huge": return self.say(200, b"[" * (20 << 20))
        if way == "errors": return self.say(503, b"<html>bad gateway</html>", "text/html")
        if way == "slow": time.sleep(4)
        if audit and way in ("slow", "nothing"): return self.say(200, json.dumps({"number": 0, "lines": 0}).encode())
        if audit and way == "beyond": return self.say(200, json.dumps({"number": 2**64-1, "lines": 2**64-1, "countersignature": "a.b.c"}).encode())
        if audit and way == "trouble": return self.say(200, json.dumps({"number": 3, "lines": 0, "trouble": {"state": "broken", "code": "x", "number": 3, "why": "y"}}).encode())
        if recording: return self.say(200, json.dumps({"bytes": 2**63 if way == "beyond" else 0, "whole": True, "next": None if way == "beyond" else 2**64-1, "receipt": "a.b.c" if way == "beyond" else None}).encode())
        if "/host/feed" in self.path:
            events = b"event: head\ndata: garbage\n\nevent: keys\ndata: " + b"x" * 300000 + b"\n\nevent: statement\nid: 99999999\ndata: a.b.c\n\nevent: bundle\nid: ../../x\ndata: a\n\n"
            return self.say(200, events, "text/event-stream")
        self.say(200, json.dumps({"resume": "a.b.c"}).encode())
    do_GET = do_POST = do_PUT = any
class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True; allow_reuse_address = True
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/tls/chain.pem", folder + "/tls/key.pem")
server = Server((address, port), Mad)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
print("ready", flush=True)
server.serve_forever()
"#;

struct Mad(Child);

impl Mad {
    fn start(realm: &Realm, way: &str) -> Result<Self> {
        let listens = realm.central.listens();
        let (address, port) = listens.rsplit_once(':').context("a port")?;
        let mut python = realm.lab.client_command("python3")?;
        python.args(["-c", MAD]).arg(realm.central.path("")).args([address, port, way]);
        let mut child = Self(python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?);
        let mut line = String::new();
        let out = child.0.stdout.as_mut().context("no stdout")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line)?;
        ensure!(line == "ready\n", "{line:?}");
        Ok(child)
    }
}

impl Drop for Mad {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The wall clock of whoever loads it, so many seconds apart. What is decided runs on another clock.
const APART: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, id, now);
    if (done == 0 && id == CLOCK_REALTIME) now->tv_sec += atol(getenv("APART") ? getenv("APART") : "0");
    return done;
}
"#;

/// agentd and the courier have another idea of the time of day.
fn set_apart(realm: &Realm, host: &Host, seconds: i64) -> Result {
    let folder = tempfile::tempdir()?;
    let (source, library) = (folder.path().join("apart.c"), folder.path().join("apart.so"));
    std::fs::write(&source, APART)?;
    let made =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    host.copy_in(&library, "/usr/lib/apart.so", 0o755)?;
    for unit in ["tether-agentd", "tether-courier"] {
        let held = format!("/run/systemd/system/{unit}.service.d");
        root(
            host,
            &format!(
                "mkdir -p {held} && printf '[Service]\\nEnvironment=LD_PRELOAD=/usr/lib/apart.so APART={seconds}\\n' > {held}/apart.conf"
            ),
        )?;
    }
    root(host, "systemctl daemon-reload && systemctl restart tether-agentd tether-courier")?;
    admits(realm, host)
}

/// Garbage, too much, errors, slowness, places that are wrong either way, alarms about nothing; and then central again, to
/// which the host comes with a clock that is hours behind, and hours ahead.
fn a_central_that_answers_anything_loses_nothing(suite: Suite) -> Result {
    let mut realm = Realm::new(suite)?;
    let host = realm.host()?;
    let people = People::new(&realm.lab, host)?;
    set(&realm, host, "[times]\nmax_silence = 21600\nmax_silence_live = 43200\n[audit]\nsegment_kib = 16\n")?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (_, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
    let files = |host: &Host| host.sh(&format!("cd {CHAIN}; ls *.jsonl; cd {RECORDINGS}; ls */*.rec"));
    realm.central.kill();
    for way in ["garbage", "huge", "errors", "nothing", "beyond", "trouble", "slow"] {
        let host = realm.host()?;
        let before = files(host)?;
        let mad = Mad::start(&realm, way)?;
        // What waited for longer does not wait now.
        host.sh("systemctl restart tether-courier")?;
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "{way}: no command");
        let asked = || {
            Ok::<_, anyhow::Error>(
                std::fs::read_to_string(realm.central.path(&format!("mad.{way}"))).unwrap_or_default(),
            )
        };
        wait_for(way, || {
            let asked = asked()?;
            Ok(["/host/audit", "/host/recording", "/host/feed", "/host/report"].iter().all(|path| asked.contains(path)))
        })?;
        // How often it asks in some seconds, and what it holds by then.
        std::thread::sleep(Duration::from_secs(2));
        people_work(&people)?;
        let asked = asked()?;
        let mut times: BTreeMap<&str, u32> = BTreeMap::new();
        for line in asked.lines() {
            *times.entry(line.split('?').next().unwrap_or_default()).or_default() += 1;
        }
        ensure!(times.values().all(|times| *times < 40), "{way}: {times:?}");
        let after = files(host)?;
        ensure!(before.lines().all(|file| after.contains(file)), "{way}: {before}\n{after}");
        let memory = host.sh("grep VmRSS /proc/$(systemctl show -p MainPID --value tether-courier)/status")?;
        let kib: u64 = memory.split_whitespace().nth(1).context("VmRSS")?.parse()?;
        ensure!(kib < 100_000, "{way}: {memory}");
        drop(mad);
    }
    realm.central.serve()?;
    let host = realm.host()?;
    wait_shipped(&realm, host)?;
    wait_standing(&realm, host, "a good chain", |chain| chain["state"] == "ok" && chain["generation"] == 0)?;
    realm.wait(host, "agents to be let in", |status| status.state == "admitting")?;

    // Hours behind, and hours ahead: what comes in is the same.
    for (seconds, state) in [(-5 * 3600, "late"), (5 * 3600, "ok")] {
        set_apart(&realm, host, seconds)?;
        let last = host.sh(&format!("tail -qn1 $(ls {CHAIN}/*.jsonl | tail -n1)"))?;
        ensure!(!last.is_empty(), "no line");
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "{seconds}: no command");
        wait_shipped(&realm, host)?;
        wait_standing(&realm, host, state, |chain| chain["state"] == state)?;
        let age = |line: &str| -> Result<i64> {
            let time: i64 = serde_json::from_str::<Value>(line)?["record"]["time_us"].as_i64().context("a time")?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_micros();
            Ok((i64::try_from(now)? - time) / 1_000_000)
        };
        let line = host.sh(&format!("grep -h '^{{\"hash\"' $(ls {CHAIN}/*.jsonl | tail -n 2) | tail -n 1"))?;
        ensure!((age(line.trim())? + seconds).abs() < 60, "the control: its clock is not apart: {}", age(line.trim())?);
    }
    recordings_came_in(&realm, host)?;
    wait_shipped(&realm, host)?;
    let folder = tempfile::tempdir()?;
    copy_out(host, CHAIN, &folder.path().join("chain"))?;
    let ours = lines(&folder.path().join("chain"))?;
    let signed = ours.iter().rposition(|line| head(line).is_some()).context("a head")?;
    wait_shipped(&realm, host)?;
    let theirs = exported(&export(&realm, folder.path().join("export"))?.join("hosts/web-01"))?;
    came_in(&theirs, &ours[..signed])?;
    let trail = realm.central.trail()?;
    let alarms = trail.iter().filter(|link| link.event.event.ends_with(".alarm")).count();
    ensure!(alarms == 0, "{alarms} alarms about nothing");
    people_work(&people)
}

/// Each is set aside, passed over or replaced, with its code in the journal, and the rest goes on.
fn strange_files_hold_up_nothing(suite: Suite) -> Result {
    let realm = Realm::new(suite)?;
    let host = realm.host()?;
    set(&realm, host, "[audit]\nsegment_kib = 8\n")?;
    let alice = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(host, &alice)?;
    let connection = agent.connect()?;
    let works = || -> Result {
        ensure!(connection.run("sudo uptime >/dev/null && echo in")?.out == "in\n", "no command");
        Ok(())
    };
    works()?;
    wait_shipped(&realm, host)?;
    let inbox = "/var/spool/tether/inbox";
    let said = |word: &str| -> Result<bool> { Ok(host.journal("tether-courier")?.contains(word)) };

    // The inbox: folders in the way of all that the courier writes.
    let names = "head.jws .head.jws keys.jws countersigned.jws .countersigned.jws resume.jws .resume.jws";
    root(
        host,
        &format!(
            "cd {inbox}; rm -f head.jws keys.jws; mkdir -p {names}; touch head.jws/evidence; mkfifo feed-1.jws; ln -s /etc/shadow bundle-x.jws; echo half > feed-99999.jws; head -c 900000 /dev/zero > confirm-x.jws; echo a.b.c > shipped-x-y.jws; mkdir .feed-2.jws"
        ),
    )?;
    works()?;
    let (_, second) = realm.open(host, &alice)?;
    ensure!(second.run("echo in")?.out == "in\n", "nobody new comes in");
    wait_shipped(&realm, host)?;
    let last = realm.status(host)?.audit.records;
    wait_for("central's word", || Ok(realm.status(host)?.audit.countersigned >= last))?;
    wait_for("a head", || Ok(root(host, &format!("test -f {inbox}/head.jws && echo in; true"))? == "in\n"))?;
    ensure!(said("[inbox.not_plain]")?, "it is not reported");
    ensure!(host.sh(&format!("ls {inbox}/.aside-head.jws-*"))? == "evidence\n", "what was there is lost");

    // Recordings: what has a session's name and is no folder, what the courier may not enter, what is no file.
    root(
        host,
        &format!(
            "cd {RECORDINGS}; echo x > 00000000000000000000000000000001; mkdir -m 700 00000000000000000000000000000002; \
             ln -s /etc 00000000000000000000000000000003; ln -s /etc/shadow {0}/exec-77.rec; mkdir {0}/exec-78.rec; \
             mkfifo {0}/exec-79.rec",
            opened.session
        ),
    )?;
    works()?;
    let genuine = host.sh(&format!("cd {RECORDINGS}; find {} -type f -name '*.rec'", opened.session))?;
    for file in genuine.lines() {
        let at = realm.central.path(&format!("recordings/{file}"));
        wait_for(file, || Ok(std::fs::read(&at).ok() == host.read_file(format!("{RECORDINGS}/{file}")).ok()))?;
    }
    ensure!(said("[recording.not_plain]")? && said("[recording.unreadable]")?, "it is not reported");
    // agentd starts beside all that.
    host.sh("systemctl restart tether-agentd")?;
    admits(&realm, host)?;

    // The chain: one segment that the courier may not read, one that is no file. What comes after them goes on.
    host.sh("systemctl stop tether-courier")?;
    let had = standing(&realm, host)?["number"].as_u64().context("a number")?;
    for _ in 0..20 {
        works()?;
    }
    let names = host.sh(&format!("ls {CHAIN} | grep jsonl"))?;
    let firsts: Vec<u64> = names.lines().filter_map(|name| name.strip_suffix(".jsonl")?.parse().ok()).collect();
    let waiting: Vec<u64> = firsts.iter().copied().filter(|first| *first > had + 1).collect();
    ensure!(waiting.len() > 4, "{waiting:?} after {had}");
    root(
        host,
        &format!(
            "cd {CHAIN}; chmod 0 {:020}.jsonl; mv {1:020}.jsonl kept; mkdir {1:020}.jsonl",
            waiting[0], waiting[2]
        ),
    )?;
    host.sh("systemctl start tether-courier")?;
    let begun = Instant::now();
    let chain = wait_standing(&realm, host, "the rest", |chain| {
        chain["state"] == "damaged"
            && chain["generation"].as_u64() >= Some(1)
            && chain["number"].as_u64() >= Some(waiting[3])
    })?;
    eprintln!("it went on after {:?}: {chain}", begun.elapsed());
    ensure!(said("[spool.unreadable]")? && said("[spool.not_plain]")?, "it is not reported");
    let alarms: BTreeMap<String, u64> = realm
        .central
        .trail()?
        .iter()
        .filter(|link| link.event.event == "audit.alarm")
        .map(|link| (link.event.code.clone(), link.event.details["number"].as_u64().unwrap_or_default()))
        .collect();
    ensure!(alarms.values().any(|number| *number == waiting[0]), "no alarm names record {}: {alarms:?}", waiting[0]);
    works()?;
    let last = realm.status(host)?.audit.records;
    wait_standing(&realm, host, "what came after it", |chain| chain["signed"].as_u64() >= Some(last))?;
    Ok(())
}

/// What may lie under a name of the inbox; `$1` is the name.
const BAD: [(&str, &str, &str); 10] = [
    ("a folder", "mkdir $1", "inbox.not_removed"),
    ("a link", "ln -s /etc/passwd $1", "inbox.unreadable"),
    ("a link to nowhere", "ln -s /nowhere/x $1", "inbox.unreadable"),
    ("a link to itself", "ln -s $1 $1", "inbox.unreadable"),
    ("a FIFO", "mkfifo $1", "inbox.unreadable"),
    ("a file with two names", "echo x > .other-$1; ln .other-$1 $1", "inbox.unreadable"),
    ("too much", "truncate -s 1T $1", "inbox.unreadable"),
    ("no text", "printf '\\377\\376' > $1", "inbox.unreadable"),
    ("nothing", ": > $1", "feed.malformed"),
    ("half a text", "printf eyJhbGciOiJFZERTQSJ9.e30 > $1", "feed.malformed"),
];

/// Central's words of each kind, each first under a name at which something bad lies.
fn bad_files_in_the_inbox_keep_nothing_good_out(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    let (draft, agent) = scene.session()?;
    let session = draft.grant.session.clone();
    let (connection, mut named) = (agent.connect()?, Vec::new());
    for at in 0..BAD.len() {
        ensure!(connection.run("echo in")?.out == "in\n", "command {at}");
        named.push(Recording::last(&scene, session.as_str())?.name);
    }
    for (round, (what, make, code)) in BAD.into_iter().enumerate() {
        let source = SHIPPED_BUNDLE.replace("version = 1", &format!("version = {}", round + 2));
        let text = scene.central.sign_bundle(&source)?.1;
        let next = scene.central.feed.position().number + 1;
        let shipped = format!("shipped-{session}-{}.jws", named[round]);
        let names = [
            "keys.jws".to_owned(),
            format!("feed-{next}.jws"),
            format!("bundle-{}.jws", digest(&text)),
            "confirm-triage.jws".to_owned(),
            "countersigned.jws".to_owned(),
            "head.jws".to_owned(),
            shipped.clone(),
        ];
        bad(&scene, &names, make).with_context(|| what.to_owned())?;
        words(&mut scene, &source, &session, (&named[round], &shipped)).with_context(|| what.to_owned())?;
        // The answer to a start.
        scene.host.sh("systemctl restart tether-agentd")?;
        bad(&scene, &["resume.jws".to_owned()], make).with_context(|| what.to_owned())?;
        scene.resume().with_context(|| what.to_owned())?;
        ensure!(scene.trail()?.has_code(code), "{what}: no record has {code}: {:?}", scene.trail()?.codes());
    }
    let text = Trail::text(&scene.host)?;
    for event in ["feed.refused", "audit.countersignature_refused", "recording.receipt_refused"] {
        ensure!(text.contains(event), "{event} is not on record");
    }
    ensure!(connection.run("sudo uptime")?.code == 0, "its session does not go on");
    Ok(())
}

/// Puts something bad there; agentd has looked at all of it when this returns.
fn bad(scene: &Scene, names: &[String], make: &str) -> Result {
    let inbox = "/var/spool/tether/inbox";
    for name in names {
        root(&scene.host, &format!("cd {inbox}; rm -rf {name}; set -- {name}; {make}"))?;
    }
    // What was put there without being written is met with what is written next.
    root(&scene.host, &format!("echo a.b.c > {inbox}/feed-0.jws"))?;
    let folder = make.starts_with("mkdir");
    let begun = Instant::now();
    loop {
        let there = format!("cd {inbox}; ls -d {} feed-0.jws 2>/dev/null; true", names.join(" "));
        let left = root(&scene.host, &there)?;
        if left.lines().count() == if folder { names.len() } else { 0 } {
            break;
        }
        ensure!(begun.elapsed() < Duration::from_secs(20), "{left} is not looked at");
        std::thread::sleep(Duration::from_millis(20));
    }
    // The courier sets folders aside.
    root(&scene.host, &format!("cd {inbox}; rm -rf {} .other-*", names.join(" "))).map(drop)
}

/// Each of central's words is taken.
fn words(scene: &mut Scene, source: &str, session: &SessionId, (name, shipped): (&str, &str)) -> Result {
    let keys = scene.central.keys()?;
    scene.central.drop(&scene.host, "keys.jws", &keys)?;
    scene.central.revoke(&scene.host, Revocation::Session("aaaaaaaaaaaaaaaaaaaa".parse()?))?;
    scene.read()?;
    scene.publish(source)?;
    let host = &scene.host;
    wait_for("the keys", || Ok(host.sh("cat /var/lib/tether/trust.json")?.contains(&keys)))?;
    scene.wait("a head", |status| status.head_age_s.is_some_and(|age| age < 10) && status.state == "admitting")?;
    scene.wait("a head over all", |status| status.audit.signed == status.audit.records)?;
    let text = Trail::text(host)?;
    let last = text.lines().rev().find_map(head).context("a head")?.head;
    let (number, hash, time) = (last.number, last.hash.clone(), scene.central.now());
    let word = Countersignature { host: HOST.parse()?, number, hash, head: last.digest()?, time };
    scene.central.drop(host, "countersigned.jws", &scene.central.audit_key.sign(Typ::Countersignature, &word)?)?;
    scene.wait("the countersignature", |status| status.audit.countersigned >= number)?;
    let bytes = host.read_file(tether_tests::recordings::path(session.as_str(), name))?;
    let mut pieces = tether_recording::Pieces::new();
    pieces.take(&bytes, |_| ());
    let (recording, sha256) = (name.to_owned(), pieces.digest());
    let bytes = bytes.len() as u64;
    let word = Receipt { host: HOST.parse()?, session: session.clone(), recording, bytes, sha256, time };
    scene.central.drop(host, shipped, &scene.central.audit_key.sign(Typ::Receipt, &word)?)?;
    let mark = format!("test -f {RECORDINGS}/{session}/{name}.shipped && echo in; true");
    wait_for("the receipt", || Ok(host.sh(&mark)? == "in\n"))
}
