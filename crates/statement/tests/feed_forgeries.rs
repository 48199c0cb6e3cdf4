//! The feed: in order, whole, for one host. Heads and resumes: for one host.

mod common;

use common::{NOW, grant, host, signer, trusted};
use serde_json::{Value, json};
use tether_statement::issue::FeedWriter;
use tether_statement::{Body, FeedError, FeedStatement, Head, Position, Resume, Revocation, Role, Typ};

fn revocation(session: &str) -> Body {
    Body::Revocation(Revocation::Session(session.parse().unwrap()))
}

fn feed(host: &str, count: u64) -> Vec<String> {
    let mut writer = FeedWriter::new(host.parse().unwrap());
    let mut next =
        |number: u64| writer.append(&signer(Role::Revocation), &revocation(&format!("{number:016}")), NOW).unwrap().1;
    (1..=count).map(&mut next).collect()
}

fn take(text: &str, at: &Position) -> Result<Position, String> {
    FeedStatement::verify(text, trusted(), &host(), at).map(|taken| taken.position).map_err(|error| error.code())
}

fn envelope(change: impl FnOnce(&mut Value)) -> String {
    let mut value = json!({"host": "web-01", "number": 1, "previous": "", "issued_at": NOW, "body": grant()});
    change(&mut value);
    signer(Role::Grant).sign(Typ::Grant, &value).unwrap()
}

#[test]
fn a_feed_is_read_in_its_order_and_no_other() {
    let texts = feed("web-01", 3);
    let one = take(&texts[0], &Position::start()).unwrap();
    let two = take(&texts[1], &one).unwrap();
    assert_eq!(take(&texts[2], &two).unwrap(), Position::after(3, &texts[2]));
    let gap = Err("feed.gap".to_owned());
    assert_eq!(take(&texts[1], &Position::start()), gap, "one was dropped");
    assert_eq!(take(&texts[2], &one), gap, "one was dropped");
    assert_eq!(take(&texts[0], &one), gap, "it is read again");
    assert_eq!(take(&texts[0], &two), gap, "it is read again");
}

#[test]
fn a_statement_follows_only_the_one_it_was_signed_after() {
    let texts = feed("web-01", 2);
    let another = Position::after(1, "another first statement");
    assert_eq!(take(&texts[1], &another), Err("feed.wrong_hash".to_owned()));
    assert_eq!(take(&texts[0], &Position { number: 0, hash: "x".into() }), Err("feed.wrong_hash".to_owned()));
}

#[test]
fn another_hosts_feed_is_refused() {
    let texts = feed("web-02", 1);
    assert_eq!(take(&texts[0], &Position::start()), Err("feed.other_host".to_owned()));
}

#[test]
fn an_envelope_or_grant_with_anything_unknown_missing_or_malformed_is_refused() {
    assert!(take(&envelope(|_| ()), &Position::start()).is_ok());
    let payload = Err("feed.payload".to_owned());
    for member in ["host", "number", "previous", "issued_at", "body"] {
        let without = envelope(|value| drop(value.as_object_mut().unwrap().remove(member)));
        assert_eq!(take(&without, &Position::start()), payload, "without {member}");
    }
    for member in grant().as_object().unwrap().keys() {
        let without = envelope(|value| drop(value["body"].as_object_mut().unwrap().remove(member)));
        assert_eq!(take(&without, &Position::start()), payload, "without body.{member}");
    }
    let unknown = envelope(|value| value["group"] = json!("web"));
    assert_eq!(take(&unknown, &Position::start()), payload);
    for (member, value) in [
        ("uid", json!(0)),
        ("session", json!("../../etc")),
        ("principal", json!("tether://secops/triage")),
        ("principal", json!("tether://secops/triage/")),
        ("account", json!("root")),
        ("account", json!("ag-x-ro")),
        ("jkt", json!("SHA256:x")),
        ("connections", json!(-1)),
        ("serial", json!("1")),
        ("instance", json!("")),
    ] {
        let changed = envelope(|envelope| envelope["body"][member] = value.clone());
        assert_eq!(take(&changed, &Position::start()), payload, "{member} is {value}");
    }
}

#[test]
fn an_unknown_revocation_is_an_error_and_not_passed_over() {
    for body in
        [json!({"everything": true}), json!({"session": "0123456789abcdef", "agent": "x"}), json!({}), json!("all")]
    {
        let value = json!({"host": "web-01", "number": 1, "previous": "", "issued_at": NOW, "body": body});
        let text = signer(Role::Revocation).sign(Typ::Revocation, &value).unwrap();
        assert_eq!(take(&text, &Position::start()), Err("feed.payload".to_owned()), "{body}");
    }
}

#[test]
fn heads_and_resumes_are_for_one_host() {
    let head = |host: &str| json!({"host": host, "position": {"number": 1, "hash": "h"}, "time": NOW});
    let resume = |host: &str| json!({"host": host, "nonce": "n", "position": {"number": 1, "hash": "h"}, "seen": 1, "uid_mark": 70000, "time": NOW});
    let feed = signer(Role::Feed);
    let read_head = |value: &Value| Head::verify(&feed.sign(Typ::Head, value).unwrap(), trusted(), &host());
    let read_resume = |value: &Value| Resume::verify(&feed.sign(Typ::Resume, value).unwrap(), trusted(), &host());
    assert_eq!(read_head(&head("web-01")).unwrap().time, NOW);
    assert_eq!(read_resume(&resume("web-01")).unwrap().uid_mark, 70000);
    assert!(matches!(read_head(&head("web-02")), Err(FeedError::OtherHost { .. })));
    assert!(matches!(read_resume(&resume("web-02")), Err(FeedError::OtherHost { .. })));
    for member in ["host", "position", "time"] {
        let mut value = head("web-01");
        value.as_object_mut().unwrap().remove(member);
        assert_eq!(read_head(&value).unwrap_err().code(), "feed.payload", "without {member}");
    }
    for member in ["nonce", "seen", "uid_mark"] {
        let mut value = resume("web-01");
        value.as_object_mut().unwrap().remove(member);
        assert_eq!(read_resume(&value).unwrap_err().code(), "feed.payload", "without {member}");
    }
}

#[test]
fn a_list_is_never_read_as_an_object() {
    let payload = Err("feed.payload".to_owned());
    let whole = signer(Role::Grant).sign(Typ::Grant, &json!(["web-01", 1, "", NOW, grant()])).unwrap();
    assert_eq!(take(&whole, &Position::start()), payload);
    let body = json!({"host": "web-01", "number": 1, "previous": "", "issued_at": NOW, "body": ["triage", 1, "x"]});
    assert_eq!(take(&signer(Role::Grant).sign(Typ::Pin, &body).unwrap(), &Position::start()), payload);
    let head = json!({"host": "web-01", "position": [1, "h"], "time": NOW});
    assert!(Head::verify(&signer(Role::Feed).sign(Typ::Head, &head).unwrap(), trusted(), &host()).is_err());
}
