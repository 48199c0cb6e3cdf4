//! What an earlier agentd left that is not over, as the chain tells of it.

use std::collections::BTreeMap;
use tether_audit::{Event, Ids};

/// A recording that began and has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Whom it is about.
    pub ids: Ids,
    /// The record of its beginning.
    pub record: u64,
}

/// What is not over. Of a chain that is not checked whole, that of the part which is.
#[derive(Debug, Clone, Default)]
pub struct Left {
    /// Recordings without an end, by session and name.
    pub recordings: BTreeMap<(String, String), Begun>,
    /// How many records a session has caused, of those that were not removed.
    pub records: BTreeMap<String, u64>,
}

impl Left {
    /// Takes the chain's next record.
    pub fn note(&mut self, number: u64, event: &Event) {
        let Some(session) = event.ids.session.id() else { return };
        if event.event == "session.removed" {
            self.records.remove(session);
        } else {
            *self.records.entry(session.to_owned()).or_default() += 1;
        }
        self.note_recording(number, session, event);
    }

    fn note_recording(&mut self, number: u64, session: &str, event: &Event) {
        let Some(name) = event.details.get("recording").and_then(serde_json::Value::as_str) else { return };
        let key = (session.to_owned(), name.to_owned());
        match event.event.as_str() {
            "recording.started" => {
                self.recordings.insert(key, Begun { ids: event.ids.clone(), record: number });
            }
            "recording.ended" => drop(self.recordings.remove(&key)),
            _ => {}
        }
    }
}
