//! In the wrong hands: every online key of central, and the courier.

use anyhow::{Context, ensure};
use serde_json::json;
use std::process::Child;
use std::time::{Duration, Instant};
use tether_bundle::Bundle;
use tether_statement::issue::Signing;
use tether_statement::{BundleConfirmation, BundlePin, Revocation, Typ, digest};
use tether_testhost::{Host, Suite};
use tether_tests::central::{SECOND_ISSUER, now};
use tether_tests::provider::ALICE;
use tether_tests::realm::Realm;
use tether_tests::scene::SHIPPED_BUNDLE;
use tether_tests::{Central, Draft, Scene, on_both_suites};

type Result = anyhow::Result<()>;

on_both_suites!(every_online_key_of_central, a_hostile_courier_delays_and_nothing_else);

const WRITES: &str = "\n[[rule]]\nid = 'w'\nprogram = '/usr/bin/tee'\narguments = ['/etc/motd']\nmode = 'write'\n\
    run_as = 'root'\nwrites = ['/etc/motd']\n";

/// What central signs with; the thief has all of them. Not among them: the root's and the security team's.
fn stolen(central: &Central) -> Vec<(&'static str, Signing)> {
    vec![
        ("feed", central.feed_key.clone()),
        ("grant", central.grant_key.clone()),
        ("revocation", central.revocation_key.clone()),
        ("token", central.token_key.clone()),
    ]
}

/// A stolen key under the name of one that was not stolen.
fn named(key: &Signing, name: &Signing) -> Signing {
    let mut key = key.clone();
    key.kid.clone_from(&name.kid);
    key
}

fn shipped(version: u64, more: &str) -> String {
    SHIPPED_BUNDLE.replacen("version = 1\n", &format!("version = {version}\n"), 1) + more
}

/// Does something and waits until the host has refused it under a code.
fn refused(scene: &mut Scene, code: &str, attack: impl FnOnce(&mut Scene) -> Result) -> Result {
    let before = count(&scene.host, code)?;
    attack(scene)?;
    let done = scene.wait(code, |_| count(&scene.host, code).is_ok_and(|now| now > before));
    done.with_context(|| format!("wanted {code}; recorded were {:?}", scene.trail().map(|trail| trail.0.len())))
}

/// How often something was refused under a code, what is counted without a record of its own included.
fn count(host: &Host, code: &str) -> anyhow::Result<usize> {
    let journal = host.journal("tether-agentd")?;
    let chain = tether_tests::Trail::text(host)?;
    Ok(journal.matches(&format!("[{code}]")).count() + chain.matches(&format!("\"code\":\"{code}\"")).count())
}

fn every_online_key_of_central(suite: Suite) -> Result {
    let mut scene = Scene::new(suite)?;
    bundles(&mut scene).context("bundles")?;
    keys(&mut scene).context("keys")?;
    lives(&mut scene).context("sessions")?;
    // After all of it: what is within bounds is had, with the bundle of the security team, and no other.
    let (_, agent) = scene.session()?;
    let connection = agent.connect()?;
    ensure!(connection.run("sudo ss -tn")?.code == 0, "the bundle is not usable any more");
    ensure!(connection.run("sudo tee /etc/motd")?.err.contains("[bundle.no_rule]"), "the write rule is in force");
    Ok(())
}

/// A bundle that may write, its confirmation, a name that goes back.
fn bundles(scene: &mut Scene) -> Result {
    let usable = |version: u64| {
        move |status: &tether_hostlink::StatusReport| {
            status.bundles.iter().any(|bundle| bundle.version == Some(version) && bundle.state == "usable")
        }
    };
    // The control: the security team's key does all of it.
    scene.publish(&shipped(7, ""))?;
    let (mut bundle, good) = scene.central.sign_bundle(&shipped(8, ""))?;
    let writes: Bundle = scene.central.sign_bundle(&shipped(8, WRITES))?.0;
    let mut version = 8;
    for (name, key) in stolen(&scene.central) {
        for key in [key.clone(), named(&key, &scene.central.bundle_key)] {
            version += 1;
            bundle.version = version;
            let text = key.sign(Typ::Bundle, &Bundle { version, ..writes.clone() })?;
            let pinned = bundle.clone();
            refused(scene, "bundle.refused", |scene| {
                scene.central.pin(&scene.host, &pinned, &text)?;
                scene.central.deliver_bundle(&scene.host, &text)
            })
            .with_context(|| format!("a bundle by the {name} key"))?;
            scene.wait("the last good one", usable(7))?;
        }
    }
    for (name, key) in stolen(&scene.central) {
        for key in [key.clone(), named(&key, &scene.central.bundle_key)] {
            let word = BundleConfirmation { name: bundle.name.clone(), version: 8, sha256: digest(&good), time: now() };
            let text = key.sign(Typ::Confirmation, &word)?;
            // A name of its own, so that each refusal is recorded by itself.
            let file = format!("confirm-{name}-{}.jws", &digest(&text)[..8]);
            refused(scene, "bundle.refused", |scene| scene.central.drop(&scene.host, &file, &text))
                .with_context(|| format!("a confirmation by the {name} key"))?;
        }
    }
    for (what, version, text) in [("an older bundle", 6, "anything"), ("another one of that version", version, "x")] {
        let pin = BundlePin { name: bundle.name.clone(), version, sha256: digest(text) };
        let body = tether_statement::Body::Pin(pin);
        refused(scene, "bundle.old_pin", |scene| scene.central.say(&scene.host, &body).map(drop))
            .with_context(|| what.to_owned())?;
    }
    scene.wait("the last good one", usable(7))?;
    // The control: signed, pinned and confirmed as it has to be, with a higher version, it is taken.
    scene.publish(&shipped(version + 1, ""))?;
    scene.wait("the next one", usable(version + 1))
}

/// A new issuer, another CA, another bundle key: all of that is a key set, which the root signs.
fn keys(scene: &mut Scene) -> Result {
    let good = scene.central.keys()?;
    let payload = tether_tests::papers::opened(&good)?.1;
    for (name, key) in stolen(&scene.central) {
        let mut set = payload.clone();
        set["version"] = json!(1000);
        set["issuers"][0]["namespaces"] = json!(["@example.org", "@evil.example"]);
        for key in [key.clone(), named(&key, &scene.central.root)] {
            scene.central.drop(&scene.host, "keys.jws", &key.sign(Typ::Keys, &set)?)?;
            // What is taken stays there; what is refused is thrown away.
            gone(scene, "keys.jws").with_context(|| format!("a key set by the {name} key"))?;
        }
    }
    let trail = scene.trail()?;
    ensure!(trail.has_code("keys.unknown_key") && trail.has_code("keys.signature"), "{:?}", trail.codes());
    // The control: the root's is taken, although its version is lower than the thief's, and stays.
    scene.central.drop(&scene.host, "keys.jws", &good)?;
    scene.central.say(&scene.host, &nothing()?)?;
    scene.read()?;
    ensure!(scene.central.lies_there(&scene.host, "keys.jws")?, "the root's own key set was refused");
    Ok(())
}

/// A revocation of nothing, as a mark: what was dropped before it has been read when it has.
fn nothing() -> anyhow::Result<tether_statement::Body> {
    Ok(tether_statement::Body::Revocation(Revocation::Session("aaaaaaaaaaaaaaaaaaaa".parse()?)))
}

/// Waits until a file is thrown out of the inbox.
fn gone(scene: &Scene, name: &str) -> Result {
    let start = Instant::now();
    while scene.central.lies_there(&scene.host, name)? {
        ensure!(start.elapsed() < Duration::from_secs(10), "{name} stays: it was taken");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

type Change = fn(&mut Draft, &Central) -> Result;

/// Sessions that live longer than the host's admin allows, of issuers and humans that nobody vouched for, and
/// statements by a key of another role.
fn lives(scene: &mut Scene) -> Result {
    let attacks: Vec<(&str, &str, Change)> = vec![
        ("a session above the ceiling", "ceiling.session_seconds", |d, _| {
            d.grant.expires_at = now() + 9 * 3600;
            Ok(())
        }),
        ("connections above the ceiling", "ceiling.connections", |d, _| {
            d.grant.connections = 5;
            Ok(())
        }),
        ("a delegation that lives longer", "delegation.too_long", |d, _| {
            d.claims["exp"] = json!(now() + 9 * 3600);
            Ok(())
        }),
        ("a certificate that lives longer", "certificate.too_long", |d, _| {
            d.certificate.valid_before = now() + 9 * 3600;
            Ok(())
        }),
        ("an issuer of the thief's own", "delegation.unknown_issuer", |d, _| {
            d.claims["iss"] = json!("https://evil.example");
            d.grant.issuer = "https://evil.example".to_owned();
            Ok(())
        }),
        ("a human of another namespace", "delegation.namespace", |d, c| {
            d.claims["iss"] = json!(SECOND_ISSUER);
            d.grant.issuer = SECOND_ISSUER.to_owned();
            d.header["kid"] = json!(c.second_token_key.kid);
            d.token_key = c.second_token_key.clone();
            Ok(())
        }),
    ];
    for (what, code, change) in attacks {
        refused(scene, code, |scene| {
            let (draft, agent) = {
                let mut draft = Draft::new(&scene.central)?;
                change(&mut draft, &scene.central)?;
                let agent = draft.issue(&mut scene.central, &scene.lab, &scene.host)?;
                (draft, agent)
            };
            scene.read()?;
            let ran = agent.run("echo in")?;
            ensure!(ran.code != 0 && !ran.out.contains("in\n"), "{what}: it was let in: {ran:?}");
            let session = draft.grant.session.as_str().to_owned();
            ensure!(!scene.trail()?.of(&session).any(|link| link.event.event == "login.bound"), "{what}");
            Ok(())
        })
        .with_context(|| what.to_owned())?;
    }
    // The feed goes on only with the key of the role.
    let body = nothing()?;
    let (mut feed, key) = (scene.central.feed.clone(), scene.central.token_key.clone());
    let (number, text) = feed.append(&key, &body, now())?;
    refused(scene, "feed.unknown_key", |scene| scene.central.drop(&scene.host, &format!("feed-{number}.jws"), &text))?;
    scene.central.say(&scene.host, &body)?;
    scene.read().context("the same by the key of its role is taken")
}

/// Where the real courier puts what central pushes, so that a hand in between can do with it what it likes.
const STASH: &str = "/var/lib/tether-courier/stash";
const DROP_IN: &str = "/etc/systemd/system/tether-courier.service.d/hand.conf";

/// As the courier's user: `carry` moves what comes into the inbox, until its stdin ends; `flood` fills the inbox for a while.
const HAND: &str = r#"
import os, select, sys
stash, inbox, mode = sys.argv[1:4]
def put(name, data):
    with open(f'{inbox}/.{name}', 'wb') as f: f.write(data)
    os.rename(f'{inbox}/.{name}', f'{inbox}/{name}')
if mode == 'carry':
    while not select.select([sys.stdin], [], [], 0.01)[0]:
        names = [name for name in os.listdir(stash) if not name.startswith('.')]
        for name in sorted(names, key=lambda name: name == 'head.jws'):
            try: put(name, open(f'{stash}/{name}', 'rb').read()); os.unlink(f'{stash}/{name}')
            except FileNotFoundError: pass
elif mode == 'put':
    put(sys.argv[4], sys.stdin.buffer.read())
elif mode == 'odd':
    number = int(sys.argv[4])
    with open(f'{inbox}/bundle-huge.jws', 'wb') as f: f.truncate(1 << 40)
    for name, target in [(f'feed-{number}.jws', '/etc/shadow'), ('bundle-link.jws', '/dev/zero')]:
        os.symlink(target, f'{inbox}/{name}')
    os.mkfifo(f'{inbox}/confirm-fifo.jws')
    put('keys.jws', bytes(range(256)))
elif mode == 'flood':
    number = int(sys.argv[4])
    for at in range(3000):
        put(f'feed-{number + at}.jws', b'A' * 200)
        put(f'junk-{at}', b'x')
    for at in range(2000): put('head.jws', b'B' * (at % 300))
"#;

struct Hand<'h> {
    host: &'h Host,
    carrying: Option<Child>,
}

impl Hand<'_> {
    fn run(&self, arguments: &[&str], stdin: &[u8]) -> anyhow::Result<std::process::Output> {
        let command = self.host.command("python3").args(&["-c", HAND, STASH, "/var/spool/tether/inbox"]);
        Ok(command.args(arguments).user("tether-courier").stdin(stdin).output()?)
    }

    fn put(&self, name: &str, text: &str) -> Result {
        let done = self.run(&["put", name], text.as_bytes())?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    fn carry(&mut self) -> Result {
        let command = self.host.command("python3").args(&["-c", HAND, STASH, "/var/spool/tether/inbox", "carry"]);
        self.carrying = Some(command.user("tether-courier").spawn()?);
        Ok(())
    }

    fn withhold(&mut self) -> Result {
        let Some(mut child) = self.carrying.take() else { return Ok(()) };
        drop(child.stdin.take());
        ensure!(child.wait()?.success(), "the hand fell off");
        Ok(())
    }

    /// What lies in the stash under a name, once it is there.
    fn stashed(&self, name: &str) -> anyhow::Result<String> {
        let start = Instant::now();
        let path = format!("{STASH}/{name}");
        loop {
            match self.host.read_file(&path) {
                Ok(text) => return Ok(String::from_utf8(text)?),
                Err(error) if start.elapsed() > Duration::from_secs(10) => return Err(error.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

impl Drop for Hand<'_> {
    fn drop(&mut self) {
        let _ = self.withhold();
    }
}

fn a_hostile_courier_delays_and_nothing_else(suite: Suite) -> Result {
    let realm = Realm::with_settings(suite, &["web-01"], "[feed]\nhead_seconds = 1\n", "max_silence = 4\n")?;
    let host = realm.host()?;
    let folder = format!("install -d -m 700 -o tether-courier -g tether-courier {STASH}");
    host.sh(&format!("{folder}; install -d {}", DROP_IN.rsplit_once('/').context("a path")?.0))?;
    host.write_file(DROP_IN, format!("[Service]\nBindPaths={STASH}:/var/spool/tether/inbox\n"), 0o644)?;
    host.sh("systemctl daemon-reload; systemctl restart tether-courier")?;
    let mut hand = Hand { host, carrying: None };

    // The control: a hand that carries everything is a courier.
    hand.carry()?;
    let token = realm.provider.sign_in(&ALICE)?;
    let (opened, agent) = realm.open(host, &token)?;
    let connection = agent.connect()?;
    ensure!(connection.run("echo in")?.out == "in\n");

    // It withholds a revocation, and everything after it.
    hand.withhold()?;
    let revoked_at = Instant::now();
    realm.central.administer(&["revoke", "session", &opened.session])?;
    let number = realm.central.administer(&["hosts", "list"])?[0]["feed"].as_u64().context("no feed")?;
    let name = format!("feed-{number}.jws");
    let withheld = hand.stashed(&name)?;
    silence_shows(&realm, host)?;
    let ran = connection.run("sudo ss -tn")?;
    ensure!(ran.err.contains("[feed.stale]"), "a command, though nothing is heard of central: {ran:?}");

    // It forges, it replays, it lets the next one come first.
    realm.publish(&shipped(2, ""))?;
    let next = hand.stashed(&format!("feed-{}.jws", number + 1))?;
    let (signed, signature) = withheld.rsplit_once('.').context("no signature")?;
    let (payload, other) = (signed.rsplit_once('.').context("no payload")?.1, next.split('.').nth(1));
    let swapped = withheld.replacen(payload, other.context("no payload")?, 1);
    let before = realm.status(host)?.feed;
    ensure!(before + 1 == number, "it was not withheld: {before}");
    for (file, text) in [
        (name.clone(), format!("{signed}.{}", "A".repeat(signature.len()))),
        (name.clone(), swapped),
        (format!("feed-{}.jws", number + 1), next.clone()),
        (format!("feed-{before}.jws"), next.clone()),
        ("resume.jws".to_owned(), next.clone()),
        ("head.jws".to_owned(), next.clone()),
        ("keys.jws".to_owned(), next.clone()),
    ] {
        hand.put(&file, &text)?;
    }
    codes(host, &["feed.signature", "feed.gap", "feed.typ", "keys.typ"])?;
    // What it puts there is no file, or too much of one; then floods, which are read and thrown away, and nobody waits.
    for (mode, number) in [("odd", number + 9000), ("flood", number + 2)] {
        let done = hand.run(&[mode, &number.to_string()], b"")?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        codes(host, &["inbox.unreadable"])?;
    }
    let asked = Instant::now();
    realm.status(host)?;
    ensure!(asked.elapsed() < Duration::from_secs(2), "agentd answered after {:?}", asked.elapsed());
    codes(host, &["feed.malformed"])?;
    let status = realm.status(host)?;
    ensure!(status.feed == before && status.state == "stale", "{status:?}");
    ensure!(status.sessions.len() == 1, "a forgery ended a session, or made one: {status:?}");
    ensure!(host.sh("stat -c %a:%U /etc/shadow")?.trim() == "640:root", "a link was followed");

    // It carries again: what was withheld holds at once, and all is well.
    hand.carry()?;
    realm.wait_gone(host, &opened.session)?;
    eprintln!("the revocation was late by {} ms, as long as the hand wished", revoked_at.elapsed().as_millis());
    realm.wait(host, "to be well again", |status| status.state == "admitting")?;
    let doctor = realm.doctor(host)?;
    ensure!(doctor.contains("answers, and admits sessions"), "{doctor}");
    let (_, agent) = realm.open(host, &token)?;
    ensure!(agent.run("echo in")?.out == "in\n");
    Ok(())
}

/// Who withholds is seen, on the host and at central.
fn silence_shows(realm: &Realm, host: &Host) -> Result {
    realm.wait(host, "silence", |status| status.state == "stale")?;
    let doctor = realm.doctor(host)?;
    ensure!(doctor.contains("agentd is stale") && doctor.contains("tether-courier"), "{doctor}");
    codes(host, &["feed.stale"])?;
    ensure!(host.journal("tether-agentd")?.contains("feed.silent"), "the journal says nothing");
    let hosts = realm.central.administer(&["hosts", "list"])?;
    ensure!(hosts[0]["late"].as_u64().is_some_and(|late| late >= 3), "{hosts}");
    Ok(())
}

/// Waits until all of the codes are in the chain.
fn codes(host: &Host, wanted: &[&str]) -> Result {
    let start = Instant::now();
    loop {
        let trail = tether_tests::Trail::read(host)?;
        if wanted.iter().all(|code| trail.has_code(code)) {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(15), "wanted {wanted:?}, recorded are {:?}", trail.codes());
        std::thread::sleep(Duration::from_millis(20));
    }
}
