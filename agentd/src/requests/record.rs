//! A channel's recorder asks for a recording.

use super::{Response, not_yours};
use crate::clock::wall_micros;
use crate::host::{Host, ids_of};
use crate::recorders::Recording;
use serde_json::json;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use tether_hostlink::{Channel, Continued, RecordRequest, Refusal, Reply};
use tether_identity::SessionId;
use tether_recording::{Header, Kind, Stream};

/// What sshd lets one connection have (`MaxSessions` of the drop-in): so many channels are recorded of each.
const CHANNELS_MAX: usize = 10;
/// How many recordings a session may have in all: each is a file.
const RECORDINGS_MAX: u32 = 20_000;

impl Host {
    /// Begins a recording: its file and its record are there before the recorder is told.
    pub(super) fn begin_recording(&mut self, id: &SessionId, request: RecordRequest) -> Response {
        match self.recording(id, request) {
            Ok(recording) => {
                let reply = Reply::Recording { name: recording.name.clone() };
                Response { recording: Some(Box::new(recording)), ..Response::with(reply, Vec::new()) }
            }
            Err(refusal) => Err(refusal).into(),
        }
    }

    fn recording(&mut self, id: &SessionId, request: RecordRequest) -> Result<Recording, Refusal> {
        let session = self.sessions.get(id).filter(|session| session.is_open()).ok_or_else(not_yours)?.clone();
        let most = CHANNELS_MAX * session.grant.connections as usize;
        let recorded = self.recorded.entry(id.clone()).or_default();
        if recorded.open.len() >= most || recorded.count >= RECORDINGS_MAX {
            let text =
                format!("this session has as many recordings as it may: {most} at a time, {RECORDINGS_MAX} in all");
            return Err(Refusal::new("recording.limit", text));
        }
        if let Some(continued) = &request.continues
            && !recorded.expected.contains_key(&continued.name)
        {
            return Err(not_yours());
        }
        let kind = kind_of(request.kind);
        recorded.count += 1;
        let name = format!("{}-{}", kind.as_str(), recorded.count);
        let header = Header {
            name: name.clone(),
            session: id.to_string(),
            host: self.config.host.host.to_string(),
            kind,
            command: request.command.as_deref().map_or(serde_json::Value::Null, Into::into),
            started_us: wall_micros(),
            columns: request.columns,
            rows: request.rows,
        };
        let disk = |error: io::Error| Refusal::new("host.disk", format!("the recording cannot be begun: {error}"));
        let mut recording = self.make_recording(id, &header).map_err(disk)?;
        if let Some(Continued { name, bytes }) = &request.continues {
            let text = format!("agentd was restarted: this goes on from {name:.64} after {bytes} bytes of output");
            recording.add(Stream::Gap, text.as_bytes());
        }
        let about = json!({
            "name": name, "kind": kind.as_str(), "command": header.command, "columns": header.columns,
            "rows": header.rows, "continues": request.continues.as_ref().map(|continued| &continued.name),
        });
        if let Err(error) = self.record_done("recording.began", ids_of(&session), about) {
            // Nothing runs: no recorder of it will come back.
            let _ = fs::remove_file(self.recordings_of(id).join(format!("{name}.open")));
            return Err(Refusal::new("host.disk", error.to_string()));
        }
        if let Some(recorded) = self.recorded.get_mut(id) {
            recorded.open.insert(name);
        }
        if let Some(Continued { name, .. }) = &request.continues {
            self.goes_on(id, name);
        }
        Ok(recording)
    }

    fn goes_on(&mut self, id: &SessionId, earlier: &str) {
        if let Some(recorded) = self.recorded.get_mut(id) {
            recorded.expected.remove(earlier);
        }
        self.leave_recording(id, earlier);
    }

    /// The file, and beside it the mark that it is being written: after a restart its recorder must come back.
    fn make_recording(&self, id: &SessionId, header: &Header) -> io::Result<Recording> {
        let folder = self.recordings_of(id);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::write(folder.join(format!("{}.open", header.name)), "")?;
        let made = Recording::create(&folder, id.clone(), header);
        if made.is_err() {
            let _ = fs::remove_file(folder.join(format!("{}.open", header.name)));
        }
        made
    }
}

const fn kind_of(channel: Channel) -> Kind {
    match channel {
        Channel::Tty => Kind::Tty,
        Channel::Exec => Kind::Exec,
        Channel::Sftp => Kind::Sftp,
    }
}
