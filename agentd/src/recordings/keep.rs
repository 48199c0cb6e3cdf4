//! The thread that reads recordings as they grow: digests into the chain, limits, ends.

use super::progress::Progress;
use super::{Key, Open, Recordings, Removed};
use crate::clock::Moment;
use crate::host::{Host, Unfit};
use crate::log::{LogError, warn};
use crate::server::{Shared, lock};
use crate::world::process::has_ended_within;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// How often what is too old is looked for.
const SWEEP: Duration = Duration::from_secs(600);
/// How often room is made on a host that has none.
const CROWDED: Duration = Duration::from_secs(5);
/// How many pieces may wait for their record: beyond, what is recorded ends, as what cannot be recorded does not run.
const WAITING_MAX: usize = 64;
/// How many pieces one record holds.
const PIECES_MAX: usize = 64;
/// Up to that many bytes it is read again at each look.
const SHORT: u64 = 4096;
/// As good as at once.
const NOW: Duration = Duration::from_millis(1);

/// Runs for ever.
pub fn keep(host: &Shared) {
    let recordings = lock(host).recordings.clone();
    let mut keeper = Keeper { host, recordings, progress: BTreeMap::new(), idle: BTreeMap::new() };
    let mut sweep = Moment::now();
    let mut crowded = sweep;
    loop {
        let now = Moment::now();
        if now >= sweep {
            keeper.removed(keeper.recordings.sweep(), false);
            sweep = now.plus(SWEEP);
        }
        let has_room = keeper.recordings.has_room();
        if !has_room && now >= crowded {
            keeper.removed(keeper.recordings.make_room(), true);
            crowded = now.plus(CROWDED);
        }
        let next = if has_room { sweep } else { sweep.min(crowded) };
        let open = keeper.recordings.wait(next.since(now));
        keeper.progress.retain(|key, _| open.iter().any(|(other, _)| other == key));
        keeper.idle.retain(|key, _| open.iter().any(|(other, _)| other == key));
        for (key, open) in open {
            keeper.look(&key, open);
        }
    }
}

struct Keeper<'h> {
    host: &'h Shared,
    recordings: Recordings,
    progress: BTreeMap<Key, Progress>,
    /// How many bytes were counted of the short ones: their files are not held open. An agent may have as many commands
    /// that show nothing, or that it never lets begin, as it may have commands.
    idle: BTreeMap<Key, u64>,
}

impl Keeper<'_> {
    fn look(&mut self, key: &Key, mut open: Open) {
        let first = !self.progress.contains_key(key) && !self.idle.contains_key(key);
        if let Err(error) = self.prepare(key, &open) {
            self.end(key, &open, &Lost::Unreadable(error));
            return;
        }
        let Some(mut progress) = self.progress.remove(key) else { return };
        // Before it is read: what was written until it was over is there by then.
        let over = self.is_over(key, &open, &progress);
        if let Err(error) = progress.read_on() {
            self.end(key, &open, &Lost::Unreadable(error));
            return;
        }
        if over {
            progress.finish();
        }
        let grew = progress.grew(first && open.taken_up);
        let used = self.recordings.add_bytes(&key.0, grew);
        let recorded = self.record_pieces(key, &mut open, &mut progress, over);
        if over && recorded.is_ok() {
            return self.end(key, &open, &Lost::Nothing(&progress));
        }
        self.hold(key, &open, &progress, used);
        if progress.total() > SHORT {
            self.progress.insert(key.clone(), progress);
        } else {
            self.idle.insert(key.clone(), progress.total());
        }
    }

    fn prepare(&mut self, key: &Key, open: &Open) -> io::Result<()> {
        if !self.progress.contains_key(key) {
            let path = self.recordings.folder.recording(key);
            let counted = self.idle.remove(key).unwrap_or_default();
            self.progress.insert(key.clone(), Progress::open(&path, open.recorded, counted)?);
        }
        Ok(())
    }

    /// Whether nothing more can come. Who records may be slower than what is recorded: it waits for its reader.
    fn is_over(&self, key: &Key, open: &Open, progress: &Progress) -> bool {
        if open.over.as_ref().is_some_and(|over| over.unused) {
            return true;
        }
        let told = match &open.over {
            Some(over) => over.writer.as_ref().is_none_or(|process| has_ended_within(process, NOW)),
            // Nobody will tell: who began it was an earlier agentd.
            None => open.taken_up && (progress.has_ended() || !lock(self.host).lives(&key.0, open.plan.as_deref())),
        };
        told && !progress.has_writer()
    }

    /// Digests of what is whole. A recording of one piece has its digest in the end's record alone.
    fn record_pieces(&self, key: &Key, open: &mut Open, progress: &mut Progress, over: bool) -> Result<(), LogError> {
        if over && open.chunks == 0 && progress.pending.len() == 1 {
            progress.pending.clear();
        }
        while !progress.pending.is_empty() {
            let now = progress.pending.len().min(PIECES_MAX);
            let (told, rest) = progress.pending.split_at(now);
            let pieces: Vec<Value> = told
                .iter()
                .map(|piece| json!({"offset": piece.offset, "length": piece.length, "sha256": piece.sha256}))
                .collect();
            if let Err(error) = progress.sync() {
                warn(format_args!("{}: {error}", self.recordings.folder.recording(key).display()));
            }
            let about = json!({"recording": key.1, "pieces": pieces});
            // Whoever logs in meanwhile does not wait for this disk.
            let ticket =
                lock(self.host).record_of_recording("recording.chunk", open.started, open.ids.clone(), about)?;
            ticket.wait()?;
            open.recorded = told.last().map_or(open.recorded, |piece| piece.offset + piece.length);
            open.chunks += told.len() as u64;
            progress.told = open.recorded;
            progress.pending = rest.to_vec();
            self.recordings.note(key, open.recorded, open.chunks);
        }
        Ok(())
    }

    /// What exceeds a limit ends, and what is no recording any more.
    fn hold(&self, key: &Key, open: &Open, progress: &Progress, used: u64) {
        let settings = &self.recordings.settings;
        let unfit = if progress.trouble_now().is_some() || progress.pending.len() > WAITING_MAX {
            Unfit::Failed
        } else if open.plan.is_some() && progress.total() > settings.command_bytes() {
            Unfit::Limit
        } else if used > settings.session_bytes() {
            Unfit::SessionLimit
        } else {
            return;
        };
        if open.over.is_none() {
            lock(self.host).recording_unfit(&key.0, open.plan.as_deref(), unfit);
        }
    }

    /// The end goes on record. If that fails, the next round tries again.
    fn end(&self, key: &Key, open: &Open, lost: &Lost<'_>) {
        let name = &key.1;
        let mut host = lock(self.host);
        let (about, trouble) = match lost {
            Lost::Unreadable(error) => {
                (json!({"recording": name, "kind": open.kind, "regular": false}), Some(error.to_string()))
            }
            Lost::Nothing(progress) => (ended(name, open, progress), progress.trouble()),
        };
        if let Some(why) = trouble {
            host.record_gap(name, &why, open.started, open.ids.clone());
        }
        let ticket = host.record_of_recording("recording.ended", open.started, open.ids.clone(), about);
        drop(host);
        match ticket.and_then(|ticket| ticket.wait().map(|()| ticket.number())) {
            Ok(record) => self.recordings.forget(key, record),
            Err(error) => warn(format_args!("the end of recording {name} of session {}: {error}", key.0)),
        }
    }

    fn removed(&self, removed: io::Result<Vec<Removed>>, early: bool) {
        match removed {
            Ok(removed) => removed.into_iter().for_each(|removed| self.record_removal(removed, early)),
            Err(error) => warn(format_args!("old recordings cannot be removed: {error}")),
        }
    }

    fn record_removal(&self, Removed { key: (session, name), bytes, ended }: Removed, early: bool) {
        let about = match early {
            true => json!({"recording": name, "bytes": bytes, "shipped": true}),
            false => json!({"recording": name, "bytes": bytes, "days": self.recordings.settings.keep_days}),
        };
        let (ids, cause) = match ended {
            Some(ended) => (ended.ids, Some(ended.record)),
            None => (Host::ids_of_gone(&session), None),
        };
        let ticket = lock(self.host).record_of_recording("recording.removed", cause, ids, about);
        if let Err(error) = ticket.and_then(|ticket| ticket.wait()) {
            warn(error);
        }
    }
}

/// What of a recording is there to be told.
enum Lost<'p> {
    Unreadable(io::Error),
    Nothing(&'p Progress),
}

fn ended(name: &str, open: &Open, progress: &Progress) -> Value {
    if let Err(error) = progress.sync() {
        warn(format_args!("recording {name}: {error}"));
    }
    let seen = &progress.seen;
    let mut about = json!({
        "recording": name, "kind": open.kind, "bytes": progress.total(), "sha256": progress.digest(),
        "shown": seen.shown, "chunks": open.chunks, "regular": progress.has_ended(), "status": seen.status,
    });
    if let (Value::Object(about), false) = (&mut about, seen.gaps.is_empty()) {
        about.insert("gaps".to_owned(), json!(seen.gaps));
    }
    about
}
