//! Which channels of a session are being recorded, and what follows when a recorder is gone.

use super::{Host, ids_of};
use crate::clock::Moment;
use crate::session::{Phase, Reason};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tether_identity::SessionId;

/// How long the recorders of an earlier agentd may take to come back. They wait for it half a minute.
const COMES_BACK: Duration = Duration::from_secs(40);

/// The recordings of one session's channels.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Names of those that are being written.
    pub open: BTreeSet<String>,
    /// Names of those that an earlier agentd wrote, and until when their recorders must have come back.
    pub expected: BTreeMap<String, Moment>,
}

impl Host {
    /// What an earlier agentd was writing, of sessions that go on: their recorders must come back.
    pub(super) fn expect_recorders(&mut self) {
        let until = Moment::now().plus(COMES_BACK);
        for (id, name) in self.recordings.left_by_channels() {
            if self.sessions.get(&id).is_some_and(crate::session::Session::is_open) {
                self.channels.entry(id).or_default().expected.insert(name, until);
            }
        }
    }

    /// A recorder went without an end. The session's own end kills recorders; any other does so by the agent's doing.
    pub fn recorder_lost(&mut self, id: &SessionId, name: &str, why: &str) {
        let Some(session) = self.sessions.get(id).filter(|session| matches!(session.phase, Phase::Open { .. })) else {
            return;
        };
        let ids = ids_of(session);
        self.record_error("recording.lost", "recording.lost", ids, json!({"recording": name, "why": why}));
        self.end_session(id, Reason::Recorder);
    }

    /// A channel shows more than its host allows, and is held to that from now on.
    pub fn recording_slowed(&mut self, id: &SessionId, name: &str, rate: u64) {
        let Some(session) = self.sessions.get(id) else { return };
        let (ids, about) = (ids_of(session), json!({"recording": name, "bytes_a_second": rate}));
        // Nobody waits for it: whoever shows too much waits anyhow.
        self.record_refused("recording.slowed", "recording.rate", ids, about);
    }

    /// Nothing more is written to a recording.
    pub fn recording_over(&mut self, id: &SessionId, name: &str) {
        if let Some(recorded) = self.channels.get_mut(id) {
            recorded.open.remove(name);
        }
        self.recordings.ended(id, name, None);
    }

    /// Recorders that did not come back to this agentd: what they stood between is not recorded.
    pub(super) fn end_unrecorded(&mut self, now: Moment) {
        let late = |recorded: &Recorded| recorded.expected.values().any(|until| *until <= now);
        let sessions: Vec<SessionId> =
            self.channels.iter().filter(|(_, recorded)| late(recorded)).map(|(id, _)| id.clone()).collect();
        for id in sessions {
            let expected = self.channels.get_mut(&id).map(|recorded| std::mem::take(&mut recorded.expected));
            for name in expected.into_iter().flatten().map(|(name, _)| name) {
                self.recording_over(&id, &name);
                self.recorder_lost(&id, &name, "it did not come back after agentd's start");
            }
        }
    }
}
