//! One recording as far as it was read: digests, frames, what is wrong with it.

use crate::world::sys::has_writer;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tether_recording::{Broken, Piece, Pieces, Reader, Stream};

/// How much is read at a time.
const STEP: usize = 1 << 20;

/// What was read of a file so far.
#[derive(Debug)]
pub(super) struct Progress {
    file: File,
    pieces: Pieces,
    reader: Reader,
    /// Pieces whose digests are not on record.
    pub pending: Vec<Piece>,
    /// What the frames say.
    pub seen: Seen,
    /// Where it stops being a recording.
    pub broken: Option<Broken>,
    /// Whether it became shorter than it was.
    pub shrank: bool,
    /// Up to which byte digests are on record.
    pub told: u64,
    /// Up to which byte [`Progress::grew`] counted.
    counted: u64,
}

/// What the frames say.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Bytes that were shown.
    pub shown: u64,
    /// Gaps that the recorder told of.
    pub gaps: Vec<String>,
    /// The status in the end's frame.
    pub status: Option<i32>,
}

impl Progress {
    /// At the beginning of a file of which `recorded` bytes have their digests on record, and `counted` were counted.
    pub fn open(path: &Path, recorded: u64, counted: u64) -> io::Result<Self> {
        let file = File::open(path)?;
        let (pieces, reader) = (Pieces::new(), Reader::new());
        let (pending, seen) = (Vec::new(), Seen::default());
        Ok(Self { file, pieces, reader, pending, seen, broken: None, shrank: false, told: recorded, counted })
    }

    /// Reads what was appended since; of a file that grows fast not more than there was at first.
    pub fn read_on(&mut self) -> io::Result<()> {
        let length = self.file.metadata()?.len();
        self.shrank |= length < self.pieces.total().max(self.counted);
        let mut buffer = Vec::new();
        while self.pieces.total() < length {
            buffer.resize(STEP, 0);
            let count = self.file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            self.take(buffer.get(..count).unwrap_or_default());
        }
        Ok(())
    }

    /// How many bytes more there are than when this was asked last; of what was `known` before, none.
    pub fn grew(&mut self, known: bool) -> u64 {
        let before = if known { self.total() } else { self.counted.min(self.total()) };
        self.counted = self.total();
        self.counted - before
    }

    fn take(&mut self, bytes: &[u8]) {
        let (told, pending) = (self.told, &mut self.pending);
        self.pieces.take(bytes, |piece| pending.extend((piece.offset >= told).then_some(piece)));
        if self.broken.is_some() {
            return;
        }
        let seen = &mut self.seen;
        self.broken = self
            .reader
            .take(bytes, |frame| match frame.stream {
                Stream::Output | Stream::Error => seen.shown += frame.data.len() as u64,
                Stream::Gap if seen.gaps.len() < 8 => seen.gaps.push(String::from_utf8_lossy(frame.data).into_owned()),
                Stream::End => seen.status = frame.status(),
                Stream::Resize | Stream::Gap => {}
            })
            .err();
    }

    /// The last piece, once nothing more comes.
    pub fn finish(&mut self) {
        let told = self.told;
        self.pending.extend(self.pieces.flush().filter(|piece| piece.offset >= told));
    }

    /// Whether somebody can still write to it.
    pub fn has_writer(&self) -> bool {
        has_writer(&self.file)
    }

    /// Puts what was read on stable storage: digests of it go on record next.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// How many bytes were read.
    pub fn total(&self) -> u64 {
        self.pieces.total()
    }

    /// SHA-256 of them.
    pub fn digest(&self) -> String {
        self.pieces.digest()
    }

    /// Whether its recorder ended it.
    pub fn has_ended(&self) -> bool {
        self.reader.has_ended() && self.broken.is_none()
    }

    /// What is missing or wrong by now, in words.
    pub fn trouble_now(&self) -> Option<String> {
        let shrank = self.shrank.then(|| "it became shorter than it was".to_owned());
        shrank.or_else(|| self.broken.as_ref().map(ToString::to_string))
    }

    /// The same, once nothing more comes.
    pub fn trouble(&self) -> Option<String> {
        let torn =
            || (self.reader.torn() > 0).then(|| format!("its last {} bytes are half a frame", self.reader.torn()));
        self.trouble_now().or_else(torn)
    }
}
