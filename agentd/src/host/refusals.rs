//! Refusals that somebody can cause as often as they like: the first of its kind is recorded, the others are
//! counted, and the count is recorded once a minute. So nobody can fill the disk with their own refusals.

use super::Host;
use crate::log::warn;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tether_audit::{Ids, Outcome, Parent};
use tether_identity::SessionId;

/// How many kinds of one event are told apart between two flushes; what is beyond is one kind. For each event by itself:
/// a courier's junk must not hide who was refused a login.
const KINDS_MAX: usize = 64;
/// How many refused commands of one session are recorded one by one between two flushes.
const EACH_MAX: u32 = 200;
/// How many commands of one session are allowed between two flushes: each is two records on the host's disk.
const ALLOWED_MAX: u32 = 600;

/// What was counted since the last flush.
#[derive(Debug, Default)]
pub struct Refusals {
    kinds: BTreeMap<(&'static str, String, String), u64>,
    others: u64,
    commands: BTreeMap<SessionId, u32>,
    allowed: BTreeMap<SessionId, u32>,
}

impl Refusals {
    /// Counts one; `true` if it is the first of its kind.
    fn is_first(&mut self, event: &'static str, subject: &str, code: &str) -> bool {
        let kind = (event, subject.to_owned(), code.to_owned());
        if let Some(count) = self.kinds.get_mut(&kind) {
            *count += 1;
            return false;
        }
        if self.kinds.keys().filter(|(other, ..)| *other == event).count() >= KINDS_MAX {
            self.others += 1;
            return false;
        }
        self.kinds.insert(kind, 0);
        true
    }
}

impl Host {
    /// Records a refusal that its subject could repeat at will.
    pub fn record_counted(&mut self, event: &'static str, subject: &str, code: &str, ids: Ids, about: Value) {
        if self.refusals.is_first(event, subject, code) {
            warn(format_args!("{event} [{code}]: {about}"));
            self.record_refused(event, code, ids, about);
        }
    }

    /// Counts an allowed command; `false` if the session has had its share until the next flush.
    pub fn may_run_another(&mut self, session: &SessionId) -> bool {
        let count = self.refusals.allowed.entry(session.clone()).or_default();
        *count += 1;
        *count <= ALLOWED_MAX
    }

    /// Records a refused command; each one, unless they come in floods.
    pub fn record_command_refused(
        &mut self,
        session: &SessionId,
        code: &str,
        login: Option<Parent>,
        ids: Ids,
        about: Value,
    ) {
        let count = self.refusals.commands.entry(session.clone()).or_default();
        *count += 1;
        if *count <= EACH_MAX {
            self.record_best("sudo.command", (Outcome::Refused, code), login, ids, about);
        } else {
            self.record_counted("sudo.command", session.as_str(), code, ids, about);
        }
    }

    /// Writes the counts down and begins anew.
    pub fn flush_refusals(&mut self) {
        let Refusals { kinds, others, .. } = std::mem::take(&mut self.refusals);
        for ((event, subject, code), count) in kinds.into_iter().filter(|(_, count)| *count > 0) {
            let about = json!({"event": event, "subject": subject, "count": count});
            self.record_refused("refusals.counted", &code, Ids::unknown("counted, not one by one"), about);
        }
        if others > 0 {
            let about = json!({"event": "of other kinds", "count": others});
            self.record_refused("refusals.counted", "", Ids::unknown("counted, not one by one"), about);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_a_kind_is_told_and_the_kinds_are_bounded() {
        let mut refusals = Refusals::default();
        assert!(refusals.is_first("login.refused", "ag-a", "grant.key"));
        assert!(!refusals.is_first("login.refused", "ag-a", "grant.key"));
        assert!(refusals.is_first("login.refused", "ag-a", "grant.ca"));
        let told = (0..10_000).filter(|n| refusals.is_first("feed.refused", &format!("feed-{n}"), "feed.gap")).count();
        assert_eq!(told, KINDS_MAX);
        assert_eq!(refusals.others, 10_000 - told as u64);
        assert!(refusals.is_first("login.refused", "ag-b", "grant.key"), "a flood of one event hides another");
    }
}
