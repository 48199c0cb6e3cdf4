//! The journal's native protocol (systemd, "Native Journal Protocol"): one datagram a record, a field a line.

use crate::syslog::{flat, outcome, severity};
use crate::{FACILITY, Record};
use serde_json::Value;
use std::fmt::Write;

/// What the journal's entries are found by: `journalctl -t tether-audit`.
pub const IDENTIFIER: &str = "tether-audit";
/// The longest words for a person, in characters.
const WORDS_MAX: usize = 1024;

/// A record as a datagram for the journal's socket. No value has a line's end in it.
pub fn journal(record: &Record<'_>) -> String {
    let (link, event) = (record.link, &record.link.event);
    let mut out = String::with_capacity(2048);
    let mut put = |name: &str, value: &str| {
        let _ = writeln!(out, "{name}={}", flat(value));
    };
    put("MESSAGE", &words(record));
    put("PRIORITY", &severity(event.outcome).to_string());
    put("SYSLOG_FACILITY", &FACILITY.to_string());
    put("SYSLOG_IDENTIFIER", IDENTIFIER);
    put("TETHER_CHAIN", record.chain);
    put("TETHER_NUMBER", &link.number.to_string());
    put("TETHER_HASH", record.hash);
    put("TETHER_EVENT", &event.event);
    put("TETHER_OUTCOME", outcome(event.outcome));
    if !event.code.is_empty() {
        put("TETHER_CODE", &event.code);
    }
    for (name, id) in record.ids() {
        put(&format!("TETHER_{}", name.to_uppercase()), id);
    }
    if let Some(parent) = &event.parent {
        put("TETHER_PARENT", &parent.to_string());
    }
    put("TETHER_DETAILS", &Value::Object(event.details.clone()).to_string());
    out
}

/// Who, what, how it went, and the command if there is one.
fn words(record: &Record<'_>) -> String {
    let event = &record.link.event;
    let id = |wanted: &str| record.ids().into_iter().find(|(name, _)| *name == wanted).map(|(_, id)| id);
    let mut words = match (id("human"), id("agent")) {
        (Some(human), Some(agent)) => format!("{human} by {agent}: "),
        _ => String::new(),
    };
    let _ = write!(words, "{} {}", event.event, outcome(event.outcome));
    if !event.code.is_empty() {
        let _ = write!(words, " [{}]", event.code);
    }
    for word in record.about("argv").as_array().into_iter().flatten() {
        let _ = write!(words, " {}", word.as_str().map_or_else(|| "(hidden)".to_owned(), ToOwned::to_owned));
    }
    words.chars().take(WORDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tether_audit::{Event, Ids, Known, Link, Outcome};

    fn link(argv: &Value) -> Link {
        let mut ids = Ids::unknown("not known yet");
        (ids.human, ids.agent) = (Known::Id("alice@example.org".into()), Known::Id("triage".into()));
        Link {
            number: 7,
            time_us: 1,
            host: "web-01".into(),
            boot: "b".into(),
            previous: String::new(),
            event: Event {
                event: "sudo.command".into(),
                outcome: Outcome::Refused,
                code: "bundle.no_rule".into(),
                ids,
                parent: None,
                details: json!({"argv": argv}).as_object().cloned().unwrap(),
            },
        }
    }

    fn fields(link: &Link) -> Vec<(String, String)> {
        let text = journal(&Record { chain: "web-01", hash: "h", link });
        assert!(text.ends_with('\n'));
        let field = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().map(|line| field(line).unwrap()).collect()
    }

    #[test]
    fn what_is_known_is_a_field_and_the_rest_is_left_out() {
        let fields = fields(&link(&json!(["/bin/cat", "/etc/shadow", {"redacted": true}])));
        let of = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let words = "alice@example.org by triage: sudo.command refused [bundle.no_rule] /bin/cat /etc/shadow (hidden)";
        assert_eq!(of("MESSAGE"), Some(words));
        assert_eq!((of("PRIORITY"), of("SYSLOG_IDENTIFIER")), (Some("4"), Some(IDENTIFIER)));
        assert_eq!((of("TETHER_HUMAN"), of("TETHER_NUMBER")), (Some("alice@example.org"), Some("7")));
        assert_eq!((of("TETHER_CODE"), of("TETHER_SESSION")), (Some("bundle.no_rule"), None));
        assert!(of("TETHER_DETAILS").unwrap().contains("\"redacted\":true"));
    }

    #[test]
    fn an_argument_makes_no_field() {
        let hostile = "x\nTETHER_HUMAN=bob@example.org\nPRIORITY=0\r\u{202e}";
        let mut link = link(&json!(["/bin/echo", hostile]));
        link.event.code = "a\nTETHER_OUTCOME=allowed".into();
        let fields = fields(&link);
        assert_eq!(fields.iter().filter(|(name, _)| name == "TETHER_HUMAN").count(), 1);
        assert_eq!(fields.iter().filter(|(name, _)| name == "PRIORITY").count(), 1);
        assert_eq!(fields.iter().filter(|(name, _)| name == "TETHER_OUTCOME").count(), 1);
        assert!(fields.iter().all(|(_, value)| !value.chars().any(|c| c.is_control() || c == '\u{202e}')));
    }
}
