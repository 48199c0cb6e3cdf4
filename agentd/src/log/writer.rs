//! The one thread that writes. Records that come while it writes are written together next: with many who wait, one
//! flush serves them all.

use super::disk::Disk;
use super::journal::Journal;
use super::key::KeyFile;
use super::left::Left;
use super::segments::Segments;
use super::ticket::{Fate, Ticket};
use super::{Closed, LogError, Standing, warn};
use crate::clock::wall_micros;
use crate::config::Audit;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tether_audit::{Chain, Event, HeadAt, Prepared, SignedHead};

/// How many bytes may wait for the disk.
const WAITING_MAX: usize = 8 << 20;
/// How many bytes a record may have before its place in the chain: a line of the log holds 65,535.
pub const DETAILS_MAX: usize = 60 * 1024;
/// After so many records there is a head.
const RECORDS_A_HEAD: u64 = 4096;
/// So long after the first record that none covers there is a head.
const UNSIGNED_MAX: Duration = Duration::from_secs(1);
/// Without records there is one so often.
const HEARTBEAT: Duration = Duration::from_secs(30);
/// How many heads are remembered for countersignatures; older ones are looked for on disk.
const MARKS_MAX: usize = 1024;

/// What a countersignature must agree with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub number: u64,
    pub hash: String,
    pub digest: String,
}

/// What is written at once.
#[derive(Debug, Default)]
struct Batch {
    lines: String,
    fate: Arc<Fate>,
    /// Records that nobody waits for, in words.
    unwaited: Vec<String>,
}

/// What all threads share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Something waits for the writer.
    work: Condvar,
    pub disk: Arc<dyn Disk>,
    pub torn: usize,
    /// Where durable lines are copied.
    pub journal: OnceLock<Journal>,
    /// What was not over when it was taken up.
    pub left: Left,
}

#[derive(Debug)]
pub struct State {
    chain: Chain,
    batch: Batch,
    pub closed: Option<Closed>,
    pub standing: Standing,
    pub marks: VecDeque<Mark>,
    stop: bool,
    gone: bool,
}

impl Shared {
    pub fn new(disk: Arc<dyn Disk>, chain: Chain, standing: Standing, marks: VecDeque<Mark>, torn: usize) -> Self {
        let state = State { chain, batch: Batch::default(), closed: None, standing, marks, stop: false, gone: false };
        Self {
            state: Mutex::new(state),
            work: Condvar::new(),
            disk,
            torn,
            journal: OnceLock::new(),
            left: Left::default(),
        }
    }

    /// A chain that nothing is added to.
    pub fn closed(disk: Arc<dyn Disk>, closed: Closed) -> Self {
        let nothing = tether_audit::Verified { records: 0, head: String::new() };
        let shared = Self::new(disk, Chain::after("", "", nothing), Standing::default(), VecDeque::new(), 0);
        shared.lock().closed = Some(closed);
        shared.lock().gone = true;
        shared
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn append(&self, event: &Event, unwaited: Option<String>) -> Result<Ticket, LogError> {
        let event = super::bounded::prepared(event)?;
        let mut state = self.lock();
        state.may_append()?;
        let next = state.chain.link(&event, wall_micros());
        state.chain.commit(&next);
        let number = state.chain.number();
        state.batch.lines.push_str(&next.line);
        state.batch.lines.push('\n');
        state.batch.unwaited.extend(unwaited);
        let fate = Arc::clone(&state.batch.fate);
        drop(state);
        self.work.notify_one();
        Ok(Ticket::new(number, fate))
    }

    /// Adds central's word that it has everything up to a record.
    pub fn add_countersignature(&self, line: &str, number: u64) -> Result<(), LogError> {
        let mut state = self.lock();
        state.may_append()?;
        state.batch.lines.push_str(line);
        state.batch.lines.push('\n');
        state.standing.countersigned = number;
        drop(state);
        self.work.notify_one();
        Ok(())
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.work.notify_one();
    }
}

impl State {
    fn may_append(&self) -> Result<(), LogError> {
        match &self.closed {
            // A full chain is closed to agents, not to what has to be on record about them.
            Some(closed) if closed.code != "audit.full" => return Err(LogError::Closed(closed.clone())),
            _ => {}
        }
        if self.gone || self.stop {
            return Err(LogError::Gone);
        }
        if self.batch.lines.len() > WAITING_MAX { Err(LogError::Behind) } else { Ok(()) }
    }
}

/// What the thread has for itself.
#[derive(Debug)]
pub struct Writer {
    pub shared: Arc<Shared>,
    pub segments: Segments,
    pub key: KeyFile,
    pub host: String,
    pub boot: String,
    pub settings: Audit,
    /// The chain as far as it is on stable storage.
    pub durable: Chain,
    /// Digest of the last head.
    pub head: String,
    /// A head that counts, and whose line is not in the chain yet.
    pub owed: String,
    /// The last record that a head covers.
    pub signed: u64,
    pub unsigned_since: Option<Instant>,
    pub last_head: Instant,
}

impl Writer {
    /// Writes until it is told to stop.
    pub fn run(mut self) {
        let _gone = Gone(Arc::clone(&self.shared));
        self.write_owed();
        loop {
            let (batch, stop) = self.wait();
            if let Some((batch, chain)) = batch {
                self.write(batch, chain);
                // Central may have said now that it has what takes the room: agents do not wait for the next head.
                if self.is_full() {
                    self.tidy();
                }
            }
            if stop || self.head_is_due() {
                self.sign();
            }
            if stop {
                return;
            }
        }
    }

    /// What waits, or nothing when a head is due; and whether it is the last time.
    fn wait(&self) -> (Option<(Batch, Chain)>, bool) {
        let mut state = self.shared.lock();
        loop {
            let stop = state.stop;
            if !state.batch.lines.is_empty() {
                return (Some((std::mem::take(&mut state.batch), state.chain.clone())), stop);
            }
            let left = self.until_head();
            if stop || left.is_zero() {
                return (None, stop);
            }
            let waited = self.shared.work.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn write(&mut self, batch: Batch, chain: Chain) {
        let lines = if self.owed.is_empty() { batch.lines } else { format!("{}{}", self.owed, batch.lines) };
        match self.segments.write(self.durable.number() + 1, &lines) {
            Ok(()) => {
                self.owed.clear();
                self.durable = chain;
                if self.durable.number() > self.signed {
                    self.unsigned_since.get_or_insert_with(Instant::now);
                }
                self.note_standing();
                batch.fate.tell(Ok(()));
                if let Some(journal) = self.shared.journal.get() {
                    journal.take(lines);
                }
            }
            Err(error) => self.take_back(&batch.fate, batch.unwaited, &error),
        }
    }

    /// Everything since the last durable record failed: what was written, and what followed on it meanwhile.
    fn take_back(&self, fate: &Fate, unwaited: Vec<String>, error: &LogError) {
        let mut state = self.shared.lock();
        let followed = std::mem::take(&mut state.batch);
        state.chain = self.durable.clone();
        drop(state);
        for what in unwaited.iter().chain(&followed.unwaited) {
            warn(format_args!("{what} could not be recorded: {error}"));
        }
        for fate in [fate, &followed.fate] {
            fate.tell(Err(error.clone()));
        }
    }

    fn until_head(&self) -> Duration {
        let (since, most) = match self.unsigned_since {
            Some(since) => (since.max(self.last_head), UNSIGNED_MAX),
            None => (self.last_head, HEARTBEAT),
        };
        most.saturating_sub(since.elapsed())
    }

    fn head_is_due(&self) -> bool {
        self.durable.number() - self.signed >= RECORDS_A_HEAD || self.until_head().is_zero()
    }

    /// A head over all that is durable; its key ends with it.
    fn sign(&mut self) {
        // If it fails, it is tried again after the span of a head.
        self.last_head = Instant::now();
        self.write_owed();
        if !self.owed.is_empty() {
            return;
        }
        match self.signed_head() {
            Ok(head) => {
                crash_point!(HeadKept);
                self.note_head(&head);
                self.write_owed();
                crash_point!(HeadWritten);
                if let Err(error) = self.key.evolve() {
                    warn(format_args!("the audit key that is used up cannot be overwritten: {error}"));
                }
                crash_point!(KeyEvolved);
            }
            Err(error) => warn(format_args!("no head of the audit chain can be signed: {error}")),
        }
        self.tidy();
    }

    fn signed_head(&mut self) -> Result<SignedHead, String> {
        let at = HeadAt {
            host: &self.host,
            boot: &self.boot,
            number: self.durable.number(),
            hash: self.durable.head(),
            time_us: wall_micros(),
            previous: &self.head,
        };
        let signed = self.key.signer().sign(&at).map_err(|error| error.to_string())?;
        self.owed = signed.line().map_err(|error| error.to_string())? + "\n";
        if let Err(error) = self.key.keep(&signed) {
            self.owed.clear();
            return Err(error.to_string());
        }
        Ok(signed)
    }

    fn note_head(&mut self, signed: &SignedHead) {
        self.head = signed.head.digest().unwrap_or_default();
        self.signed = signed.head.number;
        self.unsigned_since = None;
        let mut state = self.shared.lock();
        state.standing.signed = self.signed;
        if state.marks.len() == MARKS_MAX {
            state.marks.pop_front();
        }
        let (number, hash) = (self.signed, signed.head.hash.clone());
        state.marks.push_back(Mark { number, hash, digest: self.head.clone() });
    }

    fn write_owed(&mut self) {
        if self.owed.is_empty() {
            return;
        }
        match self.segments.write(self.durable.number() + 1, &self.owed) {
            Ok(()) => self.owed.clear(),
            Err(error) => warn(format_args!("a head of the audit chain waits to be written: {error}")),
        }
    }

    /// Removes what is old, and says whether there is room.
    fn tidy(&mut self) {
        let countersigned = self.shared.lock().standing.countersigned;
        let keep = Duration::from_secs(self.settings.keep_days.saturating_mul(24 * 3600));
        self.segments.remove_old(countersigned, keep, self.most());
        self.note_standing();
    }

    fn is_full(&self) -> bool {
        self.segments.bytes() >= self.most()
    }

    fn most(&self) -> u64 {
        self.settings.max_mib << 20
    }

    fn note_standing(&self) {
        let bytes = self.segments.bytes();
        let mut state = self.shared.lock();
        state.standing.records = self.durable.number();
        state.standing.bytes = bytes;
        let is_full = self.is_full();
        if is_full != state.closed.is_some() {
            let why = format!(
                "the audit chain has {} MiB, its most, and central has not countersigned what could be removed",
                self.settings.max_mib
            );
            state.closed = is_full.then_some(Closed { code: "audit.full", why });
        }
    }
}

/// Who still waits when the thread ends, however it ends, is told.
struct Gone(Arc<Shared>);

impl Drop for Gone {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.gone = true;
        std::mem::take(&mut state.batch).fate.tell(Err(LogError::Gone));
    }
}

/// For who needs the parts of an event without a chain.
pub fn spelled(event: &Event) -> Result<Prepared, LogError> {
    Prepared::new(event).map_err(|error| LogError::Event(error.into()))
}
