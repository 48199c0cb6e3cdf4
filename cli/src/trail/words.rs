//! What a record says, in words for a person. Every text goes through `printable`: an agent chose some of them.

use super::story::{Rec, Story};
use crate::render::{command, list, moment, printable, text};
use serde_json::Value;
use tether_audit::Outcome;

/// A short name for what happened.
pub fn label(event: &str) -> String {
    let known = match event {
        "token.issued" | "token.refused" => "delegation",
        "grant.sent" | "grant.refused" => "grant",
        "certificate.issued" | "certificate.refused" => "certificate",
        "session.reserved" => "account",
        "session.revoked" => "revoked",
        "login.bound" | "login.refused" => "login",
        "sudo.command" => "command",
        "sudo.ended" => "ended",
        "session.ending" => "ending",
        "session.removed" => "removed",
        "recording.started" => "recording",
        "recording.ended" => "recorded",
        "recording.gap" => "GAP",
        other => other,
    };
    printable(known)
}

/// What it says, in one line.
pub fn told(record: &Rec) -> String {
    let get = |name: &str| text(record.about(name));
    let listed = |name: &str| list(record.about(name));
    match record.event() {
        "token.issued" => {
            format!("for {} with bundle {}, by policy {}", get("host"), get("bundle"), listed("policies"))
        }
        "grant.sent" => format!("to {}, as statement {} of its feed", get("host"), get("statement")),
        "certificate.issued" => format!("serial {}, for {}", get("serial"), get("account")),
        "session.reserved" => format!("{}, uid {}, bundle {}", get("account"), get("uid"), get("bundle")),
        "login.bound" => format!("from {}", get("connection").split(' ').next().unwrap_or_default()),
        "sudo.command" => command_words(record),
        "sudo.ended" => format!("{} ({})", command_words(record), status(record.about("status"))),
        "session.ending" => with_count(&get("reason"), record.about("connections"), "connection"),
        "session.removed" => removed(record),
        event if event.starts_with("recording.") => recording(record),
        _ => rest(record),
    }
}

fn with_count(what: &str, count: &Value, of: &str) -> String {
    match count.as_u64() {
        None | Some(0) => what.to_owned(),
        Some(1) => format!("{what}, 1 {of}"),
        Some(count) => format!("{what}, {count} {of}s"),
    }
}

fn command_words(record: &Rec) -> String {
    let words = command(&record.link.event.details);
    if words.is_empty() { text(record.about("why")) } else { words }
}

fn removed(record: &Rec) -> String {
    let found = record.about("found").as_array().map_or(0, Vec::len);
    let places = record.about("checked").as_array().map_or(0, Vec::len);
    if found == 0 {
        format!("nothing is left, in {places} kinds of places")
    } else {
        format!("LEFT BEHIND: {}", list(record.about("found")))
    }
}

fn recording(record: &Rec) -> String {
    let mut parts = Vec::new();
    parts.extend(record.about("recording").as_str().map(printable));
    parts.extend(record.about("kind").as_str().map(printable));
    parts.extend(record.about("bytes").as_u64().map(size));
    parts.extend(record.about("chunks").as_u64().map(|chunks| format!("{chunks} chunks")));
    parts.extend(record.about("why").as_str().map(printable));
    let what = shown_by(record);
    match (parts.is_empty(), what.is_empty()) {
        (true, _) => rest(record),
        (false, true) => parts.join(", "),
        (false, false) => format!("{}: {what}", parts.join(", ")),
    }
}

/// The command whose output a recording is, as far as its record says.
pub fn shown_by(record: &Rec) -> String {
    match record.about("command") {
        Value::Array(words) => words.iter().map(text).collect::<Vec<_>>().join(" "),
        other => text(other),
    }
}

/// An event that has no words of its own: its reason, or what it holds.
fn rest(record: &Rec) -> String {
    let why = text(record.about("why"));
    if !why.is_empty() {
        return why;
    }
    members(&record.link.event.details)
}

fn members(all: &serde_json::Map<String, Value>) -> String {
    let each = |(name, value): (&String, &Value)| match value {
        // No deeper: what lies there is text again.
        Value::Object(within) if within.values().all(|value| !value.is_object()) => {
            format!("{} {}", printable(name), members(within))
        }
        value => format!("{} {}", printable(name), text(value)),
    };
    all.iter().map(each).collect::<Vec<_>>().join(", ")
}

/// How it came out: a command's end, how long it took and what it used; what of a recording is kept.
pub fn outcome_of(begun: &Rec, ended: &Rec) -> Vec<String> {
    let took = span(ended.link.time_us.saturating_sub(begun.link.time_us));
    if ended.event() == "recording.ended" {
        let kept = ended.about("bytes").as_u64().map(|bytes| format!("{} kept", size(bytes)));
        let cut = (*ended.about("regular") == Value::Bool(false)).then(|| "without an end of its own".to_owned());
        return kept.into_iter().chain([took]).chain(cut).collect();
    }
    let mut parts = vec![status(ended.about("status"))];
    parts.push(took);
    parts.extend(resources(ended));
    parts
}

/// A wait status as waitpid(2) gives it.
pub fn status(status: &Value) -> String {
    match status.as_i64() {
        None => "ended, how is not known".to_owned(),
        Some(status) if status & 0x7f != 0 => format!("killed by signal {}", status & 0x7f),
        Some(status) => format!("exit {}", (status >> 8) & 0xff),
    }
}

/// What it used, as far as it is on record.
fn resources(ended: &Rec) -> Vec<String> {
    let within = ended.about("resources");
    let get = |names: &[&str]| {
        let of = |name: &&str| ended.about(name).as_u64().or_else(|| within.get(name).and_then(Value::as_u64));
        names.iter().find_map(of)
    };
    let cpu = get(&["cpu_us", "usage_us"]).or_else(|| Some(get(&["user_us"])? + get(&["system_us"])?));
    let memory = get(&["memory_bytes", "memory_peak", "memory_peak_bytes"])
        .or_else(|| get(&["max_rss_kib"]).map(|kib| kib * 1024));
    let mut parts = Vec::new();
    parts.extend(cpu.map(|micros| format!("cpu {}", span(micros))));
    parts.extend(memory.map(|bytes| format!("memory {}", size(bytes))));
    parts.extend(get(&["read_bytes", "io_read_bytes"]).map(|bytes| format!("read {}", size(bytes))));
    parts.extend(get(&["written_bytes", "io_write_bytes"]).map(|bytes| format!("wrote {}", size(bytes))));
    parts
}

/// The papers of a session: each with its rows of text.
pub fn papers(story: &Story) -> Vec<(&'static str, Vec<String>)> {
    let mut all = Vec::new();
    if let Some(token) = story.first("token.issued") {
        let get = |name: &str| text(token.about(name));
        all.push(("sign-in", sign_in(token, "at")));
        let ids = &token.link.event.ids;
        let mut rows = vec![format!("jti {}", ids.delegation.id().map(printable).unwrap_or_default())];
        rows.push(format!("issued {} by central{}", moment(token.link.time_us), key_words(token)));
        rows.push(format!("until {}, bound to key {}", until(token.about("expires_at")), get("jkt")));
        rows.push(format!("bundle {}, by policy {}", get("bundle"), list(token.about("policies"))));
        all.push(("delegation", rows));
    } else if let Some(reserved) = story.first("session.reserved") {
        // A host knows of the sign-in what the issuer of the delegation says.
        all.push(("sign-in", sign_in(reserved, "by the word of")));
        let jti = reserved.link.event.ids.delegation.id().map(printable).unwrap_or_default();
        let rows = vec![format!("jti {jti}"), format!("bundle {}", text(reserved.about("bundle")))];
        all.push(("delegation", rows));
    }
    if let Some(grant) = story.first("grant.sent") {
        let get = |name: &str| text(grant.about(name));
        let row = format!(
            "statement {} of the feed of {}, sent {}",
            get("statement"),
            get("host"),
            moment(grant.link.time_us)
        );
        all.push(("grant", vec![row]));
    }
    all.extend(certificate(story));
    if let Some(reserved) = story.first("session.reserved") {
        let get = |name: &str| text(reserved.about(name));
        let host = printable(&reserved.chain);
        let mut rows = vec![format!(
            "{} on {host}, uid {}, until {}",
            get("account"),
            get("uid"),
            until(reserved.about("expires_at"))
        )];
        rows.extend(reserved.about("principal").as_str().map(printable));
        all.push(("account", rows));
    }
    all
}

fn sign_in(record: &Rec, told: &str) -> Vec<String> {
    let get = |name: &str| text(record.about(name));
    let mut rows = vec![format!("{} by {}", until(record.about("auth_time")), list(record.about("amr")))];
    rows.push(format!("{told} {}", get("issuer")));
    let evidence = record.about("subject_token");
    rows.extend(evidence.get("sha256").map(|hash| {
        format!("ID token of {}, sha256 {}", text(evidence.get("iss").unwrap_or(&Value::Null)), text(hash))
    }));
    rows
}

fn certificate(story: &Story) -> Option<(&'static str, Vec<String>)> {
    if let Some(issued) = story.first("certificate.issued") {
        let get = |name: &str| text(issued.about(name));
        let mut rows = vec![format!("serial {}, for {}", get("serial"), get("account"))];
        rows.push(format!("issued {}, until {}", moment(issued.link.time_us), until(issued.about("valid_before"))));
        rows.push(format!("by CA {}", get("ca")));
        rows.extend(issued.about("key_id").as_str().map(|id| format!("key id {}", printable(id))));
        return Some(("certificate", rows));
    }
    let bound = story.first("login.bound")?;
    let row = format!("serial {}, by CA {}", text(bound.about("serial")), text(bound.about("ca")));
    Some(("certificate", vec![row]))
}

fn key_words(record: &Rec) -> String {
    record.about("kid").as_str().map(|kid| format!(", key {}", printable(kid))).unwrap_or_default()
}

fn until(seconds: &Value) -> String {
    seconds.as_u64().map_or_else(|| "an unknown time".to_owned(), |s| moment(s.saturating_mul(1_000_000)))
}

/// The session in few words: what it did, and how it came out.
pub fn counts(story: &Story) -> Counts {
    let own = || story.records.iter().filter(|record| !story.is_strange(record));
    let outcome = |wanted: Outcome| own().filter(|record| record.link.event.outcome == wanted).count();
    Counts {
        commands: story.of("sudo.command").filter(|record| record.link.event.outcome == Outcome::Allowed).count(),
        refused: outcome(Outcome::Refused),
        errors: outcome(Outcome::Error),
        recordings: story.of("recording.started").count(),
        gaps: story.of("recording.gap").count(),
    }
}

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Commands that ran.
    pub commands: usize,
    /// Refusals.
    pub refused: usize,
    /// Errors.
    pub errors: usize,
    /// Recordings.
    pub recordings: usize,
    /// Where something of a recording is missing.
    pub gaps: usize,
}

/// How long: `0.21 s`, `4 min 12 s`.
pub fn span(micros: u64) -> String {
    let seconds = micros / 1_000_000;
    match seconds {
        0 if micros < 1000 => "under 1 ms".to_owned(),
        0 => format!("{} ms", micros / 1000),
        1..=59 => format!("{seconds}.{} s", micros / 100_000 % 10),
        60..=3599 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// How much: `3.1 MiB`.
pub fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = bytes.saturating_mul(10) / 1024;
    for unit in units {
        if tenths < 10_240 {
            return if bytes < 1024 { format!("{bytes} B") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) };
        }
        tenths /= 1024;
    }
    format!("{} PiB", tenths / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        let spans = [
            (12, "under 1 ms"),
            (210_000, "210 ms"),
            (1_900_000, "1.9 s"),
            (252_000_000, "4 min 12 s"),
            (7_260_000_000, "2 h 1 min"),
            (180_000_000_000, "2 d 2 h"),
        ];
        for (micros, wanted) in spans {
            assert_eq!(span(micros), wanted);
        }
        for (bytes, wanted) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3_250_586, "3.1 MiB"), (u64::MAX, "1638 PiB")]
        {
            assert_eq!(size(bytes), wanted);
        }
    }
}
