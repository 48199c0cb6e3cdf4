//! Whoever is root on a host and has all its current keys changes its trail: `tether audit verify` names what was done,
//! from files alone where they can tell, else with what lies elsewhere; and what no file can tell is told here too.
#![allow(missing_docs)]

mod common;
#[path = "common/trail.rs"]
mod trail;

use common::{Ran, ran};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::process::Command;
use tempfile::TempDir;
use tether_audit::{Chain, Event, HeadSigner, Link, Verified, canonical};
use trail::{BEGIN_US, Writer, believable, countersign, keys, root_text, start, told};

fn tether(words: &[&str]) -> Ran {
    ran(Command::new(env!("CARGO_BIN_EXE_tether")).args(words).output().unwrap())
}

/// A host's folder, what central keeps, and an admin who looks.
struct Scene {
    folder: TempDir,
    web: Writer,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = believable();
        world.export(&folder.path().join("export"));
        std::fs::write(folder.path().join("keys.jws"), keys()).unwrap();
        std::fs::write(folder.path().join("start.json"), start(trail::WEB_SEED)).unwrap();
        Self { folder, web: world.web }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// The folder as the attacker leaves it, and what is found there.
    fn verify(&self, more: &[&str]) -> Value {
        let at = self.folder.path().join("audit");
        let _ = std::fs::remove_dir_all(&at);
        self.web.put(&at);
        std::fs::copy(self.path("start.json"), at.join("start.json")).unwrap();
        self.look(more)
    }

    fn look(&self, more: &[&str]) -> Value {
        let (dir, keys, root) = (self.path("audit"), self.path("keys.jws"), root_text());
        let mut words = vec!["--json", "audit", "verify", "--dir", &dir, "--keys", &keys, "--root", &root];
        words.extend(more);
        let done = tether(&words);
        let answer = done.json();
        assert_eq!(done.code, if answer["holds"] == true { 0 } else { 3 }, "{done:?}");
        answer
    }

    fn with_export(&self) -> Value {
        self.verify(&["--export", &self.path("export")])
    }

    /// All lines as one list, changed and laid back into their segments by number.
    fn lines(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        let (one, two) = (self.web.segments[0].1.clone(), self.web.segments[1].1.clone());
        let mut all = [one, two].concat();
        change(&mut all);
        let first = self.web.segments[1].0;
        let at = all.iter().position(|line| number(line) == Some(first)).unwrap_or(all.len());
        let rest = all.split_off(at);
        self.web.segments[0].1 = all;
        self.web.segments[1].1 = rest;
        self.web.segments.retain(|(_, lines)| !lines.is_empty());
    }
}

impl Scene {
    /// The lines of the last segment.
    fn last_segment(&mut self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.web.segments.last_mut().unwrap().1);
    }
}

fn number(line: &str) -> Option<u64> {
    let value: Value = serde_json::from_str(line).ok()?;
    value["record"]["number"].as_u64()
}

fn at(lines: &[String], wanted: u64) -> usize {
    lines.iter().position(|line| number(line) == Some(wanted)).unwrap()
}

fn is_head(line: &str) -> bool {
    line.starts_with("{\"head\"")
}

/// The first finding of the chain that was looked at last: name, record, file, line.
fn found(answer: &Value) -> (String, Option<u64>, String, Option<u64>) {
    let chains = answer["chains"].as_array().unwrap();
    let finding = &chains.last().unwrap()["findings"][0];
    let file = finding["file"].as_str().unwrap_or_default();
    let name = file.rsplit('/').next().unwrap_or_default().trim_start_matches('0').to_owned();
    (
        finding["what"].as_str().unwrap_or("nothing").to_owned(),
        finding["number"].as_u64(),
        name,
        finding["line"].as_u64(),
    )
}

fn is(answer: &Value, what: &str, number: u64, file: &str, line: u64) {
    assert_eq!(found(answer), (what.to_owned(), Some(number), file.to_owned(), Some(line)), "{answer:#}");
}

fn what(answer: &Value) -> String {
    found(answer).0
}

/// A record that says something else, with the hash of what it says now.
fn rehashed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let mut value: Value = serde_json::from_str(line).unwrap();
    change(&mut value["record"]);
    let body = canonical(&value["record"]).unwrap();
    let hash = Sha256::digest([b"tether audit record v1\0", body.as_bytes()].concat());
    format!("{{\"hash\":\"{}\",\"record\":{body}}}", Base64UrlUnpadded::encode_string(&hash))
}

/// All records from this one on, written anew with another past; heads with the keys from `key` on.
fn rewritten(web: &Writer, from: u64, mut key: HeadSigner, change: impl Fn(&mut Event)) -> Writer {
    let mut forged = Writer::new(&web.name, Some([0; 32]));
    let all: Vec<String> = web.segments.iter().flat_map(|(_, lines)| lines.clone()).collect();
    let mut previous = String::new();
    for line in all {
        if let Some(number) = number(&line) {
            let value: Value = serde_json::from_str(&line).unwrap();
            let link: Link = serde_json::from_value(value["record"].clone()).unwrap();
            let mut event = link.event;
            if number == from {
                change(&mut event);
            }
            let verified = Verified { records: forged.chain.number(), head: forged.chain.head().to_owned() };
            let next = Chain::after(&link.host, &link.boot, verified).next(event, link.time_us).unwrap();
            forged.chain.commit(&next);
            forged.segments[0].1.push(next.line);
        } else if is_head(&line) && forged.chain.number() < from {
            let value: tether_audit::SignedHead = serde_json::from_str(&line).unwrap();
            previous = value.head.digest().unwrap();
            forged.segments[0].1.push(line);
        } else if is_head(&line) {
            let value: tether_audit::SignedHead = serde_json::from_str(&line).unwrap();
            let at = tether_audit::HeadAt {
                host: &web.name,
                boot: &value.head.boot,
                number: forged.chain.number(),
                hash: forged.chain.head(),
                time_us: value.head.time_us,
                previous: &previous,
            };
            let signed = key.sign(&at).unwrap();
            previous = signed.head.digest().unwrap();
            forged.segments[0].1.push(signed.line().unwrap());
            key = key.next();
        }
    }
    forged
}

fn current(web: &Writer) -> HeadSigner {
    let (index, seed) = web.signer.unwrap();
    HeadSigner::new(index, seed)
}

#[test]
fn untouched_it_holds_and_says_up_to_where() {
    let scene = Scene::new();
    let answer = scene.with_export();
    assert_eq!(answer["holds"], true, "{answer:#}");
    let web = answer["chains"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((&web["chain"], &web["compared"], &web["last"]), (&json!("web-01"), &json!(true), &json!(16)));
    assert_eq!((&web["signed"]["number"], &web["countersigned"]["number"]), (&json!(16), &json!(13)));
    assert_eq!((&web["unbound"], &web["start"]), (&Value::Null, &json!("beside")));
    let alone = scene.look(&["--start", &scene.path("start.json")]);
    assert_eq!(alone["chains"][0]["start"], "given");
}

#[test]
fn an_edited_record_is_named() {
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let at = at(lines, 7);
        lines[at] = lines[at].replace("/etc/shadow", "/etc/passwd");
    });
    is(&scene.verify(&[]), "changed", 7, "7.jsonl", 1);
    // With a hash that fits, the one after it tells.
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let at = at(lines, 7);
        lines[at] = rehashed(&lines[at], |record| record["outcome"] = json!("allowed"));
    });
    let answer = scene.verify(&[]);
    assert_eq!((what(&answer), found(&answer).1), ("changed".to_owned(), Some(7)));
    // Just before a head, the head tells.
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let at = at(lines, 6);
        lines[at] = rehashed(&lines[at], |record| record["details"]["status"] = json!(0x100));
    });
    assert_eq!((what(&scene.verify(&[])), found(&scene.verify(&[])).1), ("changed".to_owned(), Some(6)));
}

#[test]
fn a_past_that_is_written_anew_needs_keys_that_are_gone() {
    let mut scene = Scene::new();
    let stolen = current(&scene.web);
    let innocent = |event: &mut Event| event.details = serde_json::Map::new();
    scene.web = rewritten(&scene.web, 7, stolen, innocent);
    let answer = scene.verify(&[]);
    assert_eq!(what(&answer), "head_key", "{answer:#}");
    assert!(found(&answer).1 >= Some(7));
    assert!(answer["chains"][0]["findings"][0]["why"].as_str().unwrap().contains("it was the turn of key 2"));
    // Under the number of the key whose turn it was.
    let mut scene = Scene::new();
    let (_, seed) = scene.web.signer.unwrap();
    scene.web = rewritten(&scene.web, 7, HeadSigner::new(2, seed), innocent);
    assert_eq!(what(&scene.verify(&[])), "head_key");
    // Control: with the key of then it would hold, and only central's copy or its mark would tell.
    let mut scene = Scene::new();
    let first = HeadSigner::new(0, trail::WEB_SEED);
    scene.web = rewritten(&scene.web, 7, first.next().next(), innocent);
    let answer = scene.verify(&[]);
    assert_eq!(answer["holds"], true, "{answer:#}");
    assert_eq!(what(&scene.with_export()), "forked");
}

#[test]
fn dropped_records_and_heads_are_named() {
    for (gone, file) in [(1, "1.jsonl"), (4, "1.jsonl"), (9, "7.jsonl"), (14, "7.jsonl")] {
        let mut scene = Scene::new();
        scene.lines(|lines| drop(lines.remove(at(lines, gone))));
        let answer = scene.verify(&[]);
        assert_eq!(
            (what(&answer).as_str(), found(&answer).1, found(&answer).2.as_str()),
            ("dropped", Some(gone), file),
            "{answer:#}"
        );
    }
    let mut scene = Scene::new();
    scene.lines(|lines| drop(lines.drain(at(lines, 10)..at(lines, 13))));
    let answer = scene.verify(&[]);
    assert_eq!((what(&answer), found(&answer).1), ("dropped".to_owned(), Some(10)));
    assert!(answer["chains"][0]["findings"][0]["why"].as_str().unwrap().contains("records 10 to 12 are missing"));
    let mut scene = Scene::new();
    scene.lines(|lines| drop(lines.remove(lines.iter().rposition(|line| is_head(line)).unwrap() - 3)));
    assert_ne!(scene.verify(&[])["holds"], true);
    let mut scene = Scene::new();
    scene.lines(|lines| drop(lines.remove(lines.iter().position(|line| is_head(line)).unwrap())));
    assert_eq!(what(&scene.verify(&[])), "dropped", "a head");
}

#[test]
fn moved_and_doubled_lines_are_named() {
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let (one, other) = (at(lines, 8), at(lines, 9));
        lines.swap(one, other);
    });
    let answer = scene.verify(&[]);
    assert_eq!((what(&answer), found(&answer).1), ("reordered".to_owned(), Some(9)));
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let at = at(lines, 8);
        lines.insert(at + 1, lines[at].clone());
    });
    is(&scene.verify(&[]), "doubled", 8, "7.jsonl", 3);
    let mut scene = Scene::new();
    scene.lines(|lines| {
        let at = lines.iter().position(|line| is_head(line)).unwrap();
        lines.insert(at, lines[at].clone());
    });
    assert_eq!(what(&scene.verify(&[])), "doubled", "a head");
}

#[test]
fn segments_that_are_missing_or_swapped_are_named() {
    let mut scene = Scene::new();
    scene.web.segments.remove(0);
    // Hosts retire what central has countersigned: its mark on a head that is here says that it had what is not.
    let answer = scene.verify(&[]);
    assert_eq!(
        (&answer["holds"], &answer["chains"][0]["retired"], &answer["chains"][0]["first"]),
        (&json!(true), &json!(6), &json!(7))
    );
    let dir = scene.path("audit");
    is(&tether(&["--json", "audit", "verify", "--dir", &dir]).json(), "segment", 1, "7.jsonl", 1);
    scene.last_segment(|lines| lines.retain(|line| !line.contains("countersigned")));
    is(&scene.verify(&[]), "segment", 1, "7.jsonl", 1);
    let kept = scene.path("export/hosts/web-01/00000000000000000001.jsonl");
    std::fs::rename(&kept, scene.path("away")).unwrap();
    let export = ["--json", "audit", "verify", "--export", &scene.path("export"), "--root", &root_text()];
    is(&tether(&export).json(), "segment", 1, "7.jsonl", 1);
    let mut scene = Scene::new();
    let last = scene.web.segments.last().unwrap().clone();
    let mut split = last.1.clone();
    let rest = split.split_off(4);
    let first = number(&rest[0]).unwrap();
    scene.web.segments[1].1 = split;
    scene.web.segments.push((first, rest));
    assert_eq!(scene.verify(&[])["holds"], true, "control");
    let removed = scene.web.segments.remove(1);
    let answer = scene.verify(&[]);
    assert_eq!((what(&answer), found(&answer).1), ("segment".to_owned(), Some(7)));
    scene.web.segments.insert(1, removed);
    let (one, two) = (scene.web.segments[0].1.clone(), scene.web.segments[1].1.clone());
    (scene.web.segments[0].1, scene.web.segments[1].1) = (two, one);
    assert_eq!(what(&scene.verify(&[])), "reordered");
    // Under another name.
    let mut scene = Scene::new();
    scene.web.segments[1].0 = 5;
    assert_eq!(what(&scene.verify(&[])), "segment");
    // Another host's.
    let mut scene = Scene::new();
    scene.web.segments = believable().db.segments;
    assert_eq!(what(&scene.verify(&[])), "head_key");
    assert_ne!(scene.with_export()["holds"], true);
}

/// The tail: files alone cannot tell that more was there, unless a line was cut within. Central's mark or copy can.
#[test]
fn a_cut_tail_shows_elsewhere() {
    let mut scene = Scene::new();
    let mark = scene.path("mark");
    let head = {
        let all: Vec<&String> = scene.web.segments.iter().flat_map(|(_, lines)| lines).collect();
        let line = all.iter().rev().find(|line| is_head(line)).unwrap();
        serde_json::from_str::<tether_audit::SignedHead>(line).unwrap()
    };
    std::fs::write(&mark, countersign(&head, BEGIN_US / 1_000_000 + 100)).unwrap();
    assert_eq!(scene.verify(&["--countersigned", &mark])["holds"], true, "control");
    scene.lines(|lines| lines.truncate(at(lines, 9)));
    let alone = scene.verify(&[]);
    assert_eq!(alone["holds"], true, "no file tells: {alone:#}");
    assert_eq!((&alone["chains"][0]["last"], &alone["chains"][0]["countersigned"]["number"]), (&json!(8), &json!(6)));
    let answer = scene.with_export();
    assert_eq!((what(&answer), found(&answer).1), ("cut".to_owned(), Some(9)), "a copy of central's tells: {answer:#}");
    let answer = scene.verify(&["--countersigned", &mark]);
    assert_eq!((what(&answer), found(&answer).1), ("cut".to_owned(), Some(9)), "a mark of central's tells: {answer:#}");
    // Within a line.
    let mut scene = Scene::new();
    scene.verify(&[]);
    let last = scene.folder.path().join("audit/00000000000000000007.jsonl");
    let text = std::fs::read_to_string(&last).unwrap();
    std::fs::write(&last, &text[..text.len() - 40]).unwrap();
    assert_eq!(what(&scene.look(&[])), "cut");
    scene.web.segments.pop();
    assert_eq!(what(&scene.with_export()), "cut", "the last segment");
}

/// Since the last head the host's root may write what they like; central's copy tells.
#[test]
fn lies_after_the_last_head_show_in_centrals_copy_alone() {
    let mut scene = Scene::new();
    scene.lines(|lines| drop(lines.pop()));
    let answer = scene.verify(&[]);
    assert_eq!((&answer["holds"], &answer["chains"][0]["unbound"]), (&json!(true), &json!([14, 16])), "{answer:#}");
    scene.lines(|lines| {
        let at = lines.len() - 1;
        lines[at] = rehashed(&lines[at], |record| record["details"]["found"] = json!([]));
        lines[at] = rehashed(&lines[at], |record| record["details"]["checked"] = json!([]));
    });
    assert_eq!(scene.verify(&[])["holds"], true, "no file tells");
    let answer = scene.with_export();
    assert_eq!((what(&answer), found(&answer).1), ("forked".to_owned(), Some(16)));
}

/// Everything anew, with keys of the attacker's own and a start that fits.
#[test]
fn another_chain_altogether_shows_by_a_start_or_a_mark_from_elsewhere() {
    let mut scene = Scene::new();
    let mut forged = Writer::new("web-01", Some([99; 32]));
    for _ in 0..6 {
        forged.write(told("sudo.command", trail::S1, None, json!({"argv": ["true"]})));
        forged.later(5000).head();
    }
    let true_start = scene.path("true.json");
    std::fs::copy(scene.path("start.json"), &true_start).unwrap();
    std::fs::write(scene.path("start.json"), start([99; 32])).unwrap();
    let mark = scene.path("mark");
    let old = scene.web.segments[0].1.iter().find_map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        value["countersigned"].as_str().map(ToOwned::to_owned)
    });
    std::fs::write(&mark, old.unwrap()).unwrap();
    scene.web = forged;
    assert_eq!(scene.verify(&[])["holds"], true, "no file of the host's tells");
    assert_eq!(what(&scene.verify(&["--start", &true_start])), "head_key");
    let answer = scene.verify(&["--countersigned", &mark]);
    assert_eq!((what(&answer), found(&answer).1), ("forked".to_owned(), Some(6)), "{answer:#}");
    assert_eq!(what(&scene.with_export()), "forked");
}

#[test]
fn a_moved_clock_is_named() {
    let mut scene = Scene::new();
    scene.web.now_us -= 3_600_000_000;
    scene.web.write(told("sudo.command", trail::S1, None, json!({"argv": ["true"]})));
    let answer = scene.verify(&[]);
    assert_eq!((what(&answer), found(&answer).1), ("clock".to_owned(), Some(17)));
    let mut scene = Scene::new();
    scene.web.now_us += 3_600_000_000;
    scene.web.write(told("sudo.command", trail::S1, None, json!({"argv": ["true"]})));
    let head = scene.web.head();
    assert_eq!(scene.verify(&[])["holds"], true, "time goes on");
    let mark = scene.path("mark");
    std::fs::write(&mark, countersign(&head, BEGIN_US / 1_000_000 + 120)).unwrap();
    assert_eq!(what(&scene.verify(&["--countersigned", &mark])), "clock", "ahead of central's");
}

#[test]
fn countersignatures_of_others_are_named() {
    let mut scene = Scene::new();
    let head = scene.web.head();
    let line = |jws: &str| tether_audit::countersigned_line(jws);
    let forged = tether_statement::issue::Signing::from_seed("audit-2026", [1; 32]);
    let said: Value = json!({"host": "web-01", "number": head.head.number, "hash": head.head.hash, "head": head.head.digest().unwrap(), "time": 1});
    let jws = forged.sign(tether_statement::Typ::Countersignature, &said).unwrap();
    scene.web.segments[1].1.push(line(&jws));
    assert_eq!(what(&scene.verify(&[])), "countersignature");
    let mut scene = Scene::new();
    let other = believable().db.head();
    scene.web.segments[1].1.push(line(&countersign(&other, BEGIN_US / 1_000_000)));
    assert_eq!(what(&scene.verify(&[])), "countersignature", "another host's");
}

#[test]
fn what_cannot_be_looked_at_is_an_error_and_no_verdict() {
    let scene = Scene::new();
    scene.verify(&[]);
    let (dir, keys) = (scene.path("audit"), scene.path("keys.jws"));
    let other = tether_statement::issue::Signing::from_seed("root-2026", [3; 32]).public().to_string();
    let done = tether(&["audit", "verify", "--dir", &dir, "--keys", &keys, "--root", &other]);
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.err.contains("one of the given roots"), "{done:?}");
    assert_eq!(tether(&["audit", "verify", "--dir", &scene.path("none")]).code, 1);
    assert_eq!(tether(&["audit", "verify", "--dir", &dir, "--file", &dir]).code, 2);
}

#[test]
fn a_part_of_a_chain_can_be_looked_at_alone() {
    let mut scene = Scene::new();
    scene.verify(&[]);
    let file = scene.path("audit/00000000000000000007.jsonl");
    let root = root_text();
    let words = ["--json", "audit", "verify", "--file", &file, "--keys", &scene.path("keys.jws"), "--root", &root];
    let answer = tether(&words).json();
    assert_eq!((&answer["holds"], &answer["chains"][0]["first"]), (&json!(true), &json!(7)), "{answer:#}");
    scene.lines(|lines| drop(lines.remove(at(lines, 9))));
    scene.verify(&[]);
    let answer = tether(&words).json();
    assert_eq!(what(&answer), "dropped");
}

/// Central's log: its checkpoint, its entries, and the chains beside it.
#[test]
fn the_log_is_held_against_its_checkpoint_and_the_chains() {
    let scene = Scene::new();
    let export = scene.folder.path().join("export");
    let world = believable();
    let look = |lines: &[String], seed: [u8; 32]| {
        trail::put_log(&export, lines, seed);
        let root = root_text();
        let done = tether(&["--json", "audit", "verify", "--export", &scene.path("export"), "--root", &root]);
        let answer = done.json();
        assert_eq!(done.code, if answer["holds"] == true { 0 } else { 3 });
        answer
    };
    let first = |answer: &Value| {
        let finding = &answer["log"]["findings"][0];
        (
            finding["chain"].as_str().unwrap_or_default().to_owned(),
            finding["number"].as_u64(),
            finding["why"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let lines = world.records();
    let answer = look(&lines, [41; 32]);
    assert_eq!((&answer["holds"], &answer["log"]["signed"]), (&json!(true), &json!(true)), "{answer:#}");
    assert_eq!(answer["log"]["last"], json!({"central": 8, "db-01": 6, "web-01": 16}));
    // It may be behind, but not behind what central has countersigned.
    let behind: Vec<String> = lines.iter().filter(|line| number(line) != Some(16)).cloned().collect();
    assert_eq!(look(&behind, [41; 32])["holds"], true);
    let far_behind: Vec<String> = lines.iter().filter(|line| number(line) < Some(12)).cloned().collect();
    assert_eq!(first(&look(&far_behind, [41; 32])).1, Some(12));
    let (chain, number_of, why) = first(&look(&lines, [5; 32]));
    assert!(chain == "log" && number_of.is_none() && why.contains("no audit key"), "{why}");
    // A record is missing, another stands in its place, one is of no chain.
    let without: Vec<String> = lines.iter().filter(|line| !line.contains("/etc/shadow")).cloned().collect();
    assert_eq!(
        first(&look(&without, [41; 32])),
        ("web-01".into(), Some(8), "after record 6 of this chain the log has 8".into())
    );
    let other: Vec<String> = lines
        .iter()
        .map(|line| {
            if line.contains("/etc/shadow") {
                rehashed(line, |record| record["outcome"] = json!("allowed"))
            } else {
                line.clone()
            }
        })
        .collect();
    assert_eq!(
        first(&look(&other, [41; 32])),
        ("web-01".into(), Some(7), "the log has another record of this number".into())
    );
    let strange: Vec<String> =
        lines.iter().map(|line| line.replace("\"host\":\"db-01\",\"ids\"", "\"host\":\"db-02\",\"ids\"")).collect();
    assert_eq!(first(&look(&strange, [41; 32])).2, "an entry is no record");
    // An entry is changed after the checkpoint was signed.
    look(&lines, [41; 32]);
    let tile = export.join(format!("log/tile/entries/000.p/{}", lines.len()));
    let mut bytes = std::fs::read(&tile).unwrap();
    let at = bytes.windows(11).position(|window| window == b"/etc/shadow").unwrap();
    bytes[at..at + 11].copy_from_slice(b"/etc/passwd");
    std::fs::write(&tile, bytes).unwrap();
    let done = tether(&["--json", "audit", "verify", "--export", &scene.path("export"), "--root", &root_text()]);
    assert!(done.code == 3 && done.out.contains("not the ones that the checkpoint has signed"), "{done:?}");
    // Central's copy of a chain is cut, and the log remembers.
    trail::put_log(&export, &lines, [41; 32]);
    let mut cut = world.web.clone();
    cut.segments.pop();
    std::fs::remove_dir_all(export.join("hosts/web-01")).unwrap();
    cut.put(&export.join("hosts/web-01"));
    std::fs::copy(scene.path("start.json"), export.join("hosts/web-01/start.json")).unwrap();
    let answer =
        tether(&["--json", "audit", "verify", "--export", &scene.path("export"), "--root", &root_text()]).json();
    assert_eq!(first(&answer), ("web-01".into(), Some(7), "the log has this record, and the chain has not".into()));
}

/// A host that goes on after damage, again and again, as central exports it. One gap kept all that is behind it in the log
/// from being looked at, other hosts' records with it, and the chain after the gap too.
#[test]
fn damage_of_one_host_hides_nothing_behind_it() {
    let scene = Scene::new();
    let export = scene.folder.path().join("export");
    let world = believable();
    let mut lines = world.records();
    let mut put = |name: &str, from: u64| {
        let mut writer = Writer::new("old-01", Some([3; 32]));
        let verified = Verified { records: from, head: if from > 0 { "h".repeat(43) } else { String::new() } };
        writer.chain = Chain::after("old-01", "boot", verified);
        writer.segments[0].0 = from + 1;
        writer.head();
        for at in 0..2 {
            writer.write(told("sudo.command", "s", None, json!({"of": name, "at": at})));
        }
        writer.head();
        writer.put(&export.join("hosts").join(name));
        lines.extend(writer.segments[0].1.iter().filter(|line| !is_head(line)).cloned());
    };
    for generation in 0..12 {
        put(&format!("old-01@{generation}"), generation * 10);
    }
    put("old-01", 120);
    let mut late = Writer::new("late-01", Some([4; 32]));
    late.write(told("sudo.command", "s", None, json!({})));
    late.put(&export.join("hosts/late-01"));
    lines.extend(late.segments[0].1.clone());
    let look = |lines: &[String]| {
        trail::put_log(&export, lines, [41; 32]);
        let root = root_text();
        tether(&["--json", "audit", "verify", "--export", &scene.path("export"), "--root", &root]).json()
    };
    let answer = look(&lines);
    assert_eq!((&answer["holds"], &answer["log"]["findings"]), (&json!(false), &json!([])), "{answer:#}");
    let chains: Vec<&Value> =
        answer["chains"].as_array().unwrap().iter().filter(|one| one["chain"] == "old-01").collect();
    assert_eq!(chains.len(), 13);
    for chain in chains {
        let (first, last) = (chain["first"].as_u64().unwrap(), chain["last"].as_u64().unwrap());
        assert_eq!((last, &chain["signed"]["number"]), (first + 1, &json!(last)), "it is read to its end: {chain:#}");
        let findings = chain["findings"].as_array().unwrap();
        let whats: Vec<&str> = findings.iter().filter_map(|one| one["what"].as_str()).collect();
        assert_eq!(whats, if first == 1 { vec![] } else { vec!["segment"] }, "and the damage is named: {chain:#}");
    }
    // What is behind all that is looked at.
    let at = lines.len() - 1;
    lines[at] = rehashed(&lines[at], |record| record["outcome"] = json!("refused"));
    let answer = look(&lines);
    let finding = &answer["log"]["findings"][0];
    assert_eq!((&finding["chain"], answer["log"]["findings"].as_array().unwrap().len()), (&json!("late-01"), 1));
}
