//! What other programs get: OCSF, held against golden files and, where there is one, the published schema; RFC 5424, read
//! by a reader of its grammar; and the chains' own lines.
#![allow(missing_docs)]

mod common;
#[path = "common/golden.rs"]
mod golden;
#[path = "common/ocsf.rs"]
mod ocsf;
#[path = "common/trail.rs"]
mod trail;

use common::{Ran, ran};
use golden::golden;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;
use trail::{believable, refused, told};

fn export(folder: &Path, format: &str, more: &[&str]) -> Ran {
    let from = folder.display().to_string();
    let mut words = vec!["audit", "export", "--format", format, "--from", &from];
    words.extend(more);
    ran(Command::new(env!("CARGO_BIN_EXE_tether")).args(words).output().unwrap())
}

/// The believable trail, and one record of every event that there is otherwise.
fn scene() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut world = believable();
    let events = [
        "token.refused",
        "certificate.refused",
        "revoked",
        "host.admitted",
        "host.enrolled",
        "agent.registered",
        "agent.activated",
        "bundle.published",
        "bundle.confirmed",
        "keys.taken",
        "admin.refused",
        "admin.break_glass",
        "policies.loaded",
        "scim.user.created",
        "scim.user.deleted",
        "signal.taken",
        "rate.limited",
        "central.stopped",
    ];
    for event in events {
        world.central.later(1000).write(told(event, trail::S1, None, json!({"host": "web-01", "agent": "triage"})));
    }
    world.web.later(1000);
    for event in ["login.refused", "login.unbound", "grant.refused", "recording.gap", "feed.silent", "session.stuck"] {
        let mut one = refused(event, "some.code", trail::S1, None, json!({"why": "a reason", "account": "ag-x"}));
        one.session = (event != "feed.silent").then_some(trail::S1);
        world.web.write(one);
    }
    world.export(folder.path());
    folder
}

#[test]
fn golden_files() {
    let folder = tempfile::tempdir().unwrap();
    believable().export(folder.path());
    for (format, name) in [("ocsf", "export.ocsf.jsonl"), ("rfc5424", "export.rfc5424"), ("jsonl", "export.jsonl")] {
        let done = export(folder.path(), format, &["--host", "web-01"]);
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        golden(name, &done.out);
    }
}

#[test]
fn every_event_is_one_of_the_schemas() {
    let folder = scene();
    let events: Vec<Value> =
        export(folder.path(), "ocsf", &[]).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let classes: BTreeSet<u64> = events.iter().filter_map(|event| event["class_uid"].as_u64()).collect();
    assert_eq!(classes, BTreeSet::from([1007, 3001, 3002, 3003, 3004]));
    for event in &events {
        assert_eq!(
            event["type_uid"].as_u64(),
            Some(event["class_uid"].as_u64().unwrap() * 100 + event["activity_id"].as_u64().unwrap())
        );
    }
    let Some(schema) = std::env::var_os("TETHER_OCSF_SCHEMA") else {
        eprintln!("the published schema was not looked at: TETHER_OCSF_SCHEMA names no folder");
        return;
    };
    let schema = ocsf::Schema::open(Path::new(&schema));
    assert!(schema.version().starts_with("1.9"), "{}", schema.version());
    for event in &events {
        assert_eq!(schema.faults(event), Vec::<String>::new(), "{event:#}");
    }
    // Controls: what is missing, unknown, of another kind, or no value there is, is seen.
    let command = events.iter().find(|event| event["class_uid"] == 1007).unwrap();
    let changes: [fn(&mut Value); 5] = [
        |event| drop(event.as_object_mut().unwrap().remove("process")),
        |event| event["more"] = json!(1),
        |event| event["time"] = json!("now"),
        |event| event["severity_id"] = json!(77),
        |event| event["process"] = json!({"working_directory": "/"}),
    ];
    for change in changes {
        let mut changed = command.clone();
        change(&mut changed);
        assert_ne!(schema.faults(&changed), Vec::<String>::new(), "{changed:#}");
    }
}

/// An export holds together by itself: each event's fingerprint is of the event, and names that of the one before.
#[test]
fn attestations_are_of_the_events() {
    use base64ct::{Base64UrlUnpadded, Encoding};
    use sha2::{Digest, Sha256};
    let folder = scene();
    let mut last: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    let mut seen = 0;
    for line in export(folder.path(), "ocsf", &[]).out.lines() {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let chain = event["attestation_list"][0]["chain_uid"].as_str().unwrap().to_owned();
        let given = event["attestation_list"][0].as_object_mut().unwrap().remove("fingerprint").unwrap();
        let before = event["attestation_list"][0]["prev_event"]["fingerprint"]["value"].clone();
        assert_eq!(before, last.get(&chain).cloned().unwrap_or_default());
        let hash = Sha256::digest(tether_audit::canonical(&event).unwrap().as_bytes());
        assert_eq!(given["value"], Base64UrlUnpadded::encode_string(&hash));
        last.insert(chain, given["value"].clone());
        seen += 1;
    }
    assert!(seen > 40);
}

/// A message as RFC 5424 has it (section 6): header fields, structured data, words.
struct Message {
    header: Vec<String>,
    data: Vec<(String, String)>,
    words: String,
}

fn parsed(line: &str) -> Option<Message> {
    let rest = line.strip_prefix('<')?;
    let (priority, rest) = rest.split_once('>')?;
    priority.parse::<u8>().ok().filter(|priority| *priority <= 191)?;
    let mut fields = rest.splitn(7, ' ');
    let header: Vec<String> = (&mut fields).take(6).map(ToOwned::to_owned).collect();
    let longest = [3, 32, 255, 48, 128, 32];
    let fits = |(text, most): (&String, usize)| {
        !text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_graphic())
    };
    if header.len() != 6 || header[0] != "1" || !header.iter().zip(longest).all(fits) {
        return None;
    }
    let mut rest = fields.next()?.strip_prefix("[tether@32473")?;
    let mut data = Vec::new();
    while let Some(one) = rest.strip_prefix(' ') {
        let (name, one) = one.split_once("=\"")?;
        if name.is_empty() || name.len() > 32 || !name.bytes().all(|b| b.is_ascii_graphic() && !b"=]\"".contains(&b)) {
            return None;
        }
        let (mut value, mut characters) = (String::new(), one.char_indices());
        let end = loop {
            match characters.next()? {
                (_, '\\') => value.push(characters.next().map(|(_, c)| c).filter(|c| "\"\\]".contains(*c))?),
                (at, '"') => break at,
                (_, ']') => return None,
                (_, c) => value.push(c),
            }
        };
        data.push((name.to_owned(), value));
        rest = one.get(end + 1..)?;
    }
    Some(Message { header, data, words: rest.strip_prefix("] ")?.to_owned() })
}

#[test]
fn syslog_reads_back_what_was_recorded() {
    let folder = scene();
    let hostile = "a\"b]c\\d\u{1b}[2J\u{202e}\n<13>1 é";
    let mut world = believable();
    world.web.write(told(
        "sudo.command",
        trail::S1,
        None,
        json!({"argv": [hostile], "why": hostile, "a=b] \"c\u{7f}": 1}),
    ));
    world.export(folder.path());
    let done = export(folder.path(), "rfc5424", &["--host", "web-01", "--event", "sudo.command"]);
    let messages: Vec<Message> =
        done.out.lines().map(|line| parsed(line).unwrap_or_else(|| panic!("{line}"))).collect();
    assert_eq!(messages.len(), 6);
    let get = |message: &Message, name: &str| {
        message.data.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let last = messages.last().unwrap();
    assert_eq!(get(last, "d.why"), "a\"b]c\\d\u{fffd}[2J\u{fffd}\u{fffd}<13>1 é");
    assert_eq!(get(last, "d.a_b___c_"), "1");
    assert_eq!((last.header[2].as_str(), last.header[5].as_str()), ("web-01", "sudo.command"));
    let denied = messages.iter().find(|message| get(message, "outcome") == "refused").unwrap();
    assert_eq!((get(denied, "code").as_str(), denied.words.as_str()), ("bundle.arguments", "sudo.command refused"));
    assert_eq!(get(denied, "human"), "alice@example.org");
    for wrong in [
        "<192>1 - - - - - [tether@32473] x",
        "<13>1 - - - - - [tether@32473 a=\"]\"] x",
        "<13>1 - - - - - [x] y",
        "<13>2 - - - - - [tether@32473] x",
    ] {
        assert!(parsed(wrong).is_none(), "{wrong}");
    }
}

#[test]
fn what_does_not_hold_is_not_passed_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = believable();
    let line = &mut world.web.segments[1].1[0];
    *line = line.replace("/etc/shadow", "/etc/passwd");
    world.export(folder.path());
    let done = export(folder.path(), "jsonl", &["--host", "web-01"]);
    assert_eq!(done.code, 3);
    assert!(!done.out.contains("/etc/passwd") && done.out.contains("login.bound"), "{}", done.out);
    assert!(done.err.contains("does NOT hold"), "{}", done.err);
}
