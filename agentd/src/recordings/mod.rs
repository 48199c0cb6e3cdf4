//! Recordings on disk: `/var/lib/tether/recordings/SESSION/NAME.rec` (docs/recording.md).
//!
//! agentd makes the file and writes its header; whoever records gets a descriptor that can only append
//! ([`Host::begin_recording`](crate::host::Host::begin_recording)). What they append is read again by one thread
//! ([`keep`]), never under the lock on [`Host`](crate::host::Host): it puts digests of the pieces into the chain,
//! holds the limits, and writes the end. `NAME.open` lies beside a recording until its end is on record, so that an
//! agentd which was restarted takes it up.
#![forbid(unsafe_code)]

mod folder;
mod keep;
mod progress;
mod settings;

pub use folder::FOLDER;
pub use keep::keep;
pub use settings::Settings;

use crate::clock::wall_micros;
use crate::log::Begun;
use folder::Folder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tether_audit::Ids;
use tether_identity::SessionId;
use tether_recording::{FRAME_HEAD, Header, Kind, Stream, is_name};
use tether_statement::Receipt;

/// How often what was appended is looked at, while anything is open.
const ROUND: Duration = Duration::from_millis(250);

/// This part of all room is made at once where there is none.
const ROOM: u64 = 16;

/// Which recording: the session and the name.
pub type Key = (SessionId, String);

/// What is to be recorded.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of what kind.
    pub kind: Kind,
    /// What runs, for the header and the record.
    pub command: Value,
    /// The terminal's columns and rows; zeros without one.
    pub size: (u16, u16),
    /// The command's plan, if it is one.
    pub plan: Option<String>,
}

/// Where a recorder writes to.
#[derive(Debug)]
pub struct Sink {
    /// The recording's name.
    pub name: String,
    /// Opened to append, and for nothing else. The header is in it.
    pub file: OwnedFd,
}

/// What is known of a recording that has no end on record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// Who it is about.
    ids: Ids,
    kind: Kind,
    /// The command's plan. A recording without one is the session's own.
    plan: Option<String>,
    /// The record of its beginning, which the others about it came of.
    #[serde(default)]
    started: Option<u64>,
    /// Up to which byte digests are on record.
    recorded: u64,
    /// How many pieces those are.
    chunks: u64,
    /// That it is over, and who may still be writing.
    #[serde(skip)]
    over: Option<Over>,
    /// Whether this agentd did not begin it: nobody will say that it is over.
    #[serde(skip)]
    taken_up: bool,
}

#[derive(Debug, Clone)]
struct Over {
    /// The process that may still be writing: it is waited for. It ends with its session at the latest.
    writer: Option<Arc<OwnedFd>>,
    /// Nothing was recorded, and nothing will be: whoever still has the file open is not waited for.
    unused: bool,
}

/// What is kept beside a recording whose end is on record, for the record of its removal.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ended {
    /// Whom it is about.
    ids: Ids,
    /// The record of its end.
    record: u64,
}

/// A recording that was let go.
#[derive(Debug)]
struct Removed {
    key: Key,
    bytes: u64,
    /// None, where nobody noted it: a power cut can take it.
    ended: Option<Ended>,
}

/// All recordings of this host. Copies share it.
#[derive(Debug, Clone)]
pub struct Recordings {
    folder: Folder,
    /// What the admin wrote down.
    pub settings: Settings,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<Key, Open>,
    /// Of each session that is not forgotten: the last numbers, and its bytes.
    sessions: BTreeMap<SessionId, Used>,
    /// Bytes of all recordings on this host.
    total: u64,
    news: bool,
}

/// In their own order: each is numbered by itself.
const KINDS: [Kind; 5] = [Kind::Tty, Kind::Exec, Kind::Sftp, Kind::Sudo, Kind::Run];

#[derive(Debug, Default, Clone, Copy)]
struct Used {
    /// By kind.
    last: [u32; KINDS.len()],
    bytes: u64,
}

impl Recordings {
    /// Opens the folder, making it if need be, and takes up what has no end on record.
    pub fn open(path: impl Into<std::path::PathBuf>, settings: Settings) -> io::Result<Self> {
        let folder = Folder::open(path.into())?;
        let mut state = State { news: true, ..State::default() };
        for session in folder.sessions()? {
            let (used, open) = folder.look(&session).unwrap_or_else(|error| {
                // Its files are never written over, and the others have nothing to do with it.
                crate::log::warn(format_args!("recordings of {session}: {error} [recording.unreadable]"));
                (Used::default(), Vec::new())
            });
            state.total += used.bytes;
            state.sessions.insert(session.clone(), used);
            let taken_up = |(name, open)| ((session.clone(), name), Open { taken_up: true, ..open });
            state.open.extend(open.into_iter().map(taken_up));
        }
        Ok(Self { folder, settings, shared: Arc::new((Mutex::new(state), Condvar::new())) })
    }

    /// Whether there is room for another recording on this host.
    pub fn has_room(&self) -> bool {
        self.state().total < self.settings.host_bytes()
    }

    /// A name that no recording of the session has or had.
    pub fn name(&self, session: &SessionId, kind: Kind) -> String {
        let mut state = self.state();
        let used = state.sessions.entry(session.clone()).or_default();
        let last = &mut used.last[kind as usize];
        *last += 1;
        format!("{}-{last}", kind.as_str())
    }

    /// Makes the file with its header. Nobody writes to it before its beginning is on record.
    pub fn begin(&self, session: &SessionId, name: &str, host: &str, ids: Ids, wanted: &Wanted) -> io::Result<OwnedFd> {
        let header = Header {
            name: name.to_owned(),
            session: session.to_string(),
            host: host.to_owned(),
            kind: wanted.kind,
            command: wanted.command.clone(),
            started_us: wall_micros(),
            columns: wanted.size.0,
            rows: wanted.size.1,
        };
        let key = (session.clone(), name.to_owned());
        let (kind, plan) = (wanted.kind, wanted.plan.clone());
        let open = Open { ids, kind, plan, started: None, recorded: 0, chunks: 0, over: None, taken_up: false };
        self.folder.mark(&key, &open)?;
        let file = self.folder.create(&key, &header.encode()?).inspect_err(|_| self.folder.unmark(&key))?;
        self.state().open.insert(key, open);
        self.wake();
        Ok(file)
    }

    /// Its beginning is on record, as this number.
    pub fn started(&self, session: &SessionId, name: &str, record: u64) {
        if let Some(open) = self.state().open.get_mut(&(session.clone(), name.to_owned())) {
            open.started = Some(record);
        }
    }

    /// What begins was not put on record: nothing of it stays.
    pub fn undo(&self, session: &SessionId, name: &str) {
        let key = (session.clone(), name.to_owned());
        self.state().open.remove(&key);
        self.folder.remove(&key);
    }

    /// What was recorded is over. `writer`: a process that may still be writing what it had read by then.
    pub fn ended(&self, session: &SessionId, name: &str, writer: Option<OwnedFd>) {
        let writer = writer.map(Arc::new);
        if let Some(open) = self.state().open.get_mut(&(session.clone(), name.to_owned())) {
            open.over.get_or_insert(Over { writer, unused: false });
        }
        self.wake();
    }

    /// What was to be recorded never began. An agent can stop its sudo for ever: nothing of ours is held for it.
    pub fn never_began(&self, session: &SessionId, name: &str) {
        if let Some(open) = self.state().open.get_mut(&(session.clone(), name.to_owned())) {
            open.over = Some(Over { writer: None, unused: true });
        }
        self.wake();
    }

    /// One that has no end on record, and of which nothing else is known any more: a power cut took its mark. Its end is
    /// told. Whether that is news.
    pub fn take_up(&self, session: &SessionId, name: &str, begun: Begun) -> bool {
        let of = name.rsplit_once('-').map(|(of, _)| of);
        let Some(kind) = KINDS.into_iter().find(|kind| of == Some(kind.as_str())) else { return false };
        let over = Some(Over { writer: None, unused: false });
        let mut state = self.state();
        match state.open.entry((session.clone(), name.to_owned())) {
            Entry::Occupied(mut known) => {
                known.get_mut().started = Some(begun.record);
                false
            }
            Entry::Vacant(place) => {
                let (ids, started) = (begun.ids, Some(begun.record));
                let of_it = Open { ids, kind, plan: None, started, recorded: 0, chunks: 0, over, taken_up: true };
                place.insert(of_it);
                state.news = true;
                true
            }
        }
    }

    /// Those of channels that an earlier agentd was writing.
    pub fn left_by_channels(&self) -> Vec<Key> {
        let is_left = |open: &Open| open.taken_up && open.plan.is_none() && open.over.is_none();
        self.state().open.iter().filter(|(_, open)| is_left(open)).map(|(key, _)| key.clone()).collect()
    }

    /// All of a session is over.
    pub fn session_ended(&self, session: &SessionId) {
        for ((of, _), open) in &mut self.state().open {
            if of == session {
                open.over.get_or_insert(Over { writer: None, unused: false });
            }
        }
        self.wake();
    }

    /// Whether the last frame in the file is an end with this status.
    pub fn ends_with_status(&self, session: &SessionId, name: &str, status: i32) -> bool {
        let tail = self.folder.tail(&(session.clone(), name.to_owned()), FRAME_HEAD + 4);
        let tail = tail.unwrap_or_default();
        let kind = tail.get(8).is_some_and(|kind| *kind == Stream::End as u8);
        kind && tail.get(FRAME_HEAD..).is_some_and(|bytes| bytes == status.to_le_bytes())
    }

    /// Notes how far digests are on record.
    fn note(&self, key: &Key, recorded: u64, chunks: u64) {
        let mut state = self.state();
        let Some(open) = state.open.get_mut(key) else { return };
        (open.recorded, open.chunks) = (recorded, chunks);
        let open = open.clone();
        drop(state);
        // Without it an agentd that is started anew puts some digests on record a second time.
        if let Err(error) = self.folder.mark(key, &open) {
            crate::log::warn(format_args!("recording {}: {error}", key.1));
        }
    }

    /// Its end is on record, as this number.
    fn forget(&self, key: &Key, record: u64) {
        if let Some(open) = self.state().open.remove(key) {
            self.folder.note_ended(key, &Ended { ids: open.ids, record });
        }
        self.folder.unmark(key);
    }

    /// Central has one. Nothing is noted of one that is not here any more, or that goes on.
    pub fn shipped(&self, receipt: &Receipt, text: &str) -> io::Result<()> {
        let key = (receipt.session.clone(), receipt.recording.clone());
        if !is_name(&key.1) || self.state().open.contains_key(&key) {
            let why = format!("{} of {} has no end yet, and is not whole anywhere", key.1, key.0);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        self.folder.note_shipped(&key, receipt.bytes, text)?;
        if !self.has_room() {
            // There may be some now.
            self.wake();
        }
        Ok(())
    }

    /// Removes what is too old.
    fn sweep(&self) -> io::Result<Vec<Removed>> {
        let removed = self.folder.sweep(self.settings.kept(), self.folder.ships())?;
        self.uncount(&removed);
        Ok(removed)
    }

    /// On a host that is full, what central has goes before its time, as segments of the chain do: else agents would be
    /// shut out for weeks after central was away for hours.
    fn make_room(&self) -> io::Result<Vec<Removed>> {
        if self.has_room() || !self.folder.ships() {
            return Ok(Vec::new());
        }
        let most = self.settings.host_bytes();
        // Some more than is needed now, not each time a little.
        let removed = self.folder.make_room(self.state().total.saturating_sub(most - most / ROOM))?;
        self.uncount(&removed);
        Ok(removed)
    }

    fn uncount(&self, removed: &[Removed]) {
        let mut state = self.state();
        for Removed { key: (session, _), bytes, .. } in removed {
            state.total = state.total.saturating_sub(*bytes);
            if let Some(used) = state.sessions.get_mut(session) {
                used.bytes = used.bytes.saturating_sub(*bytes);
            }
        }
    }

    /// Counts bytes; how many a session's recordings have together.
    fn add_bytes(&self, session: &SessionId, more: u64) -> u64 {
        let mut state = self.state();
        state.total += more;
        let used = state.sessions.entry(session.clone()).or_default();
        used.bytes += more;
        used.bytes
    }

    fn wake(&self) {
        self.state().news = true;
        self.shared.1.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for news; while something is open, no longer than a round. What is open then.
    fn wait(&self, idle: Duration) -> Vec<(Key, Open)> {
        let state = self.state();
        let most = if state.open.is_empty() { idle } else { ROUND };
        let waited = self.shared.1.wait_timeout_while(state, most, |state| !state.news);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.news = false;
        state.open.iter().map(|(key, open)| (key.clone(), open.clone())).collect()
    }
}

#[cfg(test)]
mod tests;
