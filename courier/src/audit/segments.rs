//! Reading segments: files of lines, named by their first record's number, that agentd appends to.

use anyhow::{Context, Result, bail};
use rustix::fs::OFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes of a batch. Central takes more; with less nobody waits long for its store.
const BATCH: usize = 512 * 1024;
/// The most bytes of a line. Central takes less; what is longer is shown to it cut, and it says what it is.
const LINE_MAX: u64 = 70_000;
/// The most bytes of a segment: agentd begins another one at 1 GiB at the latest.
const LONGEST: u64 = 2 << 30;
/// How often a segment is tried that cannot be read, before what comes after it goes on without it. Each try is later
/// than the one before, and the last half a minute after the first.
pub const PATIENCE: u32 = 8;

/// A place in the chain: after a record, and after so many lines that follow it and are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The record; 0 at the beginning.
    pub number: u64,
    /// How many lines after it.
    pub marks: u64,
}

/// Lines to be sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// What they follow. Before the place that was asked for if the chain ends there.
    pub after: Place,
    /// Where they lead.
    pub next: Place,
    /// The lines.
    pub lines: Vec<u8>,
}

/// Where something is in the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    /// The segment, by its first record's number.
    segment: u64,
    offset: u64,
    place: Place,
}

impl Cursor {
    /// The beginning of a segment, whatever is before it.
    fn start_of(segment: u64) -> Self {
        Self { segment, offset: 0, place: Place { number: segment.saturating_sub(1), marks: 0 } }
    }

    fn is_after(&self, other: Self) -> bool {
        (self.segment, self.offset) > (other.segment, other.offset)
    }
}

/// A folder of them.
#[derive(Debug)]
pub struct Segments {
    folder: PathBuf,
    /// Where the last batch ended: the next one begins there, and nothing is read twice.
    at: Option<Cursor>,
    /// So far it is known to be signed.
    signed: Option<Cursor>,
    /// How often each could not be read since one was.
    failed: BTreeMap<u64, u32>,
    /// Those that are passed over.
    aside: BTreeSet<u64>,
}

/// Which segment could not be read.
#[derive(Debug, Clone, Copy)]
struct Unreadable(u64);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "segment {:020}.jsonl cannot be read [spool.unreadable]", self.0)
    }
}

/// An open one.
struct Reading {
    segment: u64,
    file: BufReader<File>,
}

/// One line of a file.
enum Read1 {
    /// With its newline, or cut at the most that a line may have.
    Line(Vec<u8>),
    /// It has no newline yet.
    Unfinished(Vec<u8>),
    None,
}

fn first_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".jsonl")?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Segments {
    /// Of a folder.
    pub fn new(folder: &Path) -> Self {
        let (failed, aside) = (BTreeMap::new(), BTreeSet::new());
        Self { folder: folder.to_owned(), at: None, signed: None, failed, aside }
    }

    /// What follows a place, up to the last head. If the chain ends before that place, nothing, after its end.
    pub fn next(&mut self, from: Place) -> Result<Batch> {
        self.patiently(|segments, all| segments.next_of(from, all))
    }

    /// Reads; a segment that cannot be read time and again is passed over, as if it were gone, unless it is the last one.
    fn patiently<T>(&mut self, read: impl Fn(&mut Self, &[u64]) -> Result<T>) -> Result<T> {
        loop {
            let all = self.list()?;
            let error = match read(self, &all) {
                Ok(done) => {
                    self.failed.clear();
                    return Ok(done);
                }
                Err(error) => error,
            };
            let Some(Unreadable(segment)) = error.downcast_ref().copied() else { return Err(error) };
            let tries = self.failed.entry(segment).or_default();
            *tries += 1;
            if *tries < PATIENCE || all.last() == Some(&segment) {
                return Err(error);
            }
            eprintln!("<4>tether-courier: {error:#}: it is set aside, and what comes after it goes on");
            self.aside.insert(segment);
            (self.at, self.signed) = (None, None);
        }
    }

    fn next_of(&mut self, from: Place, all: &[u64]) -> Result<Batch> {
        let begin = match self.at.filter(|at| at.place == from && all.contains(&at.segment)) {
            Some(at) => at,
            None => match self.seek(from, all)? {
                Ok(at) => at,
                Err(end) => return Ok(Batch { after: end, next: end, lines: Vec::new() }),
            },
        };
        let known = self.signed.filter(|signed| signed.is_after(begin) && self.at == Some(begin));
        self.signed = match known {
            Some(signed) => Some(signed),
            None => self.signed(begin, all)?,
        };
        let Some(signed) = self.signed else {
            self.at = Some(begin);
            return Ok(Batch { after: begin.place, next: begin.place, lines: Vec::new() });
        };
        let (batch, end) = self.collect(begin, signed, all)?;
        self.at = Some(end);
        Ok(batch)
    }

    /// What follows lines that central does not take, the first of them after `bad`: from the next signed head on.
    /// None if there is none yet.
    pub fn after_gap(&mut self, bad: Place) -> Result<Option<Batch>> {
        self.patiently(|segments, all| segments.after_gap_of(bad, all))
    }

    fn after_gap_of(&mut self, bad: Place, all: &[u64]) -> Result<Option<Batch>> {
        let found = match self.seek(bad, all)? {
            // Beyond that place no line is the bad one.
            Ok(begin) => self.next_head(begin, begin.place == bad, all)?,
            // It is not here; what is here later is.
            Err(_) => match following(all, bad.number) {
                Some(segment) => self.next_head(Cursor::start_of(segment), false, all)?,
                None => None,
            },
        };
        let Some(head) = found else { return Ok(None) };
        (self.at, self.signed) = (Some(head), None);
        let batch = self.next_of(head.place, all)?;
        Ok((!batch.lines.is_empty()).then_some(batch))
    }

    /// Where the next head begins; after the first line, if that one is bad.
    fn next_head(&self, begin: Cursor, is_bad: bool, all: &[u64]) -> Result<Option<Cursor>> {
        let (mut at, mut skips) = (begin, is_bad);
        let mut file = self.open(at)?;
        loop {
            match read_line(&mut file)? {
                Read1::Line(line) | Read1::Unfinished(line) => {
                    if let (false, Some(number)) = (std::mem::take(&mut skips), head_of(&line)) {
                        return Ok(Some(Cursor { place: at_head(at.place, number), ..at }));
                    }
                    at = after_any(at, &line);
                }
                Read1::None => {
                    let Some(next) = following(all, at.segment) else { return Ok(None) };
                    at = Cursor::start_of(next);
                    file = self.open(at)?;
                }
            }
        }
    }

    fn list(&mut self) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(&self.folder).with_context(|| format!("{}", self.folder.display()))? {
            let entry = entry?;
            let Some(first) = entry.file_name().to_str().and_then(first_of) else { continue };
            // agentd writes files. What else has such a name is nothing of it, and never opened.
            if entry.file_type().is_ok_and(|kind| !kind.is_file()) && self.aside.insert(first) {
                eprintln!(
                    "<4>tether-courier: {} is no file [spool.not_plain]: it is set aside",
                    entry.path().display()
                );
            }
            all.push(first);
        }
        self.aside.retain(|first| all.contains(first));
        self.failed.retain(|first, _| all.contains(first));
        all.retain(|first| !self.aside.contains(first));
        all.sort_unstable();
        Ok(all)
    }

    fn open(&self, cursor: Cursor) -> Result<Reading> {
        let path = self.folder.join(format!("{:020}.jsonl", cursor.segment));
        let unreadable = || Unreadable(cursor.segment);
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened =
            File::options().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(&path);
        let mut file = match opened {
            // It was retired since the folder was looked through.
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{}: {error}", path.display()),
            other => other.with_context(unreadable)?,
        };
        let about = file.metadata().with_context(unreadable)?;
        if !about.is_file() || about.len() > LONGEST {
            return Err(anyhow::anyhow!("it is no file, or longer than any segment")).with_context(unreadable);
        }
        file.seek(SeekFrom::Start(cursor.offset)).with_context(unreadable)?;
        Ok(Reading { segment: cursor.segment, file: BufReader::with_capacity(64 * 1024, file) })
    }

    /// Finds a place; else where the chain ends before it.
    fn seek(&self, from: Place, all: &[u64]) -> Result<std::result::Result<Cursor, Place>> {
        // The segment that has the record, or the first one that is there.
        let segment = all.iter().rev().find(|first| **first <= from.number).or(all.first());
        let Some(segment) = segment.copied() else { return Ok(Err(Place::default())) };
        let before = segment.saturating_sub(1);
        // Marks of a segment that is gone cannot be counted.
        let marks = if before == from.number { from.marks } else { 0 };
        let begins_here = before >= from.number && !(before == 0 && from.number == 0);
        let place = Place { number: before, marks: if begins_here { marks } else { 0 } };
        let mut at = Cursor { segment, offset: 0, place };
        if begins_here {
            return Ok(Ok(at));
        }
        let mut file = self.open(at)?;
        while at.place != from {
            match read_line(&mut file)? {
                Read1::Line(line) => at = after_any(at, &line),
                Read1::Unfinished(_) | Read1::None => match following(all, at.segment) {
                    Some(next) if next == at.place.number.saturating_add(1) => {
                        at = Cursor { segment: next, offset: 0, ..at };
                        file = self.open(at)?;
                    }
                    // Central has some of a segment that is gone: what comes after that one goes on.
                    Some(next) if at.place.number <= from.number => {
                        let begin = Cursor::start_of(next);
                        let marks = if begin.place.number == from.number { from.marks } else { 0 };
                        return Ok(Ok(Cursor { place: Place { marks, ..begin.place }, ..begin }));
                    }
                    // So many lines did not follow that record: central has some that are not here.
                    _ if at.place.number > from.number => return Ok(Err(Place { number: from.number, marks: 0 })),
                    _ => return Ok(Err(at.place)),
                },
            }
        }
        Ok(Ok(at))
    }

    /// The end of the last head that can be read from there on, or of a line that nothing can follow.
    fn signed(&self, begin: Cursor, all: &[u64]) -> Result<Option<Cursor>> {
        let (mut at, mut signed, mut read) = (begin, None, 0);
        let mut file = self.open(at)?;
        // Beyond a whole batch the next one looks.
        while signed.is_none() || read < BATCH {
            let next = following(all, at.segment);
            let line = match read_line(&mut file) {
                // What is before it goes first.
                Err(_) if signed.is_some() => return Ok(signed),
                line => line?,
            };
            match line {
                Read1::Line(line) => {
                    at = after(at, &line);
                    read += line.len();
                    // Not a countersignature: it may be seen before a power cut takes it back, with records before it.
                    if line.starts_with(b"{\"head\"") || is_cut(&line) {
                        signed = Some(at);
                    }
                    if is_cut(&line) {
                        return Ok(signed);
                    }
                }
                Read1::Unfinished(line) if next.is_some() => return Ok(Some(after(at, &line))),
                Read1::Unfinished(_) => return Ok(signed),
                Read1::None => match next {
                    Some(next) => {
                        at = Cursor { segment: next, offset: 0, ..at };
                        file = match self.open(at) {
                            Err(_) if signed.is_some() => return Ok(signed),
                            file => file?,
                        };
                    }
                    None => return Ok(signed),
                },
            }
        }
        Ok(signed)
    }

    /// As much as a batch takes.
    fn collect(&self, begin: Cursor, signed: Cursor, all: &[u64]) -> Result<(Batch, Cursor)> {
        let (mut at, mut lines, mut first) = (begin, Vec::new(), begin.place);
        let mut file = self.open(at)?;
        while signed.is_after(at) && lines.len() < BATCH {
            match read_line(&mut file)? {
                Read1::Line(line) => {
                    at = after(at, &line);
                    lines.extend(&line);
                    if is_cut(&line) {
                        lines.push(b'\n');
                        break;
                    }
                }
                Read1::Unfinished(line) => {
                    // A later segment is there, so it stays as it is: central is to see it.
                    at = after(at, &line);
                    lines.extend(&line);
                    lines.push(b'\n');
                    break;
                }
                Read1::None => {
                    let Some(next) = following(all, at.segment) else { break };
                    let place = if next == at.place.number.saturating_add(1) {
                        at.place
                    } else if lines.is_empty() {
                        // Segments are missing: central is told where these lines say that they begin.
                        first = Place { number: next.saturating_sub(1), marks: 0 };
                        first
                    } else {
                        break;
                    };
                    at = Cursor { segment: next, offset: 0, place };
                    file = self.open(at)?;
                }
            }
        }
        Ok((Batch { after: first, next: at.place, lines }, at))
    }
}

fn following(all: &[u64], segment: u64) -> Option<u64> {
    all.iter().copied().find(|first| *first > segment)
}

fn after(at: Cursor, line: &[u8]) -> Cursor {
    let Place { number, marks } = at.place;
    let is_record = line.starts_with(b"{\"hash\"");
    let next = Place { number: number.saturating_add(1), marks: 0 };
    let place = if is_record { next } else { Place { number, marks: marks + 1 } };
    Cursor { offset: at.offset + line.len() as u64, place, ..at }
}

/// The same where lines may be damaged: records and heads say themselves where they are.
fn after_any(at: Cursor, line: &[u8]) -> Cursor {
    let offset = at.offset + line.len() as u64;
    if let Some(number) = head_of(line) {
        let Place { number, marks } = at_head(at.place, number);
        return Cursor { offset, place: Place { number, marks: marks + 1 }, ..at };
    }
    let Place { number, marks } = at.place;
    let place = match record_of(line) {
        Some(number) => Place { number, marks: 0 },
        None => Place { number, marks: marks + 1 },
    };
    Cursor { offset, place, ..at }
}

/// Before a head over a record: where it was counted to be, unless something before it is damaged.
fn at_head(counted: Place, number: u64) -> Place {
    if counted.number == number { counted } else { Place { number, marks: 0 } }
}

fn record_of(line: &[u8]) -> Option<u64> {
    number_in(line, b"{\"hash\"", |line: &Numbered| line.record.as_ref())
}

fn head_of(line: &[u8]) -> Option<u64> {
    number_in(line, b"{\"head\"", |line: &Numbered| line.head.as_ref())
}

#[derive(serde::Deserialize)]
struct Numbered {
    record: Option<Number>,
    head: Option<Number>,
}

#[derive(serde::Deserialize)]
struct Number {
    number: u64,
}

fn number_in(line: &[u8], begin: &[u8], part: impl Fn(&Numbered) -> Option<&Number>) -> Option<u64> {
    let line = line.starts_with(begin).then(|| serde_json::from_slice::<Numbered>(line).ok())??;
    part(&line).map(|found| found.number)
}

/// Too long to be a line.
fn is_cut(line: &[u8]) -> bool {
    !line.ends_with(b"\n")
}

fn read_line(Reading { segment, file }: &mut Reading) -> Result<Read1> {
    let mut line = Vec::new();
    let read = file.by_ref().take(LINE_MAX).read_until(b'\n', &mut line).with_context(|| Unreadable(*segment))? as u64;
    Ok(match read {
        0 => Read1::None,
        _ if line.ends_with(b"\n") || read == LINE_MAX => Read1::Line(line),
        _ => Read1::Unfinished(line),
    })
}
