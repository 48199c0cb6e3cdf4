//! RFC 5424: one line a record, with what is known of it as structured data, and the words for a person after it.

use crate::{FACILITY, Record, rfc3339};
use std::fmt::Write;
use tether_audit::Outcome;

/// The private enterprise number in the name of our structured data. 32473 is set aside for documentation (RFC 5612):
/// Tether has none of its own yet.
pub const ENTERPRISE: u32 = 32_473;
/// The longest text of one parameter.
const VALUE_MAX: usize = 8192;

/// A record as a line, without its end.
pub fn syslog(record: &Record<'_>) -> String {
    let (link, event) = (record.link, &record.link.event);
    let host = header(record.chain, 255);
    let id = header(&event.event, 32);
    let mut out =
        format!("<{}>1 {} {host} tether - {id} ", FACILITY * 8 + severity(event.outcome), rfc3339(link.time_us));
    let _ = write!(out, "[tether@{ENTERPRISE}");
    let mut put = |name: &str, value: &str| {
        let _ = write!(out, " {name}=\"{}\"", escaped(value));
    };
    put("chain", record.chain);
    put("number", &link.number.to_string());
    put("hash", record.hash);
    put("outcome", outcome(event.outcome));
    if !event.code.is_empty() {
        put("code", &event.code);
    }
    for (name, id) in record.ids() {
        put(name, id);
    }
    if let Some(parent) = &event.parent {
        put("parent", &parent.to_string());
    }
    for (name, value) in &event.details {
        let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        put(&format!("d.{}", parameter(name)), &value);
    }
    let words = format!("{} {}", event.event, outcome(event.outcome));
    let _ = write!(out, "] {words}");
    out
}

/// RFC 5424, 6.2.1: informational, warning, error.
pub(crate) const fn severity(outcome: Outcome) -> u32 {
    match outcome {
        Outcome::Allowed => 6,
        Outcome::Refused => 4,
        Outcome::Error => 3,
    }
}

pub(crate) const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Refused => "refused",
        Outcome::Error => "error",
    }
}

/// A field of the header: visible ASCII, "-" if there is none.
fn header(text: &str, longest: usize) -> String {
    let out: String = text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(longest).collect();
    if out.is_empty() { "-".to_owned() } else { out }
}

/// The name of a parameter: visible ASCII but '=', ']' and '"', and 32 characters with the prefix.
fn parameter(name: &str) -> String {
    let fits = |c: char| c.is_ascii_graphic() && !matches!(c, '=' | ']' | '"');
    name.chars().map(|c| if fits(c) { c } else { '_' }).take(30).collect()
}

/// A parameter's value: '"', '\' and ']' behind a backslash (RFC 5424, 6.3.3).
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in flat(value).chars() {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A value without control characters, at which receivers cut lines, and without those that turn the direction of
/// writing: they become U+FFFD. A long one is cut.
pub(crate) fn flat(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if out.len() > VALUE_MAX {
            out.push('…');
            break;
        }
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
        out.push(if c.is_control() || turns { '\u{fffd}' } else { c });
    }
    out
}
