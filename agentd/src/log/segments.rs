//! The chain's files: `NNNNNNNNNNNNNNNNNNNN.jsonl`, by the number of the first record that each holds.

use super::disk::{Access, Disk, DiskFile};
use super::{LogError, warn};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one is written to.
const SPAN: Duration = Duration::from_secs(24 * 3600);

/// The name of the one that begins with this record.
pub fn name_of(first: u64) -> String {
    format!("{first:020}.jsonl")
}

/// The first record of the one of this name.
pub fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    let first = digits.parse().ok()?;
    (name_of(first) == name).then_some(first)
}

/// All files of a chain, and the one that is written to.
#[derive(Debug)]
pub struct Segments {
    disk: Arc<dyn Disk>,
    /// Their lengths, by their first records.
    lengths: BTreeMap<u64, u64>,
    open: Option<Open>,
    longest: u64,
}

#[derive(Debug)]
struct Open {
    first: u64,
    file: Box<dyn DiskFile>,
    since: Instant,
    /// Something of a write that failed may stand after its end.
    unclean: bool,
}

impl Segments {
    /// Those on disk. The last is written on; what stands after `length` in it is cut.
    pub fn take_up(disk: Arc<dyn Disk>, lengths: BTreeMap<u64, u64>, longest: u64) -> Result<Self, LogError> {
        let mut segments = Self { disk, lengths, open: None, longest };
        let Some((first, length)) = segments.lengths.last_key_value().map(|(first, length)| (*first, *length)) else {
            return Ok(segments);
        };
        let name = name_of(first);
        let error = |source| LogError::disk(segments.disk.path(&name), source);
        let mut file = segments.disk.open(&name).map_err(error)?;
        let unclean = file.length().map_err(error)? != length;
        if unclean {
            file.cut(length).and_then(|()| file.sync()).map_err(error)?;
        }
        let age = segments.disk.age(&name).unwrap_or_default();
        let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        segments.open = Some(Open { first, file, since, unclean: false });
        Ok(segments)
    }

    /// How many bytes they have.
    pub fn bytes(&self) -> u64 {
        self.lengths.values().sum()
    }

    /// Adds text, whose first record will be `next`, and waits for the disk.
    pub fn write(&mut self, next: u64, text: &str) -> Result<(), LogError> {
        let error = |segments: &Self, source| {
            let first = segments.open.as_ref().map_or(next, |open| open.first);
            LogError::disk(segments.disk.path(&name_of(first)), source)
        };
        self.begin_anew_if_due(next).map_err(|source| error(self, source))?;
        let (Some(open), Some(length)) = (&mut self.open, self.lengths.last_entry()) else {
            return Err(error(self, io::Error::other("no segment is open")));
        };
        let written = open.write(*length.get(), text.as_bytes());
        if written.is_ok() {
            *length.into_mut() += text.len() as u64;
        }
        written.map_err(|source| error(self, source))
    }

    fn begin_anew_if_due(&mut self, next: u64) -> io::Result<()> {
        let is_due = match (&self.open, self.lengths.last_key_value()) {
            (Some(open), Some((_, length))) => *length >= self.longest || (*length > 0 && open.since.elapsed() >= SPAN),
            _ => true,
        };
        // One that has lines and no record yet would have the next one's name.
        if !is_due || self.lengths.contains_key(&next) {
            return Ok(());
        }
        let name = name_of(next);
        let file = match self.disk.create(&name, Access::Courier) {
            // A power cut forgot what was in it, or a start failed after it was made.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk.open(&name)?,
            other => other?,
        };
        crash_point!(SegmentMade);
        file.sync().and_then(|()| self.disk.sync())?;
        self.lengths.insert(next, 0);
        self.open = Some(Open { first: next, file, since: Instant::now(), unclean: true });
        Ok(())
    }

    /// Removes those that central has countersigned whole: what is older than `keep`, and more while there are more
    /// than `most` bytes.
    pub fn remove_old(&mut self, countersigned: u64, keep: Duration, most: u64) {
        while let Some((first, next)) = self.oldest_two() {
            // A countersignature of its last record may stand in the next one: that has to be there.
            if next == 0 || next - 1 > countersigned {
                return;
            }
            let name = name_of(first);
            let is_old = self.disk.age(&name).is_ok_and(|age| age >= keep);
            if !is_old && self.bytes() <= most {
                return;
            }
            if let Err(error) = self.disk.remove(&name) {
                return warn(format_args!("{} cannot be removed: {error}", self.disk.path(&name).display()));
            }
            self.lengths.remove(&first);
        }
    }

    fn oldest_two(&self) -> Option<(u64, u64)> {
        let mut firsts = self.lengths.keys();
        Some((*firsts.next()?, *firsts.next()?))
    }
}

impl Open {
    fn write(&mut self, length: u64, bytes: &[u8]) -> io::Result<()> {
        if self.unclean {
            self.file.cut(length)?;
            self.unclean = false;
        }
        let written = self.file.write_at(length, bytes).and_then(|()| {
            crash_point!(ChainWritten);
            self.file.sync()
        });
        if written.is_err() {
            // Half a line, or a whole one that may not be on the disk, must not stay: the next would follow it.
            self.unclean = self.file.cut(length).is_err();
        }
        written
    }
}
