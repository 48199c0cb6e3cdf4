//! Refusals of those who have not shown who they are: counted, and on record at most once a minute for each kind, so
//! that whoever makes keys cannot fill the chain.

use super::App;
use crate::audit::Record;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tether_audit::Ids;
use tether_oauth::{Refusal, Standard};

/// How often one kind is written down.
const EVERY: Duration = Duration::from_secs(60);

/// Refusals by kind.
#[derive(Debug, Default)]
pub struct Strangers(Mutex<BTreeMap<&'static str, Counted>>);

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    /// Since the last record.
    count: u64,
    written: Option<Instant>,
}

impl Strangers {
    /// Counts one. How many there were since the last record, if it is time for another.
    pub(super) fn count(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = kinds.entry(kind).or_default();
        counted.count += 1;
        if counted.written.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        counted.written = Some(now);
        Some(std::mem::take(&mut counted.count))
    }
}

impl App {
    /// Puts on record that somebody without a name was refused. `kind` is the event.
    pub fn note_stranger(&self, kind: &'static str, refusal: Refusal, peer: &str) -> Refusal {
        // Who has no nonce yet has done nothing wrong; who was held back is on record as that; a fault is ours.
        let is_one = !matches!(refusal.error, Standard::UseDpopNonce | Standard::ServerError);
        if !is_one || refusal.retry_after.is_some() {
            return refusal;
        }
        if let Some(count) = self.strangers.count(kind, Instant::now()) {
            let about = json!({"peer": peer, "count": count, "why": refusal.description});
            let record = Record::refused(kind, &refusal.code, Ids::unknown("nobody that is known"), about);
            if let Err(error) = self.record(&record) {
                eprintln!("tether-central: store.failed: {error}");
            }
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_minute_and_none_is_lost() {
        let (strangers, begun) = (Strangers::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(strangers.count("a", at(0)), Some(1));
        assert!((0..60).all(|second| strangers.count("a", at(second)).is_none()));
        assert_eq!(strangers.count("b", at(1)), Some(1), "another kind is another matter");
        assert_eq!(strangers.count("a", at(60)), Some(61));
        assert_eq!(strangers.count("a", at(61)), None);
    }
}
