//! Whoever became root on a host has every file and every key of that moment, and an hour. What was before is named by
//! `tether audit verify`, from the host's files alone or beside central's copy; what no file tells is shown to be untold.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_audit::Event;
use tether_testhost::{Host, Suite};
use tether_tests::evidence::{
    CHAIN, RECORDINGS, copy_out, export, last_record, roots, standing, verify, wait_shipped, wait_standing,
};
use tether_tests::forger::{Stolen, head, number, rehashed};
use tether_tests::on_both_suites;
use tether_tests::provider::ALICE;
use tether_tests::realm::Realm;

on_both_suites!(what_was_before_the_break_in_is_named, an_attacker_who_comes_back_is_told_at_central);

const WIDE: &str = r#"
name = "triage"
version = 7
[[rule]]
id = "say"
program = "/usr/bin/echo"
arguments = "any"
[[rule]]
id = "shell"
program = "/usr/bin/dash"
arguments = "any"
"#;
/// So much noise that a recording has several pieces.
const LONG: &str = "head -c 3000000 /dev/urandom";
const HOUR_US: i64 = 3_600_000_000;

/// Hosts with small segments; each has had sessions.
fn realm(suite: Suite, names: &[&str]) -> Result<Realm> {
    let mut realm = Realm::with_hosts(suite, names)?;
    realm.central.serve_with(|settings| {
        assert!(settings.contains("silent_seconds = 90"), "the setting has changed");
        settings.replace("silent_seconds = 90", "silent_seconds = 40")
    })?;
    realm.central.wait_listening()?;
    realm.publish(WIDE)?;
    for host in &realm.hosts {
        let settings = String::from_utf8(host.read_file("/etc/tether/host.toml")?)?;
        host.write_file("/etc/tether/host.toml", format!("{settings}\n[audit]\nsegment_kib = 24\n"), 0o644)?;
        host.sh("systemctl restart tether-agentd")?;
        realm.wait(host, "the bundle", |status| {
            status.state == "admitting"
                && status.bundles.iter().any(|bundle| bundle.version == Some(7) && bundle.state == "usable")
        })?;
    }
    Ok(realm)
}

/// A session that is over: some commands, a long recording, a refusal.
fn lived(realm: &Realm, host: &Host, token: &str) -> Result<String> {
    let (opened, agent) = realm.open(host, token)?;
    let connection = agent.connect()?;
    let ran = connection
        .run(&format!("for n in 1 2 3 4 5 6 7 8; do sudo echo $n; done; sudo dash -c '{LONG}' >/dev/null"))?;
    ensure!(ran.code == 0, "{ran:?}");
    let ran = connection.run("tether run echo one; sudo cat /etc/shadow; sudo echo two")?;
    ensure!(ran.code == 0 && ran.err.contains("[bundle.no_rule]"), "{ran:?}");
    // Something that is longer than a piece, seen by the agent.
    let ran = connection.run(&format!("sudo dash -c '{LONG} | od'; true"))?;
    ensure!(ran.out.len() > 3_000_000, "{} bytes", ran.out.len());
    connection.close();
    realm.wait_gone(host, &opened.session)?;
    Ok(opened.session)
}

/// The moment of the break-in, seen from an auditor's desk.
struct Scene {
    folder: tempfile::TempDir,
    trust: Vec<String>,
    stolen: Stolen,
    /// The folder as it was an hour before.
    old: Stolen,
    /// The refusal, which the attacker would like to be rid of.
    target: u64,
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// What is found in a folder that the attacker leaves, alone and beside central's copy.
    fn verify(&self, left: &Stolen) -> Result<[Value; 2]> {
        let at = self.path("left");
        let _ = std::fs::remove_dir_all(&at);
        left.put(&at)?;
        std::fs::copy(self.path("audit/start.json"), at.join("start.json"))?;
        Ok([self.look(&[])?, self.look(&["--export", &self.text("export")])?])
    }

    fn look(&self, more: &[&str]) -> Result<Value> {
        let (left, keys) = (self.text("left"), self.keys()?);
        let mut words = vec!["--dir", &left, "--keys", &keys];
        words.extend(self.trust.iter().flat_map(|root| ["--root", root.as_str()]));
        words.extend(more);
        let (code, said) = verify(&words)?;
        ensure!((code == 0) == (said["holds"] == true), "{code} {said:#}");
        Ok(said)
    }

    fn keys(&self) -> Result<String> {
        let mut sets: Vec<PathBuf> =
            std::fs::read_dir(self.path("export/keys"))?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        sets.sort();
        Ok(sets.pop().context("no key set")?.display().to_string())
    }
}

/// The findings of the host's own files: what, and at which record.
fn findings(said: &Value) -> Vec<(String, u64)> {
    let chain = said["chains"].as_array().and_then(|all| all.last()).map(|chain| &chain["findings"]);
    let one = |finding: &Value| {
        (finding["what"].as_str().unwrap_or_default().to_owned(), finding["number"].as_u64().unwrap_or_default())
    };
    chain.and_then(Value::as_array).into_iter().flatten().map(one).collect()
}

/// What the files alone and central's copy are to say first; `""` if nothing.
struct Wanted {
    alone: (&'static str, u64),
    beside: (&'static str, u64),
}

fn both(what: &'static str, number: u64) -> Wanted {
    Wanted { alone: (what, number), beside: (what, number) }
}

fn beside_only(what: &'static str, number: u64) -> Wanted {
    Wanted { alone: ("", 0), beside: (what, number) }
}

fn untold() -> Wanted {
    Wanted { alone: ("", 0), beside: ("", 0) }
}

fn innocent(event: &mut Event) {
    event.details.insert("argv".to_owned(), json!(["uptime"]));
}

fn what_was_before_the_break_in_is_named(suite: Suite) -> Result<()> {
    let realm = realm(suite, &["web-01"])?;
    let scene = break_in(&realm)?;
    // The control: nothing was touched, and all of it holds.
    for said in scene.verify(&scene.stolen)? {
        ensure!(said["holds"] == true, "{said:#}");
    }
    for (name, attack, wanted) in attacks(&scene)? {
        let mut left = scene.stolen.clone();
        attack(&mut left, &scene).context(name)?;
        ensure!(left.lines() != scene.stolen.lines(), "{name} has changed nothing");
        let [alone, beside] = scene.verify(&left)?;
        for (said, (what, at)) in [(&alone, wanted.alone), (&beside, wanted.beside)] {
            let found = findings(said).into_iter().next().unwrap_or_default();
            ensure!(found == (what.to_owned(), at), "{name}: {found:?}, not {what} at {at}: {said:#}");
            ensure!((said["holds"] == true) == what.is_empty(), "{name}: {said:#}");
        }
        eprintln!("{name}: {:?}; beside central's copy {:?}", findings(&alone), findings(&beside));
    }
    within_a_line(&scene)?;
    old_keys_are_gone(&scene)?;
    first_segments(&scene)?;
    another_chain(&scene)?;
    nothing_left(&scene)?;
    recordings(&scene)
}

/// Sessions, an old disk image, more sessions; then root has the files while a command is on record that no head covers yet.
fn break_in(realm: &Realm) -> Result<Scene> {
    let host = realm.host()?;
    let folder = tempfile::tempdir()?;
    let token = realm.provider.sign_in(&ALICE)?;
    lived(realm, host, &token)?;
    wait_shipped(realm, host)?;
    copy_out(host, CHAIN, &folder.path().join("old"))?;
    lived(realm, host, &token)?;
    wait_shipped(realm, host)?;
    let (_, agent) = realm.open(host, &token)?;
    let connection = agent.connect()?;
    let begun = Instant::now();
    let stolen = loop {
        ensure!(connection.run("sudo echo three")?.code == 0, "no command");
        host.sh("systemctl kill -s STOP tether-agentd tether-courier")?;
        let to = folder.path().join("audit");
        let _ = std::fs::remove_dir_all(&to);
        copy_out(host, CHAIN, &to)?;
        let stolen = Stolen::read(&to)?;
        let signed = stolen.heads().last().map_or(0, |(_, head)| head.head.number);
        if signed + 2 <= stolen.last() && stolen.lines().last().is_some_and(|line| number(line).is_some()) {
            break stolen;
        }
        host.sh("systemctl kill -s CONT tether-agentd tether-courier")?;
        ensure!(begun.elapsed() < Duration::from_secs(60), "a head always comes first");
    };
    copy_out(host, RECORDINGS, &folder.path().join("recordings"))?;
    export(realm, folder.path().join("export"))?;
    host.sh("systemctl kill -s CONT tether-agentd tether-courier")?;
    let trust = roots(host)?;
    let refused = |line: &&String| line.contains("\"bundle.no_rule\"");
    let target = stolen.lines().iter().find(refused).and_then(|line| number(line)).context("nothing was refused")?;
    let old = Stolen::read(&folder.path().join("old"))?;
    ensure!(stolen.segments.len() >= 3, "{} segments", stolen.segments.len());
    Ok(Scene { folder, trust, stolen, old, target })
}

type Attack = Box<dyn Fn(&mut Stolen, &Scene) -> Result<()>>;

/// Every change to what was before, and what is found.
fn attacks(scene: &Scene) -> Result<Vec<(&'static str, Attack, Wanted)>> {
    let (target, lines) = (scene.target, scene.stolen.lines());
    let at = scene.stolen.at(target)?;
    ensure!(number(&lines[at + 1]) == Some(target + 1) || head(&lines[at + 1]).is_some(), "lines have another order");
    // Two records that stand beside each other, and the first head that covers the target, with the one after it.
    let pair = (at..lines.len()).find(|at| number(&lines[*at]).is_some() && number(&lines[*at + 1]).is_some());
    let pair = pair.context("no two records beside each other")?;
    let pair_number = number(&lines[pair]).context("a record")?;
    let heads = scene.stolen.heads();
    let covering = heads.iter().position(|(place, _)| *place > at).context("no head covers the target")?;
    let (covers, next) = (&heads[covering].1.head, &heads[covering + 1].1.head);
    let cut_at = heads[covering].0;
    let last_head = heads.last().context("no head")?;
    let (signed, last) = (last_head.1.head.number, scene.stolen.last());
    let middle = scene.stolen.segments[1].1.iter().find_map(|line| number(line)).context("a record")?;
    let old = scene.old.last();
    let mut all: Vec<(&'static str, Attack, Wanted)> = Vec::new();
    let mut add = |name, wanted, attack: Attack| all.push((name, attack, wanted));

    add(
        "a record is edited",
        both("changed", target),
        Box::new(|left, scene| {
            let at = left.at(scene.target)?;
            left.change(|lines| lines[at] = lines[at].replace("\"refused\"", "\"allowed\""));
            Ok(())
        }),
    );
    add(
        "a record is edited, and its hash with it",
        Wanted { alone: ("changed", target), beside: ("changed", target) },
        Box::new(|left, scene| {
            let at = left.at(scene.target)?;
            let new = rehashed(&left.lines()[at], |record| record["outcome"] = json!("allowed"))?;
            left.change(|lines| lines[at] = new);
            Ok(())
        }),
    );
    add(
        "a record is dropped",
        both("dropped", target),
        Box::new(|left, scene| {
            let at = left.at(scene.target)?;
            left.change(|lines| drop(lines.remove(at)));
            Ok(())
        }),
    );
    add(
        "a head is dropped",
        both("dropped", next.number),
        Box::new(move |left, _| {
            left.change(|lines| drop(lines.remove(cut_at)));
            Ok(())
        }),
    );
    add(
        "two records change places",
        both("reordered", pair_number + 1),
        Box::new(move |left, _| {
            left.change(|lines| lines.swap(pair, pair + 1));
            Ok(())
        }),
    );
    add(
        "a record stands twice",
        both("doubled", target),
        Box::new(|left, scene| {
            let at = left.at(scene.target)?;
            left.change(|lines| lines.insert(at + 1, lines[at].clone()));
            Ok(())
        }),
    );
    add(
        "a file in the middle is gone",
        both("segment", middle),
        Box::new(|left, _| {
            left.segments.remove(1);
            Ok(())
        }),
    );
    // The third file in the place of the second begins with a record, or with the head of one.
    let misplaced = match scene.stolen.segments[2].1.iter().find_map(|line| number(line)) {
        Some(number) => both("reordered", number),
        None => both("dropped", middle),
    };
    add(
        "two files change names",
        misplaced,
        Box::new(|left, _| {
            let other = std::mem::take(&mut left.segments[2].1);
            left.segments[2].1 = std::mem::replace(&mut left.segments[1].1, other);
            Ok(())
        }),
    );
    add(
        "another record beside it",
        both("forked", target),
        Box::new(|left, scene| {
            let at = left.at(scene.target)?;
            let new = rehashed(&left.lines()[at], |record| record["outcome"] = json!("allowed"))?;
            left.change(|lines| lines.insert(at + 1, new));
            Ok(())
        }),
    );
    add(
        "the past is written anew, signed with the key that is there",
        both("head_key", covers.number),
        Box::new(|left, scene| left.rewrite(scene.target, left.key.0, innocent)),
    );
    let turn = covers.key;
    add(
        "the same, under the number of the key whose turn it was",
        both("head_key", covers.number),
        Box::new(move |left, scene| left.rewrite(scene.target, turn, innocent)),
    );
    add(
        "the last signed record is written anew",
        both("head_key", signed),
        Box::new(move |left, _| left.rewrite(signed, left.key.0, innocent)),
    );
    add(
        "the tail is cut at a head",
        beside_only("cut", covers.number + 1),
        Box::new(move |left, _| {
            left.change(|lines| lines.truncate(cut_at + 1));
            Ok(())
        }),
    );
    add(
        "the tail is cut at a head, and it goes on from there",
        both("head_key", covers.number + 1),
        Box::new(move |left, _| {
            left.change(|lines| lines.truncate(cut_at + 1));
            left.lie(HOUR_US, innocent)
        }),
    );
    add(
        "an older disk is put back",
        beside_only("cut", old + 1),
        Box::new(|left, scene| {
            *left = scene.old.clone();
            Ok(())
        }),
    );
    add(
        "an older disk is put back, and it goes on with the key of now",
        both("head_key", old + 1),
        Box::new(|left, scene| {
            let key = left.key;
            *left = scene.old.clone();
            left.key = key;
            left.lie(HOUR_US, innocent)
        }),
    );
    add(
        "the clock is an hour behind from now on",
        both("clock", last + 1),
        Box::new(|left, _| left.lie(-HOUR_US, innocent)),
    );
    // What nobody can tell, with its bound: what was not signed yet, a second of it or 4,096 records; and what is told from
    // now on.
    ensure!(last - signed <= 4096, "more than a head covers");
    add("UNTOLD: lies from now on", untold(), Box::new(|left, _| left.lie(HOUR_US, innocent)));
    add(
        "UNTOLD: what no head covered yet is written anew",
        untold(),
        Box::new(move |left, _| {
            left.rewrite(signed + 1, left.key.0, innocent)?;
            left.lie(1, innocent)
        }),
    );
    add(
        "UNTOLD: what no head covered yet is cut, and it goes on",
        untold(),
        Box::new(move |left, _| {
            let at = left.at(signed + 1)?;
            left.change(|lines| lines.truncate(at));
            left.lie(1, innocent)
        }),
    );
    Ok(all)
}

/// The last line has no end.
fn within_a_line(scene: &Scene) -> Result<()> {
    scene.verify(&scene.stolen)?;
    let (name, _) = scene.stolen.segments.last().context("no segment")?;
    let path = scene.path("left").join(name);
    let text = std::fs::read(&path)?;
    std::fs::write(&path, &text[..text.len() - 40])?;
    let last = scene.stolen.last();
    for more in [&[][..], &["--export", &scene.text("export")]] {
        let found = findings(&scene.look(more)?);
        ensure!(found.first() == Some(&("cut".to_owned(), last)), "{found:?}, not at {last}");
    }
    Ok(())
}

/// With the keys of then the attacker would be believed by the files: that is why they are gone.
fn old_keys_are_gone(scene: &Scene) -> Result<()> {
    let key = std::fs::read(scene.path("old/key"))?;
    let kept = Stolen::read(&scene.path("old"))?.key;
    let newer: Vec<_> = scene.stolen.heads().into_iter().filter(|(_, head)| head.head.key >= kept.0).collect();
    let first = &newer.first().context("no head since")?.1.head;
    let mut left = scene.stolen.clone();
    left.key = kept;
    left.rewrite(first.number, kept.0, innocent)?;
    // Central's marks in the chain tell all the same, until they are taken out too.
    let [alone, _] = scene.verify(&left)?;
    ensure!(findings(&alone).first() == Some(&("forked".to_owned(), first.number)), "{alone:#}");
    left.change(|lines| lines.retain(|line| !line.starts_with("{\"countersigned\"")));
    let [alone, beside] = scene.verify(&left)?;
    ensure!(alone["holds"] == true, "with the key of then the files hold: {alone:#}");
    let found = findings(&beside);
    ensure!(found == [("forked".to_owned(), first.number)], "{found:?}");
    // The file of now has neither that secret nor any before.
    let now = std::fs::read(scene.path("audit/key"))?;
    let secret = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches("\"seed\":\"").count();
    ensure!(secret(&key) >= 1 && secret(&now) <= 2, "more secrets than two");
    let hex: String = kept.1.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(String::from_utf8_lossy(&key).contains(&hex), "the control has another form");
    ensure!(!String::from_utf8_lossy(&now).contains(&hex), "an old secret is still there");
    Ok(())
}

/// A host retires its oldest files once central has countersigned them. Who takes them away has taken nothing: central has
/// them; and without central's mark it is a finding.
fn first_segments(scene: &Scene) -> Result<()> {
    let mut left = scene.stolen.clone();
    left.segments.remove(0);
    let first = left.lines().iter().find_map(|line| number(line)).context("a record")?;
    let [alone, beside] = scene.verify(&left)?;
    for said in [&alone, &beside] {
        let chain = said["chains"].as_array().and_then(|all| all.last()).context("no chain")?;
        ensure!(said["holds"] == true && chain["retired"] == first - 1, "{said:#}");
    }
    let whole = &beside["chains"].as_array().context("chains")?;
    ensure!(
        whole.iter().any(|chain| chain["chain"] == "web-01" && chain["first"] == 1),
        "central has them: {beside:#}"
    );
    left.change(|lines| lines.retain(|line| !line.starts_with("{\"countersigned\"")));
    let [alone, _] = scene.verify(&left)?;
    ensure!(findings(&alone) == [("segment".to_owned(), 1)], "{alone:#}");
    Ok(())
}

/// All of it made anew with keys of the attacker's own, and a start that fits: only what lies elsewhere tells.
fn another_chain(scene: &Scene) -> Result<()> {
    let mut left = scene.stolen.clone();
    left.key = (0, [7; 32]);
    left.change(|lines| lines.retain(|line| !line.starts_with("{\"countersigned\"")));
    left.rewrite(1, 0, innocent)?;
    scene.verify(&left)?;
    let public = tether_audit::HeadSigner::new(0, [7; 32]).public();
    let start = json!({"number": 0, "hash": "", "key": 0, "public": public});
    std::fs::write(scene.path("left/start.json"), start.to_string())?;
    ensure!(scene.look(&[])?["holds"] == true, "no file of the host's tells");
    let enrolled = scene.text("export/hosts/web-01/start.json");
    let said = scene.look(&["--start", &enrolled])?;
    ensure!(findings(&said).first().is_some_and(|(what, _)| what == "head_key"), "{said:#}");
    let said = scene.look(&["--export", &scene.text("export")])?;
    ensure!(findings(&said) == [("forked".to_owned(), 1)], "{said:#}");
    Ok(())
}

/// Everything is taken away, and what was on its way with it. Files that are not there prove nothing, which is said; central
/// has all that it has countersigned.
fn nothing_left(scene: &Scene) -> Result<()> {
    std::fs::remove_dir_all(scene.path("left"))?;
    std::fs::create_dir(scene.path("left"))?;
    let error = scene.look(&[]).err().context("an empty folder was looked at")?;
    ensure!(format!("{error:#}").contains("has no segment of an audit chain"), "{error:#}");
    let export = scene.text("export");
    let mut words = vec!["--export", &export];
    words.extend(scene.trust.iter().flat_map(|root| ["--root", root.as_str()]));
    let (code, said) = verify(&words)?;
    let chains = said["chains"].as_array().context("chains")?;
    let web = chains.iter().find(|chain| chain["chain"] == "web-01").context("no web-01")?;
    let signed = scene.stolen.heads().last().map_or(0, |(_, head)| head.head.number);
    ensure!(code == 0 && web["countersigned"]["number"].as_u64() >= Some(scene.old.last()), "{said:#}");
    ensure!(web["last"].as_u64() <= Some(signed), "central has what no head covers: {said:#}");
    ensure!(said["log"]["signed"] == true, "{said:#}");
    Ok(())
}

/// What is done to a file's bytes.
type Change = dyn Fn(&mut Vec<u8>);

/// Recordings against the chain, alone and beside central's copy.
fn recordings(scene: &Scene) -> Result<()> {
    scene.verify(&scene.stolen)?;
    let shelf = scene.path("recordings");
    let look = |more: &[&str]| -> Result<Value> {
        let (shelf, export) = (shelf.display().to_string(), scene.text("export"));
        let alone = scene.look(&[&["--recordings", &shelf], more].concat())?;
        let beside = scene.look(&[&["--recordings", &shelf, "--export", &export], more].concat())?;
        ensure!(alone["recordings"] == beside["recordings"], "{alone:#}\n{beside:#}");
        Ok(alone["recordings"].clone())
    };
    let held = look(&[])?;
    ensure!(held["findings"] == json!([]) && held["whole"].as_u64() > Some(20) && held["unknown"] == 0, "{held:#}");
    let files = long_and_short(&shelf)?;
    let (long, [short, other]) = (&files.0, &files.1);
    let named = |held: &Value, file: &Path, offset: Option<u64>| -> Result<()> {
        let finding = &held["findings"][0];
        let name = file.file_stem().and_then(|name| name.to_str()).context("a name")?;
        let session = file.parent().and_then(Path::file_name).and_then(|name| name.to_str()).context("a session")?;
        let is_it = finding["recording"] == name && finding["session"] == session && finding["offset"] == json!(offset);
        ensure!(is_it && finding["number"].as_u64() > Some(0), "not {session} {name} {offset:?}: {held:#}");
        Ok(())
    };
    let original = std::fs::read(long)?;
    let changes: [(&str, &Change, u64); 4] = [
        ("a byte in the second piece", &|bytes| bytes[1_500_000] ^= 1, 1 << 20),
        ("a byte of its header", &|bytes| bytes[30] ^= 1, 0),
        ("its end", &|bytes| bytes.truncate(2 << 20), 2 << 20),
        ("all of it", &|bytes| bytes.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)), 0),
    ];
    for (what, change, offset) in changes {
        let mut bytes = original.clone();
        change(&mut bytes);
        std::fs::write(long, bytes)?;
        named(&look(&[])?, long, Some(offset)).context(what)?;
    }
    std::fs::write(long, [original.as_slice(), b"x"].concat())?;
    named(&look(&[])?, long, Some(original.len() as u64)).context("more than was recorded")?;
    std::fs::remove_file(long)?;
    named(&look(&[])?, long, None).context("it is gone")?;
    std::fs::write(long, &original)?;
    // Two of a length are swapped: both are named.
    let (one, two) = (std::fs::read(short)?, std::fs::read(other)?);
    std::fs::write(short, &two)?;
    std::fs::write(other, &one)?;
    ensure!(look(&[])?["findings"].as_array().map(Vec::len) == Some(2), "{:#}", look(&[])?);
    std::fs::write(short, &one)?;
    std::fs::write(other, &two)?;
    ensure!(look(&[])?["findings"] == json!([]), "the control");
    // UNTOLD: a recording of which nothing is on record. It is counted, and no more.
    std::fs::write(shelf.join("planted.rec"), "x")?;
    let folder = long.parent().context("a folder")?;
    std::fs::write(folder.join("sudo-999.rec"), &one)?;
    ensure!(look(&[])?["unknown"] == 1, "{:#}", look(&[])?);
    Ok(())
}

/// A recording of several pieces, and two short ones of the same session.
fn long_and_short(shelf: &Path) -> Result<(PathBuf, [PathBuf; 2])> {
    for session in std::fs::read_dir(shelf)? {
        let session = session?.path();
        let mut files = Vec::new();
        for file in std::fs::read_dir(&session).into_iter().flatten() {
            let path = file?.path();
            if path.extension().is_some_and(|ending| ending == "rec") {
                files.push((std::fs::metadata(&path)?.len(), path));
            }
        }
        files.sort();
        if let (Some((3_000_000.., long)), [(_, one), (_, two), ..]) = (files.last(), files.as_slice()) {
            return Ok((long.clone(), [one.clone(), two.clone()]));
        }
    }
    anyhow::bail!("no session has a long recording in {}", shelf.display())
}

/// The daemons run again on what the attacker has left.
fn an_attacker_who_comes_back_is_told_at_central(suite: Suite) -> Result<()> {
    let realm = realm(suite, &["web-01", "web-02", "web-03", "web-04"])?;
    let token = realm.provider.sign_in(&ALICE)?;
    for host in &realm.hosts {
        let (opened, agent) = realm.open(host, &token)?;
        let connection = agent.connect()?;
        ensure!(
            connection.run("sudo echo one; sudo cat /etc/shadow; sudo echo two").map(|ran| ran.code)? == 0,
            "no command"
        );
        connection.close();
        realm.wait_gone(host, &opened.session)?;
        wait_shipped(&realm, host)?;
    }
    let [edited, forked, old, emptied] = realm.hosts.as_slice() else { anyhow::bail!("four hosts") };
    // The first signs nothing any more, and that takes its time to show: the others are looked at meanwhile.
    edit_the_past(&realm, edited)?;
    goes_on_with_another_past(&realm, forked)?;
    an_older_disk(&realm, old, &token)?;
    an_empty_folder(&realm, emptied)?;
    let found = wait_standing(&realm, edited, "silence", |chain| chain["state"] == "silent")?;
    eprintln!("edited, agentd restarted: central says {found}");
    // Each is on record at central, under its own name.
    for (host, states) in [
        (edited, &["silent"][..]),
        (forked, &["broken", "forked"]),
        (old, &["rewound", "forked"]),
        (emptied, &["silent", "rewound", "forked", "broken"]),
    ] {
        let begun = Instant::now();
        while !alarms(&realm, host)?.iter().any(|state| states.contains(&state.as_str())) {
            ensure!(begun.elapsed() < Duration::from_secs(60), "{}: {:?}", host.name(), alarms(&realm, host)?);
            std::thread::sleep(Duration::from_millis(200));
        }
        ensure!(alarms(&realm, host)?.len() <= 3, "{}: {:?}", host.name(), alarms(&realm, host)?);
    }
    Ok(())
}

/// What central's alarms say of a host. Whether a record or a head is the first line that does not hold is chance.
fn alarms(realm: &Realm, host: &Host) -> Result<Vec<String>> {
    let about = json!(host.name());
    let trail = realm.central.trail()?;
    let of_it = trail.iter().filter(|link| link.event.event == "audit.alarm" && link.event.details["host"] == about);
    Ok(of_it.map(|link| link.event.details["state"].as_str().unwrap_or_default().to_owned()).collect())
}

fn root(host: &Host, line: &str) -> Result<()> {
    host.sh(line).map(drop).map_err(Into::into)
}

/// A record of the past says something else: agentd adds nothing to it, and lets nobody in.
fn edit_the_past(realm: &Realm, host: &Host) -> Result<()> {
    let at = "systemctl stop tether-agentd && sed -i '/bundle.no_rule/ s/\"outcome\":\"refused\"/\"outcome\":\"allowed\"/' /var/lib/tether/audit/*.jsonl";
    let before = host.sh("grep -h bundle.no_rule /var/lib/tether/audit/*.jsonl | head -n 1")?;
    let target = number(before.trim()).context("nothing was refused")?;
    root(host, at)?;
    root(host, "systemctl start tether-agentd")?;
    realm.wait(host, "agentd's word", |status| status.state == "audit.broken")?;
    let said: Value = serde_json::from_slice(&host.exec(&["tether", "--json", "audit", "verify"])?.stdout)?;
    ensure!(findings(&said).first() == Some(&("changed".to_owned(), target)), "{said:#}");
    Ok(())
}

/// The attacker's own daemon goes on from a past that was written anew, and the courier ships it.
fn goes_on_with_another_past(realm: &Realm, host: &Host) -> Result<()> {
    root(host, "systemctl stop tether-agentd")?;
    let central = wait_shipped(realm, host)?;
    root(host, "systemctl stop tether-courier")?;
    let folder = tempfile::tempdir()?;
    copy_out(host, CHAIN, folder.path())?;
    let mut left = Stolen::read(folder.path())?;
    let target = left.lines().iter().find(|line| line.contains("bundle.no_rule")).and_then(|line| number(line));
    left.rewrite(target.context("nothing was refused")?, left.key.0, innocent)?;
    left.lie(1_000_000, innocent)?;
    for (name, lines) in &left.segments {
        let path = format!("{CHAIN}/{}", name.display());
        host.write_file(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>(), 0o640)?;
        root(host, &format!("chown root:tether-courier {path}"))?;
    }
    root(host, "systemctl start tether-courier")?;
    let bad = |chain: &Value| matches!(chain["state"].as_str(), Some("broken" | "damaged" | "forked"));
    let found = wait_standing(realm, host, "the other past", bad)?;
    ensure!(found["bad"].as_u64() == Some(central + 1), "not {}: {found}", central + 1);
    eprintln!("another past, and on from there: central says {found}");
    root(host, "systemctl start tether-agentd")?;
    realm.wait(host, "agentd's word", |status| status.state.starts_with("audit."))
}

/// The disk of an hour before, keys and all: what was since is no longer here, and central says so.
fn an_older_disk(realm: &Realm, host: &Host, token: &str) -> Result<()> {
    root(host, "systemctl stop tether-agentd && cp -a /var/lib/tether /root/before && systemctl start tether-agentd")?;
    realm.wait(host, "the host to admit", |status| status.state == "admitting")?;
    let before = host.sh("cat /root/before/audit/*.jsonl | grep -c '^{\"hash\"'")?.trim().parse::<u64>()?;
    let (opened, agent) = realm.open(host, token)?;
    ensure!(agent.run("sudo echo since")?.code == 0, "no command");
    realm.wait_gone(host, &opened.session)?;
    let had = wait_shipped(realm, host)?;
    root(
        host,
        "systemctl stop tether-courier tether-agentd && rm -rf /var/lib/tether && cp -a /root/before /var/lib/tether",
    )?;
    root(host, "systemctl start tether-agentd tether-courier")?;
    let bad = |chain: &Value| matches!(chain["state"].as_str(), Some("rewound" | "forked"));
    let found = wait_standing(realm, host, "the older disk", bad)?;
    let at = found["bad"].as_u64().context("no number")?;
    ensure!((before + 1..=had + 1).contains(&at), "{at} is not between {before} and {had}: {found}");
    eprintln!("an older disk: central says {found}");
    Ok(())
}

/// All that was on its way is stolen with the chain: whatever agentd does then, central misses what it had.
fn an_empty_folder(realm: &Realm, host: &Host) -> Result<()> {
    let had = last_record(host)?;
    root(host, "systemctl stop tether-agentd && rm -f /var/lib/tether/audit/* && rm -rf /var/spool/tether/inbox/*")?;
    root(host, "systemctl start tether-agentd")?;
    let bad = |chain: &Value| chain["state"] != "ok";
    let found = wait_standing(realm, host, "the empty folder", bad)?;
    eprintln!("an empty folder: central says {found}");
    ensure!(found["bad"].as_u64().is_none_or(|bad| bad <= had + 1), "{found}");
    ensure!(standing(realm, host)?["number"].as_u64() >= Some(had), "central has lost something");
    Ok(())
}
