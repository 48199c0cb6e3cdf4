//! One record has a size that its subject does not choose.

use super::LogError;
use super::writer::{DETAILS_MAX, spelled};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tether_audit::{Event, Prepared, canonical};

/// How much of what is cut stays readable.
const START: usize = 4096;

/// The event as it will stand in its line. Details that are too long are cut: how long they were, their digest and
/// their beginning stay, so that two that differ still have two records.
pub fn prepared(event: &Event) -> Result<Prepared, LogError> {
    let whole = spelled(event)?;
    if whole.len() <= DETAILS_MAX {
        return Ok(whole);
    }
    let text = canonical(&Value::Object(event.details.clone())).map_err(|error| LogError::Event(error.into()))?;
    let digest: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let start: String = text.chars().take(START).collect();
    let mut details = Map::new();
    details.insert("cut".to_owned(), json!({"bytes": text.len(), "sha256": digest, "start": start}));
    spelled(&Event { details, ..event.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_audit::{Ids, Outcome};

    fn event(argument: &str) -> Event {
        let details = json!({"argv": [argument]}).as_object().unwrap().clone();
        let (event, code) = ("sudo.command".to_owned(), String::new());
        Event { event, outcome: Outcome::Allowed, code, ids: Ids::unknown("a test"), parent: None, details }
    }

    #[test]
    fn a_long_record_is_cut_and_stays_its_own() {
        let short = event(&"a".repeat(60_000));
        assert_eq!(prepared(&short).unwrap(), spelled(&short).unwrap());
        let [one, other] = ["b", "c"].map(|end| prepared(&event(&("a".repeat(1 << 20) + end))).unwrap());
        assert!(one.len() < 2 * START, "{}", one.len());
        assert_ne!(one, other);
    }
}
