//! Reading the chain's files and checking them: from the last countersigned head on, or all of them if they are small.

use super::countersigned::mark_of;
use super::disk::{Disk, is_no_file};
use super::key::Committed;
use super::left::Left;
use super::segments::{first_of, name_of};
use super::writer::Mark;
use super::{Closed, LogError};
use base64ct::{Base64UrlUnpadded, Encoding};
use std::collections::{BTreeMap, VecDeque};
use tether_audit::{ChainError, Line, Reached, SignedHead, Verifier};

/// A chain up to this size is checked whole at each start.
const SMALL: u64 = 32 << 20;
/// How many heads are remembered.
const MARKS_MAX: usize = 1024;

/// Why a chain is not taken up.
#[derive(Debug)]
pub enum Damage {
    /// The disk: it is tried again.
    Log(LogError),
    /// What is here is not the chain that was written.
    Closed(Closed),
}

impl From<LogError> for Damage {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

/// A chain that holds.
#[derive(Debug, Default)]
pub struct Checked {
    /// Where it is.
    pub reached: Reached,
    /// Its files' lengths; the last one's without what is torn.
    pub lengths: BTreeMap<u64, u64>,
    /// What a crash cut short.
    pub torn: Vec<u8>,
    /// Its last heads.
    pub marks: VecDeque<Mark>,
    /// The last record that central has countersigned. Its signature was checked when it came.
    pub countersigned: u64,
    /// What is not over.
    pub left: Left,
}

/// Checks the files.
pub fn check(disk: &dyn Disk, start: Option<Committed>) -> Result<Checked, Damage> {
    let mut checked = Checked { lengths: lengths(disk)?, ..Checked::default() };
    let firsts: Vec<u64> = checked.lengths.keys().copied().collect();
    let from = where_to_begin(disk, &firsts, checked.lengths.values().sum())?;
    let key = start.map(|start| (start.key, start.public));
    let mut verifier = match firsts.get(from) {
        None => return Ok(Checked { reached: Reached { key, ..Reached::default() }, ..checked }),
        Some(1) => Verifier::from(Reached { key, ..Reached::default() }),
        Some(first) => Verifier::from(
            joined(disk, &firsts, from).ok_or_else(|| broken(disk, *first, &"no head in it says what came before"))?,
        ),
    };
    for first in firsts.iter().skip(from) {
        if *first != verifier.reached().number + 1 {
            return Err(broken(disk, *first, &format!("the record before it is number {}", verifier.reached().number)));
        }
        let is_last = firsts.last() == Some(first);
        checked.take(disk, *first, is_last, &mut verifier)?;
    }
    checked.reached = verifier.reached().clone();
    Ok(checked)
}

impl Checked {
    fn take(&mut self, disk: &dyn Disk, first: u64, is_last: bool, verifier: &mut Verifier) -> Result<(), Damage> {
        let bytes = read(disk, first)?;
        let mut length = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            // A power cut leaves what was not flushed cut short, or with blocks of zeros in it.
            let is_torn = !line.ends_with(b"\n") || line.contains(&0);
            if is_torn && is_last {
                break;
            }
            let text = std::str::from_utf8(line).map_err(|error| broken(disk, first, &error))?;
            match verifier.take(text.trim_end_matches('\n')).map_err(|error| broken(disk, first, &error))? {
                Line::Record { link, .. } => self.left.note(link.number, &link.event),
                Line::Head(head) => self.note(&head),
                Line::Countersigned(jws) => self.countersigned = number_of(&jws).max(self.countersigned),
            }
            length += line.len();
        }
        self.torn = bytes.get(length..).unwrap_or_default().to_vec();
        self.lengths.insert(first, length as u64);
        Ok(())
    }

    fn note(&mut self, head: &SignedHead) {
        if self.marks.len() == MARKS_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark_of(head));
    }
}

/// What has a segment's name and is no file is no chain of ours; a disk that fails is tried again.
fn lengths(disk: &dyn Disk) -> Result<BTreeMap<u64, u64>, Damage> {
    let names = disk.list().map_err(|source| LogError::disk(disk.path(""), source))?;
    let mut lengths = BTreeMap::new();
    for name in names {
        let Some(first) = first_of(&name) else { continue };
        let length = disk.open(&name).and_then(|file| file.length()).map_err(|source| match is_no_file(&source) {
            true => broken(disk, first, &source),
            false => LogError::disk(disk.path(&name), source).into(),
        });
        lengths.insert(first, length?);
    }
    Ok(lengths)
}

/// The index of the first file to check.
fn where_to_begin(disk: &dyn Disk, firsts: &[u64], bytes: u64) -> Result<usize, LogError> {
    if bytes <= SMALL {
        return Ok(0);
    }
    for first in firsts.iter().rev() {
        let bytes = read(disk, *first)?;
        let lines = bytes.split(|byte| *byte == b'\n').rev();
        let Some(number) = lines.filter_map(countersigned_number).next() else { continue };
        let mut from = firsts.partition_point(|first| *first <= number).saturating_sub(1);
        while from > 0 && joined(disk, firsts, from).is_none() {
            from -= 1;
        }
        return Ok(from);
    }
    Ok(0)
}

/// What a file says itself about what came before it.
fn joined(disk: &dyn Disk, firsts: &[u64], at: usize) -> Option<Reached> {
    let first = *firsts.get(at)?;
    let bytes = disk.read(&name_of(first)).ok()?;
    let lines = || bytes.split(|byte| *byte == b'\n');
    let head = lines().find_map(|line| serde_json::from_slice::<SignedHead>(line).ok())?.head;
    let record = lines().find(|line| line.starts_with(b"{\"hash\""));
    let hash = match record.and_then(|line| serde_json::from_slice::<serde_json::Value>(line).ok()) {
        Some(line) => line["record"]["previous"].as_str()?.to_owned(),
        None => head.hash,
    };
    let number = first.checked_sub(1)?;
    Some(Reached { number, hash, signed: 0, key: Some((head.key, head.public)), head: head.previous, head_time_us: 0 })
}

fn countersigned_number(line: &[u8]) -> Option<u64> {
    let line: serde_json::Value =
        serde_json::from_slice(line.strip_prefix(b"{\"countersigned\":")?.strip_suffix(b"}")?).ok()?;
    Some(number_of(line.as_str()?))
}

/// What a countersignature says; it was checked before it came into the chain.
fn number_of(jws: &str) -> u64 {
    let payload = jws.split('.').nth(1).and_then(|part| Base64UrlUnpadded::decode_vec(part).ok());
    let payload = payload.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    payload.and_then(|payload| payload["number"].as_u64()).unwrap_or(0)
}

fn read(disk: &dyn Disk, first: u64) -> Result<Vec<u8>, LogError> {
    let name = name_of(first);
    disk.read(&name).map_err(|source| LogError::disk(disk.path(&name), source))
}

fn broken(disk: &dyn Disk, first: u64, why: &dyn std::fmt::Display) -> Damage {
    let path = disk.path(&name_of(first));
    let why = format!(
        "{} does not hold: {why}; `tether audit verify` shows where. Keep the folder as evidence, move it away and enrol the host anew",
        path.display()
    );
    Damage::Closed(Closed { code: "audit.broken", why })
}

impl From<ChainError> for Damage {
    fn from(error: ChainError) -> Self {
        Self::Log(LogError::Event(error))
    }
}
