//! What of a session is being recorded, and what follows when that ends.

use super::{Host, ids_of};
use crate::clock::Moment;
use crate::log::{LogError, warn};
use crate::recorders::{Recording, Summary};
use crate::session::{Phase, Reason};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tether_audit::Ids;
use tether_identity::SessionId;
use tether_recording::Piece;

/// The folder of recordings, below agentd's state.
pub const RECORDINGS: &str = "recordings";
/// How long the recorders of an earlier agentd may take to come back. They wait for it half a minute.
const COMES_BACK: Duration = Duration::from_secs(40);

/// How a recording ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingEnd {
    /// Its recorder said so.
    Regular,
    /// Its recorder is gone.
    Lost,
    /// agentd was restarted; it goes on in another one, or its recorder is gone.
    LeftOpen,
}

/// The recordings of one session.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Names of those that are being written.
    pub open: BTreeSet<String>,
    /// Names of those that an earlier agentd wrote, and until when their recorders must have come back.
    pub expected: BTreeMap<String, Moment>,
    /// How many there ever were.
    pub count: u32,
}

impl Host {
    /// Where a session's recordings are.
    pub fn recordings_of(&self, session: &SessionId) -> PathBuf {
        self.store.path(RECORDINGS).join(session.as_str())
    }

    /// Finds what an earlier agentd was writing. Where its session goes on, its recorder must come back.
    pub(super) fn take_up_recordings(&mut self) {
        let until = Moment::now().plus(COMES_BACK);
        for id in names_in(&self.store.path(RECORDINGS)).into_iter().filter_map(|name| name.parse::<SessionId>().ok()) {
            let names = names_in(&self.recordings_of(&id));
            let open: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".open")).collect();
            if self.sessions.get(&id).is_some_and(crate::session::Session::is_open) {
                let recorded = self.recorded.entry(id).or_default();
                recorded.count = u32::try_from(names.iter().filter(|name| name.ends_with(".rec")).count()).unwrap_or(0);
                recorded.expected = open.into_iter().map(|name| (name.to_owned(), until)).collect();
            } else {
                open.into_iter().for_each(|name| self.leave_recording(&id, name));
            }
        }
    }

    /// Nothing more is written to a recording of an earlier agentd: it is finished by the recorders' thread.
    pub fn leave_recording(&self, session: &SessionId, name: &str) {
        match Recording::reopen(&self.recordings_of(session), session.clone(), name) {
            Ok(recording) => self.recorders.leave(recording),
            Err(error) => warn(format_args!("recording {name} of session {session} cannot be finished: {error}")),
        }
    }

    /// A piece of a recording is full.
    pub fn recording_piece(&mut self, session: &SessionId, name: &str, piece: &Piece) -> Result<(), LogError> {
        let ids = self.ids_of_session(session);
        let about = json!({
            "name": name, "offset": piece.offset, "length": piece.length, "sha256": piece.sha256,
        });
        self.record_done("recording.piece", ids, about)
    }

    /// A recorder went without an end. The session's own end kills recorders; any other does so by the agent's doing.
    pub fn recorder_lost(&mut self, recording: &Recording, why: &str) {
        let id = &recording.session;
        let Some(session) = self.sessions.get(id).filter(|session| matches!(session.phase, Phase::Open { .. })) else {
            return;
        };
        let ids = ids_of(session);
        self.record_error("recording.lost", "recording.lost", ids, json!({"name": recording.name, "why": why}));
        self.end_session(id, Reason::Recorder);
    }

    /// A recording is finished.
    pub fn recording_over(&mut self, session: &SessionId, name: &str, end: RecordingEnd, summary: Summary) {
        let about = json!({
            "name": name, "bytes": summary.bytes, "sha256": summary.sha256, "status": summary.status,
            "regular": end == RecordingEnd::Regular,
        });
        let ids = self.ids_of_session(session);
        match summary.trouble {
            Some(why) => {
                let about = json!({"name": name, "why": why, "recording": about});
                self.record_error("recording.ended", "recording.disk", ids, about);
            }
            None => self.record_done("recording.ended", ids, about).unwrap_or_else(warn),
        }
        if let Err(error) = std::fs::remove_file(self.recordings_of(session).join(format!("{name}.open"))) {
            warn(format_args!("recording {name} of session {session}: {error}"));
        }
        if let Some(recorded) = self.recorded.get_mut(session) {
            recorded.open.remove(name);
        }
    }

    /// Recorders that did not come back to this agentd: what they stood between is not recorded.
    pub(super) fn end_unrecorded(&mut self, now: Moment) {
        let late = |recorded: &Recorded| recorded.expected.values().any(|until| *until <= now);
        let sessions: Vec<SessionId> =
            self.recorded.iter().filter(|(_, recorded)| late(recorded)).map(|(id, _)| id.clone()).collect();
        for id in sessions {
            let names = self.recorded.get_mut(&id).map(|recorded| std::mem::take(&mut recorded.expected));
            let names: Vec<String> = names.into_iter().flatten().map(|(name, _)| name).collect();
            names.iter().for_each(|name| self.leave_recording(&id, name));
            let about: Value = json!({"names": names, "why": "they did not come back after agentd's start"});
            let ids = self.ids_of_session(&id);
            self.record_error("recording.lost", "recording.lost", ids, about);
            self.end_session(&id, Reason::Recorder);
        }
    }

    fn ids_of_session(&self, session: &SessionId) -> Ids {
        self.sessions.get(session).map_or_else(|| Ids::unknown("the session is gone"), ids_of)
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}
