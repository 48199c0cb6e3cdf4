//! Recordings of sessions' channels: one thread that takes frames from all recorders and writes them down.
//!
//! A recorder is the login shell of a channel (`confine::recorder`), with the agent's uid: it is stopped, killed and
//! lied for as the agent likes. So each waits only for itself: nothing here waits for a recorder, what is kept of one
//! is at most a frame, and what it sends is parsed as an enemy's. It cannot name a file, and cannot say what time it is.

mod pace;
mod recording;

pub use recording::Recording;

use crate::log::warn;
use crate::server::{Shared, lock};
use pace::Pace;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tether_recording::{Intake, Stream};

/// How much is read of one recorder before the others have their turn.
const TURN: usize = 256 * 1024;

/// The recorders that are connected; copies share them.
#[derive(Debug, Clone)]
pub struct Recorders {
    epoll: Arc<OwnedFd>,
    live: Arc<Mutex<Live>>,
    /// Bytes a second of each; 0: any.
    rate: u64,
}

#[derive(Debug, Default)]
struct Live {
    next: u64,
    by_number: BTreeMap<u64, Recorder>,
}

/// One connection.
#[derive(Debug)]
struct Recorder {
    recording: Recording,
    stream: OwnedFd,
    intake: Intake,
    frames: u64,
    pace: Pace,
    /// That it was too fast is on record.
    slowed: bool,
}

/// What a turn came to.
enum Turn {
    GoesOn,
    Ended,
    Lost(String),
}

impl Recorders {
    /// None yet. Each may show `rate` bytes a second; 0: any.
    pub fn new(rate: u64) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll: Arc::new(epoll), live: Arc::default(), rate })
    }

    /// A recording was begun, and its recorder told so; without a stream that did not take the answer, and nothing
    /// of its channel runs.
    pub fn take_up(&self, host: &Shared, recording: Recording, stream: Option<OwnedFd>) {
        let Some(stream) = stream else { return finish(host, &recording) };
        let mut live = self.live();
        let number = live.next;
        live.next += 1;
        let watched = epoll::add(&self.epoll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN);
        let pace = Pace::new(self.rate, Instant::now());
        let recorder = Recorder { recording, stream, intake: Intake::new(), frames: 0, pace, slowed: false };
        if let Err(errno) = watched {
            drop(live);
            return lost(host, recorder, &errno.to_string());
        }
        live.by_number.insert(number, recorder);
    }

    /// Takes what comes. Runs for ever.
    pub fn run(&self, host: &Shared) {
        let (mut buffer, mut paused) = (vec![0; TURN], BTreeSet::new());
        loop {
            let mut events = Vec::with_capacity(64);
            let timeout = self.resume(&mut paused);
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                // Without it every channel of agents waits, and then ends: closed, and said.
                Err(errno) => return warn(format_args!("recordings end: epoll: {errno}")),
            }
            for event in events {
                if let Some(until) = self.take_turn(host, event.data.u64(), &mut buffer) {
                    paused.insert((until, event.data.u64()));
                }
            }
        }
    }

    /// Lets go on whose pause is over; how long the others have to wait.
    fn resume(&self, paused: &mut BTreeSet<(Instant, u64)>) -> Option<rustix::event::Timespec> {
        while let Some((until, number)) = paused.first().copied() {
            let left = until.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                return rustix::event::Timespec::try_from(left).ok();
            }
            paused.pop_first();
            if let Some(recorder) = self.live().by_number.get(&number) {
                self.watch(recorder, number, epoll::EventFlags::IN);
            }
        }
        None
    }

    fn watch(&self, recorder: &Recorder, number: u64, what: epoll::EventFlags) {
        if let Err(errno) = epoll::modify(&self.epoll, &recorder.stream, epoll::EventData::new_u64(number), what) {
            // It then waits, and shows nothing more: closed.
            warn(format_args!("recording {}: epoll: {errno}", recorder.recording.name));
        }
    }

    /// Until when nothing more is read of it, if it was too fast. It waits with what it has to show, and with it what
    /// writes to it.
    fn take_turn(&self, host: &Shared, number: u64, buffer: &mut [u8]) -> Option<Instant> {
        // Out of the map meanwhile: what follows writes to the disk, and adding one must not wait for that.
        let mut recorder = self.live().by_number.remove(&number)?;
        let (turn, bytes) = recorder.turn(buffer);
        match turn {
            Turn::GoesOn => {
                let until = recorder.pace.spend(bytes, Instant::now());
                if until.is_some() {
                    self.watch(&recorder, number, epoll::EventFlags::empty());
                    if !std::mem::replace(&mut recorder.slowed, true) {
                        lock(host).recording_slowed(&recorder.recording.session, &recorder.recording.name, self.rate);
                    }
                }
                self.live().by_number.insert(number, recorder);
                return until;
            }
            Turn::Ended => finish(host, &recorder.recording),
            Turn::Lost(why) => lost(host, recorder, &why),
        }
        None
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// What came of it, and of how many bytes.
    fn turn(&mut self, buffer: &mut [u8]) -> (Turn, usize) {
        match recv(&self.stream, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => (Turn::Lost("it closed without an end".to_owned()), 0),
            Ok((_, count)) => (self.take(buffer.get(..count).unwrap_or_default()), count),
            Err(Errno::AGAIN | Errno::INTR) => (Turn::GoesOn, 0),
            Err(errno) => (Turn::Lost(errno.to_string()), 0),
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Turn {
        let taken = self.intake.take(bytes, |stream, data| {
            self.recording.add(stream, data);
            self.frames += 1;
        });
        let written = self.recording.write_out();
        if let Err(error) = taken {
            return Turn::Lost(error.to_string());
        }
        if let Err(error) = written {
            return Turn::Lost(format!("it cannot be written: {error}"));
        }
        // A recorder that does not take its acknowledgements is none of ours.
        match send(&self.stream, &self.frames.to_le_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(8) if self.intake.has_ended() => Turn::Ended,
            Ok(8) => Turn::GoesOn,
            // It said how it ended, and did not wait.
            _ if self.intake.has_ended() => Turn::Ended,
            _ => Turn::Lost("it does not take acknowledgements".to_owned()),
        }
    }
}

/// The session first, then the file: an end is not put off because a disk is slow.
fn lost(host: &Shared, mut recorder: Recorder, why: &str) {
    let recording = &mut recorder.recording;
    lock(host).recorder_lost(&recording.session, &recording.name, why);
    recording.add(Stream::Gap, b"the recorder is gone: what came after this was shown to nobody");
    if let Err(error) = recording.write_out() {
        warn(format_args!("recording {} of session {}: {error}", recording.name, recording.session));
    }
    finish(host, recording);
}

/// All of it is written: the rest is for who puts it on record.
fn finish(host: &Shared, recording: &Recording) {
    lock(host).recording_over(&recording.session, &recording.name);
}
