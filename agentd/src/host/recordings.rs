//! What a recording has to do with the rest of the host: its beginning on record, and what ends when it cannot go on.

use super::{CommandEnd, Host, ids_of};
use crate::log::{LogError, Ticket, warn};
use crate::recordings::{Sink, Wanted};
use crate::session::Reason;
use serde_json::{Value, json};
use tether_audit::{Ids, Known};
use tether_hostlink::Refusal;
use tether_identity::SessionId;

/// Why something that is recorded must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It is recorded no more: the disk is full, or its file was changed.
    Failed,
    /// The recording is as long as it may be.
    Limit,
    /// All of the session's recordings are.
    SessionLimit,
}

impl Host {
    /// Begins a recording: its file with the header, and its beginning on record. None if nothing is recorded here.
    /// What cannot be recorded does not run, unless the admin wrote `required = false`.
    pub fn begin_recording(&mut self, id: &SessionId, wanted: &Wanted) -> Result<Option<Sink>, Refusal> {
        if !self.recordings.settings.on {
            return Ok(None);
        }
        let begun = self.recorded(id, wanted);
        if let Err(refusal) = &begun {
            // Who can mend it reads the journal: a disk that is full for recordings need not be full for the chain.
            warn(format_args!("session {id}: nothing can be recorded: {refusal}"));
        }
        if self.recordings.settings.required {
            return begun.map(Some);
        }
        Ok(begun.map_err(|refusal| self.goes_unrecorded(id, wanted, &refusal)).ok())
    }

    fn recorded(&mut self, id: &SessionId, wanted: &Wanted) -> Result<Sink, Refusal> {
        let failed = |error: &dyn std::fmt::Display| {
            Refusal::new("recording.failed", format!("it cannot be recorded, so it does not run: {error}"))
                .hint("tell the human you act for: this host's administrator must look at its disk")
        };
        let session = self.sessions.get(id).ok_or_else(|| failed(&"there is no such session"))?;
        if !self.recordings.has_room() {
            let text = "this host holds as many recordings as it may, so nothing more runs";
            return Err(Refusal::new("recording.full", text)
                .hint("tell the human you act for: [recording] host_mib in /etc/tether/host.toml, or shipping"));
        }
        let (ids, name) = (ids_of(session), self.recordings.name(id, wanted.kind));
        let host = self.config.host.host.as_str();
        let file = self.recordings.begin(id, &name, host, ids.clone(), wanted).map_err(|error| failed(&error))?;
        let mut about = json!({
            "recording": name, "kind": wanted.kind, "plan": wanted.plan,
            "columns": wanted.size.0, "rows": wanted.size.1,
        });
        if wanted.plan.is_none() {
            // A channel of the session has no other record that says what was asked for.
            about["command"] = wanted.command.clone();
        }
        match self.record_done("recording.started", ids, about) {
            Ok(record) => self.recordings.started(id, &name, record),
            Err(error) => {
                self.recordings.undo(id, &name);
                return Err(Refusal::new("host.disk", error.to_string()));
            }
        }
        Ok(Sink { name, file })
    }

    /// A recording holds less than was shown, or something else.
    pub fn record_gap(&mut self, name: &str, why: &str, started: Option<u64>, ids: Ids) {
        let about = json!({"recording": name, "why": why});
        match started.map(|number| self.record_number(number)) {
            None => self.record_error("recording.gap", "recording.gap", ids, about),
            cause => self.record_error_under("recording.gap", "recording.gap", cause, ids, about),
        }
    }

    /// A record about a recording, which came of another about it, where that is known: its session may be long over.
    pub fn record_of_recording(
        &mut self,
        event: &str,
        cause: Option<u64>,
        ids: Ids,
        about: Value,
    ) -> Result<Ticket, LogError> {
        let Some(cause) = cause else { return self.record_soon(event, ids, about) };
        self.begin_record(event, Some(self.record_number(cause)), ids, about)
    }

    fn goes_unrecorded(&mut self, id: &SessionId, wanted: &Wanted, refusal: &Refusal) {
        let Some(ids) = self.sessions.get(id).map(ids_of) else { return };
        let about = json!({"recording": Value::Null, "kind": wanted.kind, "plan": wanted.plan, "why": refusal.text});
        self.record_error("recording.gap", &refusal.code, ids, about);
    }

    /// What is recorded cannot go on.
    pub fn recording_unfit(&mut self, id: &SessionId, plan: Option<&str>, unfit: Unfit) {
        match (unfit, plan) {
            (Unfit::Failed, Some(plan)) => self.command_over(plan, CommandEnd::Unrecorded),
            (Unfit::Limit, Some(plan)) => self.command_over(plan, CommandEnd::RecordingLimit),
            (Unfit::SessionLimit, _) | (_, None) => {
                warn(format_args!("session {id} ends: its recordings cannot go on ({unfit:?})"));
                self.end_session(id, Reason::Recording);
            }
        }
    }

    /// Whether what an earlier agentd began to record may still be written to: its command's cgroup, or its session.
    pub fn lives(&self, id: &SessionId, plan: Option<&str>) -> bool {
        let session = self.sessions.contains_key(id);
        session && plan.is_none_or(|plan| self.cgroups.command_lives(id, plan))
    }

    /// Whom a record about a session is about of which only the id is known any more.
    pub fn ids_of_gone(id: &SessionId) -> Ids {
        Ids { session: Known::Id(id.to_string()), ..Ids::unknown("of a session that is long over") }
    }
}
