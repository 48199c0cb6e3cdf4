//! An audit chain against another bundle.

mod common;

use common::{Desk, SMALL};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::{Duration, Instant};
use tether_audit::{Chain, Event, Ids, Known, Outcome, Verified};

fn chain(events: Vec<Event>) -> String {
    let mut chain = Chain::after("host", "boot", Verified { records: 0, head: String::new() });
    let mut text = String::new();
    for event in events {
        let next = chain.next(event, 1).unwrap();
        writeln!(text, "{}", next.line).unwrap();
        chain.commit(&next);
    }
    text
}

fn event(event: &str, code: &str, session: &str, details: Value) -> Event {
    let outcome = if code.is_empty() { Outcome::Allowed } else { Outcome::Refused };
    let mut ids = Ids::unknown("test");
    ids.session = Known::Id(session.to_owned());
    let Value::Object(details) = details else { panic!("details are an object") };
    Event { event: event.to_owned(), outcome, code: code.to_owned(), ids, parent: None, details }
}

fn ran(session: &str, bundle: &str, rule: &str, argv: &[&str]) -> Event {
    let details = json!({"argv": argv, "program": argv[0], "sha256": "ab", "cwd": "/", "rule": rule, "bundle": bundle, "version": 1});
    event("sudo.command", "", session, details)
}

fn refused(session: &str, code: &str, argv: &[&str]) -> Event {
    event("sudo.command", code, session, json!({"argv": argv, "cwd": "/var/log", "why": "x"}))
}

fn reserved(session: &str, bundle: &str) -> Event {
    event("session.reserved", "", session, json!({"account": "ag-x", "bundle": bundle}))
}

fn events() -> Vec<Event> {
    vec![
        reserved("s1", "small"),
        reserved("s2", "other"),
        ran("s1", "small", "sockets", &["/usr/bin/ss", "-tn"]),
        ran("s1", "small", "everything", &["/usr/bin/ss", "-K"]),
        ran("s1", "small", "everything", &["/usr/bin/ss", "-K"]),
        ran("s1", "small", "old-name", &["/usr/bin/ss", "-tn"]),
        refused("s1", "bundle.arguments", &["tail", "-n", "5", "syslog"]),
        refused("s1", "bundle.arguments", &["/bin/tail", "-n", "6", "syslog"]),
        refused("s1", "bundle.no_rule", &["cat", "/etc/shadow"]),
        refused("s1", "session.ended", &["ss", "-tn"]),
        refused("s1", "bundle.none", &["ss", "-tn"]),
        refused("s2", "bundle.no_rule", &["ss", "-tn"]),
        ran("s2", "other", "x", &["/usr/bin/x"]),
        event(
            "sudo.command",
            "",
            "s1",
            json!({"argv": {"start": ["/usr/bin/ss"], "arguments": 900, "bytes": 9000}, "program": "/usr/bin/ss", "cwd": "/", "rule": "x", "bundle": "small"}),
        ),
        event("login.bound", "", "s1", json!({"connection": "x"})),
    ]
}

#[test]
fn what_would_change_is_told_and_counted() {
    let desk = Desk::new().with("new.toml", SMALL).with("chain.jsonl", &(chain(events()) + "no record\n"));
    let found = desk.run("replay chain.jsonl new.toml");
    assert_eq!(found.code, 3, "{found:?}");
    for line in [
        "now allowed       1x  /usr/bin/tail -n 5 syslog  [bundle.arguments -> \"last-lines\"]",
        "now allowed       1x  /usr/bin/tail -n 6 syslog  [bundle.arguments -> \"last-lines\"]",
        "now refused       2x  /usr/bin/ss -K  [\"everything\" -> bundle.arguments]",
        "other rule        1x  /usr/bin/ss -tn  [\"old-name\" -> \"sockets\"]",
    ] {
        assert!(found.out.lines().any(|one| one == line), "{line}\n{}", found.out);
    }
    assert_eq!(found.out.lines().count(), 4, "{}", found.out);
    let counts = desk.run("replay chain.jsonl new.toml --json").json()["counts"].clone();
    let wanted = json!({"records": 16, "decided": 7, "same": 2, "now_allowed": 2, "now_refused": 2, "other_rule": 1,
                        "other_bundle": 2, "not_the_bundles": 2, "cut": 1, "unreadable": 1});
    assert_eq!(counts, wanted);
    let all = desk.run("replay chain.jsonl new.toml --all --json").json();
    assert_eq!((&all["counts"]["decided"], &all["counts"]["now_allowed"]), (&9.into(), &3.into()));
    let few = desk.run("replay chain.jsonl new.toml --show 1");
    assert!(few.out.contains("and 3 more"), "{few:?}");
}

#[test]
fn the_same_bundle_changes_nothing() {
    let desk = Desk::new().with("new.toml", SMALL);
    desk.put("chain.jsonl", &chain(vec![ran("s", "small", "sockets", &["/usr/bin/ss", "-tn"])]));
    let found = desk.run("replay chain.jsonl new.toml");
    assert_eq!((found.code, found.out.as_str()), (0, ""), "{found:?}");
    assert_eq!(desk.run("replay none.jsonl new.toml").code, 1);
}

#[test]
fn a_damaged_chain_is_read_as_far_as_it_is_one() {
    let desk = Desk::new().with("new.toml", SMALL);
    let mut bytes = b"\xff\xfe\n{}\n\n".to_vec();
    bytes.extend(vec![b'x'; 3 << 20]);
    bytes.push(b'\n');
    bytes.extend(chain(vec![ran("s", "small", "gone", &["/usr/bin/ss", "-tn"])]).into_bytes());
    std::fs::write(desk.path("chain.jsonl"), bytes).unwrap();
    let counts = desk.run("replay chain.jsonl new.toml --json").json()["counts"].clone();
    assert_eq!(counts["other_rule"], 1, "{counts}");
    assert!(counts["unreadable"].as_u64() >= Some(4), "{counts}");
}

/// A tenth of the million that may take a minute, in a build that is not optimized: ten times as long is a defect.
#[test]
fn a_long_chain_is_read_line_by_line_and_soon() {
    let text = chain(events());
    let lines: Vec<&str> = text.lines().collect();
    let long = lines.repeat(100_000 / lines.len()).join("\n");
    let desk = Desk::new().with("new.toml", SMALL).with("chain.jsonl", &long);
    let start = Instant::now();
    let found = desk.run("replay chain.jsonl new.toml --json");
    let counts = found.json()["counts"].clone();
    assert!(counts["records"].as_u64() > Some(99_000) && counts["decided"].as_u64() > Some(45_000), "{counts}");
    assert_eq!(counts["unreadable"], 0);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
}
