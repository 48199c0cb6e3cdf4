//! Recordings in files, held against what the chain says of them: digests of their pieces, and of all of each.

use super::check::Seen;
use super::finding::{Finding, What};
use super::source::CENTRAL;
use super::tree::{Look, well};
use crate::render::{RED, painted, printable};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tether_recording::Pieces;

/// This host's recordings.
pub const HERE: &str = "/var/lib/tether/recordings";
/// How much is read at a time.
const READ: usize = 1 << 18;

/// Whose recording, and which.
type Key = (String, String);

/// What chains say of recordings, each of its own: a host's word about another's is nothing. It grows with their number
/// and length, not with the chain's.
#[derive(Debug, Default)]
pub struct Recordings {
    folder: PathBuf,
    /// By chain.
    known: BTreeMap<String, BTreeMap<Key, Known>>,
    /// On which host central has sessions.
    hosts: BTreeMap<String, String>,
    /// What central has removed of what it had.
    gone: BTreeSet<Key>,
}

/// What is on record of one. Two copies of a chain may say different things: a file must be what each says.
#[derive(Debug, Default)]
struct Known {
    chain: String,
    started: u64,
    pieces: BTreeMap<u64, Vec<Piece>>,
    ends: Vec<End>,
    removed: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Piece {
    length: u64,
    sha256: String,
    number: u64,
}

#[derive(Debug, PartialEq, Eq)]
struct End {
    bytes: u64,
    sha256: String,
    regular: bool,
    number: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Held {
    /// Recordings that have their end on record, and are here.
    pub whole: u64,
    /// Recordings without an end on record: what is on record of them was checked.
    pub open: u64,
    /// Recordings that the host has removed, and said so.
    pub removed: u64,
    /// Files of which these chains say nothing.
    pub unknown: u64,
    /// What is wrong.
    pub findings: Vec<Wrong>,
}

/// A recording that is not what the chain says.
#[derive(Debug)]
pub struct Wrong {
    finding: Finding,
    key: Key,
    file: PathBuf,
    /// Where the first piece begins that is not what was recorded.
    offset: Option<u64>,
}

impl Recordings {
    /// Those of a folder: `SESSION/NAME.rec`.
    pub fn of(folder: &Path) -> Result<Self> {
        ensure!(folder.is_dir(), "{} is no folder of recordings", folder.display());
        Ok(Self { folder: folder.to_owned(), ..Self::default() })
    }

    /// Takes what a record says of a recording.
    pub fn take(&mut self, seen: &Seen<'_>) {
        let event = &seen.link.event;
        let text = |name: &str| event.details.get(name).and_then(Value::as_str);
        let Some(session) = event.ids.session.id() else { return };
        if let (CENTRAL, "token.issued" | "grant.sent", Some(host)) = (seen.chain, event.event.as_str(), text("host")) {
            self.hosts.insert(session.to_owned(), host.to_owned());
        }
        let Some(name) = text("recording") else { return };
        let kind = event.event.strip_prefix("recording.").unwrap_or_default();
        if !matches!(kind, "started" | "chunk" | "ended" | "removed") {
            return;
        }
        let key = (session.to_owned(), name.to_owned());
        if seen.chain == CENTRAL {
            self.gone.extend((kind == "removed").then_some(key));
            return;
        }
        let known = self.known.entry(seen.chain.to_owned()).or_default().entry(key).or_default();
        seen.chain.clone_into(&mut known.chain);
        match kind {
            "started" => known.started = seen.link.number,
            "chunk" => known.pieces(event.details.get("pieces"), seen.link.number),
            "ended" => known.end(&event.details, seen.link.number),
            // Its digests stay: there may be a copy at central, or something else in its place.
            _ => known.removed = true,
        }
    }

    /// Reads the files.
    pub fn check(&self) -> Result<Held> {
        let mut held = Held::default();
        for (key, known) in self.known.values().flatten() {
            self.one(key, known, &mut held)?;
        }
        held.unknown = self.unknown()?;
        Ok(held)
    }

    fn path(&self, (session, name): &Key) -> PathBuf {
        self.folder.join(session).join(format!("{name}.rec"))
    }

    fn one(&self, key: &Key, known: &Known, held: &mut Held) -> Result<()> {
        // A name is no path.
        if !is_name(&key.0) || !is_name(&key.1) {
            held.findings.push(known.wrong(key, PathBuf::new(), known.started, None, "it has no name of a recording"));
            return Ok(());
        }
        if let Some(host) = self.hosts.get(&key.0).filter(|host| **host != known.chain) {
            let why = format!("{} tells of it, and the session was on {host}", known.chain);
            held.findings.push(known.wrong(key, PathBuf::new(), known.number(), None, &why));
            return Ok(());
        }
        let path = self.path(key);
        let Some(mut file) = open(&path)? else {
            if known.removed || self.gone.contains(key) {
                held.removed += 1;
            } else {
                held.findings.push(known.wrong(key, path, known.number(), None, "its file is not here"));
            }
            return Ok(());
        };
        let wrong = match known.ends.as_slice() {
            [] => known.held(&mut file, None)?,
            ends => first(ends.iter().map(|end| known.held(&mut open_again(&path)?, Some(end))))?,
        };
        match wrong {
            Some((number, offset, why)) => held.findings.push(known.wrong(key, path, number, offset, &why)),
            None if known.ends.is_empty() => held.open += 1,
            None => held.whole += 1,
        }
        Ok(())
    }

    /// Files of which nothing is on record.
    fn unknown(&self) -> Result<u64> {
        let mut count = 0;
        for session in list(&self.folder)? {
            for file in list(&session)? {
                let name = |path: &Path| path.file_stem().and_then(|name| name.to_str()).map(ToOwned::to_owned);
                let is_one = file.extension().is_some_and(|ending| ending == "rec");
                let key = name(&session).zip(name(&file));
                let is_known = |key: &Key| self.known.values().any(|known| known.contains_key(key));
                count += u64::from(is_one && !key.as_ref().is_some_and(is_known));
            }
        }
        Ok(count)
    }
}

/// Number of the record, where the piece begins, and why.
type Mistake = (u64, Option<u64>, String);

fn first(all: impl Iterator<Item = Result<Option<Mistake>>>) -> Result<Option<Mistake>> {
    for one in all {
        if let Some(mistake) = one? {
            return Ok(Some(mistake));
        }
    }
    Ok(None)
}

impl Known {
    /// The record that says most of it.
    fn number(&self) -> u64 {
        self.ends.first().map_or(self.started, |end| end.number)
    }

    fn pieces(&mut self, pieces: Option<&Value>, number: u64) {
        for piece in pieces.and_then(Value::as_array).into_iter().flatten() {
            let (Some(offset), Some(length), Some(sha256)) =
                (piece["offset"].as_u64(), piece["length"].as_u64(), piece["sha256"].as_str())
            else {
                continue;
            };
            let all = self.pieces.entry(offset).or_default();
            // A piece may be on record twice, alike.
            if !all.iter().any(|piece| piece.length == length && piece.sha256 == sha256) {
                all.push(Piece { length, sha256: sha256.to_owned(), number });
            }
        }
    }

    fn end(&mut self, details: &serde_json::Map<String, Value>, number: u64) {
        let text = |name: &str| details.get(name).and_then(Value::as_str);
        // One that could not be read has neither, and a gap beside it.
        let (Some(bytes), Some(sha256)) = (details.get("bytes").and_then(Value::as_u64), text("sha256")) else {
            return;
        };
        let regular = details.get("regular").and_then(Value::as_bool).unwrap_or_default();
        if !self.ends.iter().any(|end| end.bytes == bytes && end.sha256 == sha256) {
            self.ends.push(End { bytes, sha256: sha256.to_owned(), regular, number });
        }
    }

    /// The first thing that is not as on record. What lies behind the end of one that was cut is nobody's word.
    fn held(&self, file: &mut File, end: Option<&End>) -> Result<Option<Mistake>> {
        let (mut pieces, mut found) = (Pieces::new(), None);
        let mut note = |piece: tether_recording::Piece| {
            if found.is_none() {
                found = self.differs(&piece);
            }
        };
        let most = end.map_or(u64::MAX, |end| end.bytes);
        let mut buffer = vec![0; READ];
        let mut left = file.take(most);
        loop {
            let read = left.read(&mut buffer).context("cannot read a recording")?;
            if read == 0 {
                break;
            }
            pieces.take(buffer.get(..read).unwrap_or_default(), &mut note);
        }
        let (total, digest) = (pieces.total(), pieces.digest());
        if let Some(piece) = pieces.flush() {
            note(piece);
        }
        let more = end.is_some_and(|end| end.regular) && left.into_inner().read(&mut buffer[..1])? > 0;
        if found.is_some() {
            return Ok(found);
        }
        if let Some((offset, piece)) = self.beyond(total) {
            let why = format!(
                "it ends at byte {total}, and the chain has a piece from {offset} to {}",
                offset + piece.length
            );
            return Ok(Some((piece.number, Some(*offset), why)));
        }
        Ok(end.and_then(|end| {
            let last = total.saturating_sub(1) / tether_recording::PIECE * tether_recording::PIECE;
            if total < end.bytes {
                let why = format!("it has {total} bytes, and had {} at its end: it was cut", end.bytes);
                return Some((end.number, Some(last), why));
            }
            if digest != end.sha256 {
                let why = "its bytes are not those that were recorded".to_owned();
                return Some((end.number, self.pieces.is_empty().then_some(0), why));
            }
            let why = format!("it has more than the {} bytes that it had at its end", end.bytes);
            more.then_some((end.number, Some(end.bytes), why))
        }))
    }

    /// What the file has here, and the chain otherwise.
    fn differs(&self, found: &tether_recording::Piece) -> Option<Mistake> {
        let all = self.pieces.get(&found.offset)?;
        let other = all.iter().find(|piece| piece.length != found.length || piece.sha256 != found.sha256)?;
        // A file that still grows has more than the last piece on record, never less.
        let to = found.offset + other.length;
        let why = format!("the piece from byte {} to {to} is not the one that was recorded", found.offset);
        Some((other.number, Some(found.offset), why))
    }

    /// The first piece on record that lies behind the end of the file.
    fn beyond(&self, total: u64) -> Option<(&u64, &Piece)> {
        self.pieces.range(total..).next().and_then(|(offset, all)| Some((offset, all.first()?)))
    }

    fn wrong(&self, key: &Key, file: PathBuf, number: u64, offset: Option<u64>, why: &str) -> Wrong {
        let why = format!("recording {} of session {}: {why}", key.1, key.0);
        let number = (number > 0).then_some(number);
        let finding = Finding { what: What::Recording, chain: self.chain.clone(), number, place: None, why };
        Wrong { finding, key: key.clone(), file, offset }
    }
}

impl Held {
    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// For a program.
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self.findings.iter().map(Wrong::json).collect();
        json!({
            "whole": self.whole, "open": self.open, "removed": self.removed, "unknown": self.unknown,
            "findings": findings,
        })
    }

    /// For a person.
    pub fn words(&self, look: Look) -> String {
        let mut out = String::new();
        for wrong in &self.findings {
            for line in wrong.words().lines() {
                out.push_str(&painted(&format!("✗ {line}\n"), RED, look.colour));
            }
        }
        let mark = if self.holds() { well("✓", look) } else { painted("✗", RED, look.colour) };
        let mut more = String::new();
        for (count, what) in [
            (self.open, "without an end on record, as far as they are on record"),
            (self.removed, "removed by the host, as it says"),
            (self.unknown, "of which these chains say nothing"),
        ] {
            if count > 0 {
                more.push_str(&format!("; {count} {what}"));
            }
        }
        out.push_str(&format!("{mark} {} recordings are what was recorded{more}\n", self.whole));
        out
    }
}

impl Wrong {
    fn json(&self) -> Value {
        let mut value = self.finding.json();
        value["file"] = self.file.display().to_string().into();
        value["session"] = self.key.0.clone().into();
        value["recording"] = self.key.1.clone().into();
        value["offset"] = self.offset.into();
        value
    }

    fn words(&self) -> String {
        format!("{}\n  {}", self.finding.words(), printable(&self.file.display().to_string()))
    }
}

/// A file that is one; none if there is nothing. A link, a pipe or a device is nothing that agentd has written.
fn open(path: &Path) -> Result<Option<File>> {
    let naming = || format!("cannot read {}", path.display());
    match std::fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Ok(about) if !about.is_file() => Ok(None),
        Ok(_) => File::open(path).map(Some).with_context(naming),
        Err(error) => Err(error).with_context(naming),
    }
}

fn open_again(path: &Path) -> Result<File> {
    open(path)?.with_context(|| format!("{} went away", path.display()))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

/// Whether this can be the name of a recording, or of a session.
pub fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}
