//! Words that several commands share: times, command lines, texts that are safe for a terminal.

use serde_json::{Map, Value};
use tether_audit::Link;

pub(crate) const BOLD: &str = "\x1b[1m";
pub(crate) const RED: &str = "\x1b[31m";
pub(crate) const GREEN: &str = "\x1b[32m";
pub(crate) const PLAIN: &str = "\x1b[0m";

pub(crate) fn summary(link: &Link) -> String {
    let details = &link.event.details;
    let get = |name: &str| details.get(name).map(text).unwrap_or_default();
    match link.event.event.as_str() {
        "session.reserved" => format!("account {} with bundle {}", get("account"), get("bundle")),
        "login.bound" => format!("from {}", get("connection").split(' ').next().unwrap_or_default()),
        "sudo.command" => command(details),
        "sudo.ended" => format!("{} {}", command(details), ended(details.get("status"))),
        "recording.started" => [get("recording"), get("command")].join(" ").trim_end().to_owned(),
        "recording.ended" => format!("{}, {} bytes shown", get("recording"), get("shown")),
        "session.ending" => get("reason"),
        "session.removed" => match details.get("found").and_then(Value::as_array).map(Vec::len) {
            Some(0) => format!("nothing is left: {}", details.get("checked").map(list).unwrap_or_default()),
            _ => format!("LEFT BEHIND: {}", details.get("found").map(list).unwrap_or_default()),
        },
        _ => get("why"),
    }
}

/// A wait status as waitpid(2) gives it.
fn ended(status: Option<&Value>) -> String {
    match status.and_then(Value::as_i64) {
        None => "(ended; how is not known)".to_owned(),
        Some(status) if status & 0x7f != 0 => format!("(killed by signal {})", status & 0x7f),
        Some(status) => format!("(exit {})", (status >> 8) & 0xff),
    }
}

/// As it was typed; a long one is an object with its beginning.
pub(crate) fn command(details: &Map<String, Value>) -> String {
    let Some(argv) = details.get("argv") else { return String::new() };
    let by = if details.get("by").and_then(Value::as_str) == Some("run") { "tether run" } else { "sudo" };
    let words = argv.as_array().map(|words| words.iter().map(|word| quoted(&text(word))).collect::<Vec<_>>());
    words.map_or_else(|| text(argv), |words| format!("{by} {}", words.join(" ")))
}

fn quoted(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

pub(crate) fn list(value: &Value) -> String {
    value.as_array().map(|all| all.iter().map(text).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text),
        Value::Null => String::new(),
        other => printable(&other.to_string()),
    }
}

/// An agent chooses some of these texts: no control character reaches the reader's terminal, and none that turns the
/// direction of writing or cannot be seen.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

pub(crate) fn painted(text: &str, colour: &str, on: bool) -> String {
    if on { format!("{colour}{text}{PLAIN}") } else { text.to_owned() }
}

pub(crate) fn seconds(value: &Value) -> String {
    value.as_u64().map_or_else(|| "at an unknown time".to_owned(), |s| moment(s.saturating_mul(1_000_000)))
}

/// `2026-01-31 23:59:59`, UTC, from microseconds since 1970.
pub fn moment(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    let (year, month, day) = date(seconds / 86_400);
    let of_day = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

pub(crate) fn clock(micros: u64) -> String {
    let text = moment(micros);
    format!("{}.{:03}", text.split(' ').nth(1).unwrap_or_default(), micros / 1000 % 1000)
}

/// Days since 1970-01-01 to a date in the Gregorian calendar, counting years from March so that the leap day
/// is a year's last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        assert_eq!(moment(0), "1970-01-01 00:00:00");
        assert_eq!(moment(951_782_400_000_000), "2000-02-29 00:00:00");
        assert_eq!(moment(1_795_478_399_000_000), "2026-11-23 23:59:59");
        assert_eq!(moment(4_107_542_400_000_000), "2100-03-01 00:00:00");
    }

    #[test]
    fn no_control_character_reaches_a_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
        assert_eq!(printable("a\u{202e}b\u{200b}c\u{2066}é漢"), "a\u{fffd}b\u{fffd}c\u{fffd}é漢");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
