//! Central's own audit chain: a record is part of the act that it is about, so neither stands without the other.

use crate::clock;
use crate::store::{Act, StoreError};
use serde_json::{Map, Value, json};
use tether_audit::{Chain, Event, Ids, Known, Outcome, Parent, Verified};

/// What central's records say instead of a host.
pub const HOST: &str = "central";

/// The most bytes of one text of a record: callers choose what they name, and refusals repeat it.
const TEXT_MAX: usize = 1024;
/// The most bytes of all that belongs to a record: with ids and names its line has to fit an entry of the log.
const DETAILS_MAX: usize = 48 * 1024;

/// A record before it is written.
#[derive(Debug, Clone)]
pub struct Record {
    /// What happened, such as `token.issued`.
    pub event: &'static str,
    /// The stable code of a refusal; empty if it was allowed.
    pub code: String,
    /// Who.
    pub ids: Ids,
    /// What it came of.
    pub parent: Option<Parent>,
    /// What belongs to it; an object.
    pub details: Value,
}

impl Record {
    /// Something that was done.
    pub fn done(event: &'static str, ids: Ids, details: Value) -> Self {
        Self { event, code: String::new(), ids, parent: None, details }
    }

    /// Something that was refused.
    pub fn refused(event: &'static str, code: &str, ids: Ids, details: Value) -> Self {
        Self { event, code: code.to_owned(), ids, parent: None, details }
    }

    /// With what it came of.
    pub fn after(self, parent: Option<Parent>) -> Self {
        Self { parent, ..self }
    }
}

/// Writes a record. Its number.
pub fn write(act: &mut dyn Act, instance: &str, record: &Record) -> Result<u64, StoreError> {
    let (records, head) = act.audit_end()?;
    let details = bounded(&record.details).map_err(|error| StoreError::Database(error.to_string()))?;
    let event = Event {
        event: record.event.to_owned(),
        outcome: if record.code.is_empty() { Outcome::Allowed } else { Outcome::Refused },
        code: record.code.clone(),
        ids: record.ids.clone(),
        parent: record.parent.clone(),
        details,
    };
    let chain = Chain::after(HOST, instance, Verified { records, head });
    let next = chain.next(event, clock::micros()).map_err(|error| StoreError::Database(error.to_string()))?;
    act.append_audit(records + 1, next.hash(), &next.line)?;
    Ok(records + 1)
}

/// What belongs to a record, in the size that it may have: of long texts their beginning, of too many of them their length,
/// digest and beginning.
fn bounded(details: &Value) -> Result<Map<String, Value>, tether_audit::ChainError> {
    let Value::Object(details) = shortened(details) else { return Ok(Map::new()) };
    let text = tether_audit::canonical(&Value::Object(details.clone()))?;
    if text.len() <= DETAILS_MAX {
        return Ok(details);
    }
    let start: String = text.chars().take(TEXT_MAX).collect();
    let cut = json!({"bytes": text.len(), "sha256": crate::app::hash(&text), "start": start});
    let host = details.get("host").map(|host| ("host".to_owned(), host.clone()));
    Ok(host.into_iter().chain([("cut".to_owned(), cut)]).collect())
}

/// As much of a text as fits, in whole characters.
pub fn first_of(text: &str, most: usize) -> &str {
    let end = text.char_indices().map(|(at, one)| at + one.len_utf8()).take_while(|end| *end <= most).last();
    text.get(..end.unwrap_or(0)).unwrap_or_default()
}

fn shortened(value: &Value) -> Value {
    match value {
        Value::String(text) if text.len() > TEXT_MAX => {
            format!("{}… ({} bytes)", first_of(text, TEXT_MAX), text.len()).into()
        }
        Value::Array(items) => items.iter().map(shortened).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shortened(value))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

/// Five ids, of which some are known.
#[derive(Debug, Clone, Default)]
pub struct KnownIds {
    /// The human.
    pub human: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// Which running instance of it.
    pub instance: Option<String>,
    /// The delegation.
    pub delegation: Option<String>,
    /// The session.
    pub session: Option<String>,
}

impl KnownIds {
    /// With one reason for those that are not known.
    pub fn or(self, why: &str) -> Ids {
        let known = |id: Option<String>| id.map_or_else(|| Known::unknown(why), Known::Id);
        Ids {
            human: known(self.human),
            agent: known(self.agent),
            instance: known(self.instance),
            delegation: known(self.delegation),
            session: known(self.session),
        }
    }
}

/// All five ids of a delegation.
pub fn ids_of(delegation: &crate::store::Delegation) -> Ids {
    KnownIds {
        human: Some(delegation.human.to_string()),
        agent: Some(delegation.agent.to_string()),
        instance: Some(delegation.instance.to_string()),
        delegation: Some(delegation.id.to_string()),
        session: Some(delegation.session.to_string()),
    }
    .or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_record_has_a_bound() {
        let short = json!({"host": "web-01", "why": "é".repeat(512), "number": 7, "list": ["a", null]});
        assert_eq!(Value::Object(bounded(&short).unwrap()), short);
        let long = bounded(&json!({"why": "é".repeat(600), "deep": {"list": ["x".repeat(2000)]}})).unwrap();
        assert_eq!(long["why"], format!("{}… (1200 bytes)", "é".repeat(512)));
        assert_eq!(long["deep"]["list"][0], format!("{}… (2000 bytes)", "x".repeat(1024)));
        // Each is short, and together they are not: the host still finds it.
        let many: Vec<String> = (0..200).map(|_| "\u{1}".repeat(1000)).collect();
        let cut = bounded(&json!({"host": "web-01", "list": many})).unwrap();
        assert_eq!(
            (cut.len(), &cut["host"], cut["cut"]["bytes"].as_u64() > Some(1_000_000)),
            (2, &json!("web-01"), true)
        );
        assert!(Value::Object(cut).to_string().len() < 8192);
    }
}
