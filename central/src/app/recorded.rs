//! Recordings as auditors see them, and how long they are kept.

use super::recordings::{RECORDS_MAX, Signed, Which, link_of};
use super::{Admin, App, Failed, fault};
use crate::audit::{self, Record};
use crate::store::{Entry, Recording};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use tether_audit::Ids;
use tether_identity::{HostId, SessionId};
use tether_oauth::{Refusal, Standard};
use tether_recording::{Told, is_name};

/// How often so many records are read for one list: a session has fewer, unless its host lies or has other settings.
const PAGES_MAX: usize = 16;
/// How many are removed by one look.
const REMOVED: usize = 100;

/// A recording, and how much of it is here.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RecordingStanding {
    /// Its name in the session.
    pub name: String,
    /// The host.
    pub host: HostId,
    /// Its kind: `tty`, `exec`, `sftp`, `sudo`, `run`.
    pub kind: Option<String>,
    /// What ran, if the chain says so.
    pub command: Option<Value>,
    /// When it began, by the host's clock, in microseconds since 1970.
    pub started_us: Option<u64>,
    /// `whole`: all of it is here. `part`: some. `awaited`: nothing yet. `differs`: what the host had was not what its
    /// chain says. `removed`: it was kept long enough. `lost`: the store has it, and its file is not here.
    pub state: &'static str,
    /// How many bytes there are, if its end is on record.
    pub bytes: Option<u64>,
    /// How many of them are here.
    pub here: u64,
    /// SHA-256 of all of it, base64url, if its end is on record.
    pub sha256: Option<String>,
    /// Whether its recorder ended it, if its end is on record.
    pub regular: Option<bool>,
}

/// A recording that is read.
#[derive(Debug)]
pub struct OpenRecording {
    /// The file. It may have more bytes than are anybody's word.
    pub file: File,
    /// So many of them are.
    pub bytes: u64,
}

/// What the chain tells of a recording.
#[derive(Debug, Default)]
struct Story {
    told: Told,
    kind: Option<String>,
    command: Option<Value>,
    started_us: Option<u64>,
}

impl Story {
    fn take(&mut self, entry: &Entry) {
        let Some(link) = link_of(entry) else { return };
        let details = &link.event.details;
        if link.event.event == "recording.started" && self.started_us.is_none() {
            self.kind = details.get("kind").and_then(Value::as_str).map(str::to_owned);
            self.command = details.get("command").cloned();
            self.started_us = Some(link.time_us);
        }
        self.told.take(&link.event.event, details);
    }
}

impl App {
    /// The recordings of a session, in the order in which they began.
    pub fn recordings_of(&self, session: &SessionId) -> Result<Vec<RecordingStanding>, Refusal> {
        self.try_recordings_of(session).map_err(|failed| match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(error) => fault("store.failed", error),
        })
    }

    fn try_recordings_of(&self, session: &SessionId) -> Result<Vec<RecordingStanding>, Failed> {
        let (host, stories, kept) = self.look(|act| {
            let Some(delegation) = act.delegation_of(session)? else {
                let why = format!("no session {session} is known");
                return Err(Refusal::new(Standard::InvalidRequest, "session.unknown", why).into());
            };
            let (mut order, mut stories, mut signed) = (Vec::new(), BTreeMap::new(), Signed::default());
            let mut from = 0;
            for _ in 0..PAGES_MAX {
                let page = act.told_of_recordings(&delegation.host, session, None, from, RECORDS_MAX)?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                for entry in page {
                    let name = link_of(&entry)
                        .and_then(|link| link.event.details.get("recording")?.as_str().map(str::to_owned))
                        .filter(|name| is_name(name));
                    if let (Some(name), true) = (name, signed.covers(act, &delegation.host, &entry)?) {
                        if !stories.contains_key(&name) {
                            order.push(name.clone());
                        }
                        stories.entry(name).or_insert_with(Story::default).take(&entry);
                    }
                }
            }
            let stories: Vec<(String, Story)> =
                order.into_iter().filter_map(|name| Some((name.clone(), stories.remove(&name)?))).collect();
            Ok((delegation.host, stories, act.recordings(session)?))
        })?;
        let standing = |(name, story): (String, Story)| {
            let kept = kept.iter().find(|kept| kept.name == name);
            self.standing_of(&host, session, name, story, kept)
        };
        Ok(stories.into_iter().map(standing).collect())
    }

    fn standing_of(
        &self,
        host: &HostId,
        session: &SessionId,
        name: String,
        story: Story,
        kept: Option<&Recording>,
    ) -> RecordingStanding {
        let there = self.shelf.length(session, &name).unwrap_or_default();
        let state = match kept {
            Some(kept) if kept.removed.is_some() => "removed",
            Some(kept) if there < kept.bytes => "lost",
            Some(kept) if kept.receipt.is_some() => "whole",
            Some(kept) if kept.aside.is_some() => "differs",
            Some(kept) if kept.bytes > 0 => "part",
            _ => "awaited",
        };
        let end = story.told.end();
        let all = end.and_then(|end| end.all.clone());
        RecordingStanding {
            host: host.clone(),
            kind: story.kind,
            command: story.command,
            started_us: story.started_us,
            state,
            bytes: all.as_ref().map(|(bytes, _)| *bytes),
            here: kept.map_or(0, |kept| kept.bytes),
            regular: end.map(|end| end.regular),
            sha256: all.map(|(_, sha256)| sha256),
            name,
        }
    }

    /// Opens a recording for whoever may audit. Who reads what is on record before a byte of it is read.
    pub fn read_recording(&self, admin: &Admin, which: &Which) -> Result<OpenRecording, Refusal> {
        let opened = self.act(|act| {
            let kept = act.recording(&which.session, &which.name)?.filter(|kept| kept.bytes > 0);
            let none = || {
                let why = format!("central has nothing of {} of session {}", which.name, which.session);
                Failed::from(Refusal::new(Standard::InvalidRequest, "recording.none", why))
            };
            let kept = kept.ok_or_else(none)?;
            let file = self.shelf.open(&which.session, &which.name).map_err(|error| {
                eprintln!("tether-central: {} of {}: {error}", which.name, which.session);
                none()
            })?;
            let ids = match act.delegation_of(&which.session)? {
                Some(delegation) => audit::ids_of(&delegation),
                None => Ids::unknown("its session is not known any more"),
            };
            let about = json!({
                "by": admin.name, "host": kept.host.as_str(), "recording": which.name, "bytes": kept.bytes,
            });
            self.write(act, &Record::done("recording.read", ids, about))?;
            Ok(OpenRecording { file, bytes: kept.bytes })
        });
        opened.map_err(|failed| match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(error) => fault("store.failed", error),
        })
    }

    /// Removes what was kept long enough. How many.
    pub fn sweep_recordings(&self, now: u64) -> Result<usize, Failed> {
        let days = self.settings.recordings.keep_days;
        let before = now.saturating_sub(days.saturating_mul(86_400));
        let mut count = 0;
        loop {
            let old = self.look(|act| Ok(act.old_recordings(before, REMOVED)?))?;
            if old.is_empty() {
                return Ok(count);
            }
            for one in old {
                // The file goes first: whatever happens then, it is done again.
                self.shelf.remove(&one.session, &one.name).map_err(|error| fault("recording.disk", error))?;
                let gone = Recording { bytes: 0, removed: Some(now), ..one.clone() };
                let total = self.act(|act| {
                    let ids = match act.delegation_of(&one.session)? {
                        Some(delegation) => audit::ids_of(&delegation),
                        None => Ids::unknown("its session is not known any more"),
                    };
                    let about = json!({
                        "host": one.host.as_str(), "recording": one.name, "bytes": one.bytes, "days": days,
                    });
                    act.put_recording(&gone)?;
                    self.write(act, &Record::done("recording.removed", ids, about))?;
                    Ok(act.recordings_use(None)?.total)
                })?;
                self.metrics.recordings_have(total);
                count += 1;
            }
        }
    }
}
