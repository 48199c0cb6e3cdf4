//! A channel's recorder asks for a recording.

use super::{Response, not_yours};
use crate::host::Host;
use crate::recorders::Recording;
use crate::recordings::Wanted;
use serde_json::Value;
use tether_hostlink::{Channel, Continued, RecordRequest, Refusal, Reply};
use tether_identity::SessionId;
use tether_recording::{Kind, Stream};

/// What sshd lets one connection have (`MaxSessions` of the drop-in): so many channels are recorded of each.
const CHANNELS_MAX: usize = 10;

/// How many characters of a command stand in a recording and on record. Recorders hand in as many; who connects by other
/// means must not make a record that is so long that it is cut, and names no recording.
const COMMAND_MAX: usize = 4096;

impl Host {
    /// Begins a channel's recording: its file and its record are there before the recorder is told.
    pub(super) fn record_channel(&mut self, id: &SessionId, request: RecordRequest) -> Response {
        match self.channel(id, request) {
            Ok(Some(recording)) => {
                let reply = Reply::Recording { name: recording.name.clone() };
                Response { recording: Some(Box::new(recording)), ..Response::with(reply, Vec::new()) }
            }
            // The admin wants none: `[recording]` of host.toml.
            Ok(None) => Ok(Reply::Done).into(),
            Err(refusal) => Err(refusal).into(),
        }
    }

    fn channel(&mut self, id: &SessionId, request: RecordRequest) -> Result<Option<Recording>, Refusal> {
        let session = self.sessions.get(id).filter(|session| session.is_open()).ok_or_else(not_yours)?;
        let most = CHANNELS_MAX * session.grant.connections as usize;
        let recorded = self.channels.entry(id.clone()).or_default();
        if recorded.open.len() >= most {
            let text = format!("{most} channels of this session are recorded, and that is as many as it may have");
            return Err(Refusal::new("recording.channels", text).hint("wait for one to end"));
        }
        if let Some(Continued { name, .. }) = &request.continues
            && !recorded.expected.contains_key(name)
        {
            return Err(not_yours());
        }
        // Each that begins makes records, and a line of them may be long: the bound would not hold. What runs goes on.
        if let (Some(closed), None) = (self.log.closed(), &request.continues) {
            return Err(Refusal::new(closed.code, closed.why)
                .hint("tell the human you act for: this host's administrator must see why central is not reached"));
        }
        let wanted = Wanted {
            kind: kind_of(request.kind),
            command: request.command.map_or(Value::Null, |line| self.redaction.line(&start_of(&line)).into()),
            size: (request.columns, request.rows),
            plan: None,
        };
        let Some(sink) = self.begin_recording(id, &wanted)? else { return Ok(None) };
        let recorded = self.channels.entry(id.clone()).or_default();
        recorded.open.insert(sink.name.clone());
        let mut recording = Recording::new(id.clone(), sink);
        if let Some(Continued { name, bytes }) = request.continues {
            recorded.expected.remove(&name);
            let text = format!("agentd was restarted: this goes on from {name} after {bytes} bytes of output");
            recording.add(Stream::Gap, text.as_bytes());
            self.recording_over(id, &name);
        }
        Ok(Some(recording))
    }
}

fn start_of(line: &str) -> String {
    line.chars().take(COMMAND_MAX).collect()
}

const fn kind_of(channel: Channel) -> Kind {
    match channel {
        Channel::Tty => Kind::Tty,
        Channel::Exec => Kind::Exec,
        Channel::Sftp => Kind::Sftp,
    }
}
