//! What was checked, and exactly what it proves.

use super::check::{Mark, StartedBy, Summary};
use super::tree::{Look, well, wrapped};
use crate::render::{RED, moment, painted, printable};
use serde_json::{Value, json};

/// Whether nothing was found.
pub fn holds(sums: &[Summary]) -> bool {
    sums.iter().all(|sum| sum.findings.is_empty())
}

/// For a person.
pub fn words(sums: &[Summary], from_central: bool, look: Look) -> String {
    let mut out = Vec::new();
    if from_central {
        out.push("checked: each record's own hash. That none is missing is central's word; `tether audit verify --export` proves it from files.".to_owned());
    }
    for sum in sums {
        out.extend(chain(sum, look));
    }
    let mut text = String::new();
    for line in out {
        let indent = line.len() - line.trim_start().len();
        let pieces = if line.contains('\x1b') {
            vec![line.clone()]
        } else {
            wrapped(line.trim_start(), look.width.saturating_sub(indent))
        };
        for (at, piece) in pieces.iter().enumerate() {
            let pad = if line.contains('\x1b') { 0 } else { indent + if at > 0 { 18.min(indent * 9) } else { 0 } };
            text.push_str(&" ".repeat(pad));
            text.push_str(piece);
            text.push('\n');
        }
    }
    text
}

fn chain(sum: &Summary, look: Look) -> Vec<String> {
    let name = format!("{}{}", printable(&sum.chain), sum.whose);
    let range = if sum.first == 0 { "no record".to_owned() } else { format!("records {} to {}", sum.first, sum.last) };
    let mut out = Vec::new();
    if sum.findings.is_empty() {
        out.push(format!("{} {name}: {range}, none changed, missing or moved", well("✓", look)));
    } else {
        out.push(painted(&format!("✗ {name} does NOT hold: {range} were read"), RED, look.colour));
        out.extend(sum.findings.iter().flat_map(|finding| {
            finding.words().lines().map(|line| painted(&format!("  {line}"), RED, look.colour)).collect::<Vec<_>>()
        }));
    }
    let mark = |name: &str, mark: &Option<Mark>, none: &str| match mark {
        Some(mark) => {
            let key = mark.key.map(|key| format!(", key {key}")).unwrap_or_default();
            format!("  {name:<18}up to {}, {}{key}", mark.number, moment(mark.time_us))
        }
        None => format!("  {name:<18}{none}"),
    };
    out.push(mark("signed", &sum.signed, "nothing: no head is here"));
    let (_, unchecked) = sum.countersignatures;
    let none = if unchecked > 0 {
        format!(
            "not checked: {unchecked} here, and no key set that has their key and a root's signature (--root, --keys)"
        )
    } else {
        "nothing".to_owned()
    };
    out.push(mark("countersigned", &sum.countersigned, &none));
    out.push(format!("  {:<18}{}", "bound by nothing", unbound_words(sum)));
    if sum.retired > 0 {
        let words = format!("records up to {}: not here, central had countersigned them", sum.retired);
        out.push(format!("  {:<18}{words}", "retired"));
    }
    if sum.signed.is_some() {
        out.push(format!("  {:<18}{}", "first key", started(sum.start)));
    }
    out
}

/// The records that no signature covers.
pub fn unbound(sum: &Summary) -> Option<(u64, u64)> {
    let signed = [&sum.signed, &sum.countersigned].into_iter().flatten().map(|mark| mark.number).max().unwrap_or(0);
    let from = signed.max(sum.first.saturating_sub(1)) + 1;
    (from <= sum.last).then_some((from, sum.last))
}

fn unbound_words(sum: &Summary) -> String {
    let beyond = sum.countersigned.as_ref().map_or(0, |mark| mark.number);
    let end = format!("and what may have been cut after record {}", sum.last);
    match unbound(sum) {
        None if beyond >= sum.last => end.replacen("and what", "only what", 1),
        None => end.replacen("and what", "what", 1),
        Some((from, to)) if from == to => format!("record {from}, {end}"),
        Some((from, to)) => format!("records {from} to {to}, {end}"),
    }
}

fn started(start: StartedBy) -> &'static str {
    match start {
        StartedBy::Nothing => "believed: no start was given",
        StartedBy::Beside => "as start.json beside the chain names it",
        StartedBy::Given => "as the given start names it",
    }
}

/// For a program.
pub fn json(sums: &[Summary]) -> Value {
    let mark = |mark: &Option<Mark>| {
        mark.as_ref().map(|mark| json!({"number": mark.number, "time_us": mark.time_us, "key": mark.key}))
    };
    let one = |sum: &Summary| {
        let start = match sum.start {
            StartedBy::Nothing => "none",
            StartedBy::Beside => "beside",
            StartedBy::Given => "given",
        };
        json!({
            "chain": sum.chain, "compared": sum.compared, "holds": sum.findings.is_empty(), "files": sum.files,
            "first": sum.first, "last": sum.last, "hash": sum.hash, "start": start, "retired": sum.retired,
            "signed": mark(&sum.signed), "countersigned": mark(&sum.countersigned),
            "countersignatures": {"checked": sum.countersignatures.0, "unchecked": sum.countersignatures.1},
            "unbound": unbound(sum).map(|(from, to)| json!([from, to])),
            "findings": sum.findings.iter().map(super::finding::Finding::json).collect::<Vec<_>>(),
        })
    };
    json!(sums.iter().map(one).collect::<Vec<_>>())
}
