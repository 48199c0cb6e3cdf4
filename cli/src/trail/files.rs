//! A chain as it lies in files: segments in their order, and their lines. Nothing is believed here: names are names of
//! files, and a line may be anything.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tether_audit::HeadKey;

/// The longest line that is read. A record is some KiB.
const LINE_MAX: u64 = 4 << 20;
/// What a host wrote before it wrote segments.
const OLD_NAME: &str = "chain.jsonl";

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line in it, from 1.
    pub line: u64,
}

/// Where a chain begins that is read: `start.json`. What was before is not here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Start {
    /// Number of the last record before; 0 if the chain is whole.
    pub number: u64,
    /// Its hash; empty if there is none.
    pub hash: String,
    /// Number of the key that signs the next head.
    pub key: u64,
    /// Its public half.
    pub public: HeadKey,
    /// Digest of the head before, where it is known.
    #[serde(default)]
    pub head: Option<String>,
}

impl Start {
    /// Reads one.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no start of a chain", path.display()))
    }
}

/// One file of a chain.
#[derive(Debug, Clone)]
pub struct Segment {
    /// The file.
    pub path: Arc<Path>,
    /// The first record that its name promises; none where the name says nothing.
    pub first: Option<u64>,
}

/// A chain in files.
#[derive(Debug, Clone)]
pub struct Files {
    /// Whose chain it must be; none if any will do.
    pub chain: Option<String>,
    /// Its files, in their order.
    pub segments: Vec<Segment>,
    /// Where it begins, and whether whoever asks has named that file, so that the folder's owner cannot have made it.
    pub start: Option<(Start, Arc<Path>)>,
    /// Whether it is to be whole: a single file may be a part.
    pub whole: bool,
    /// Which of a host's chains this is, in an export: the newest has the greatest.
    pub generation: u64,
    /// Whether its first files may have been retired: hosts do that with what central has countersigned.
    pub retires: bool,
}

impl Files {
    /// A folder of segments, or with the one file that hosts wrote before.
    pub fn folder(folder: &Path, chain: Option<String>) -> Result<Self> {
        let mut segments = segments(folder)?;
        let old = folder.join(OLD_NAME);
        if segments.is_empty() && old.is_file() {
            segments.push(Segment { path: old.into(), first: Some(1) });
        }
        ensure!(
            !segments.is_empty(),
            "{} has no segment of an audit chain (NNNNNNNNNNNNNNNNNNNN.jsonl)",
            folder.display()
        );
        let path = folder.join("start.json");
        let start = if path.is_file() { Some((Start::read(&path)?, path.into())) } else { None };
        let retires = chain.is_none();
        Ok(Self { chain, segments, start, whole: true, generation: u64::MAX, retires })
    }

    /// Whose chain its first line says it is.
    pub fn claimed(&self) -> Option<String> {
        let mut lines = Lines::open(&self.segments.first()?.path).ok()?;
        let (_, text) = lines.next().ok()??;
        let value: serde_json::Value = serde_json::from_str(text.ok()?).ok()?;
        let host = value["record"]["host"].as_str().or_else(|| value["head"]["host"].as_str());
        host.map(ToOwned::to_owned)
    }

    /// One file, which may be a part of a chain.
    pub fn single(path: &Path) -> Result<Self> {
        ensure!(path.exists(), "{} is not here", path.display());
        ensure!(path.is_file(), "{} is no file", path.display());
        let segment = Segment { path: path.into(), first: number_in(path) };
        let generation = u64::MAX;
        Ok(Self { chain: None, segments: vec![segment], start: None, whole: false, generation, retires: false })
    }
}

/// Whether a folder has any.
pub fn has_segments(folder: &Path) -> Result<bool> {
    Ok(!segments(folder)?.is_empty())
}

/// `NNNNNNNNNNNNNNNNNNNN.jsonl`, by number.
fn segments(folder: &Path) -> Result<Vec<Segment>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path: PathBuf = entry?.path();
        if let Some(first) = number_in(&path) {
            ensure!(path.is_file(), "{} is no file", path.display());
            found.push(Segment { path: path.into(), first: Some(first) });
        }
    }
    found.sort_by_key(|segment| segment.first);
    Ok(found)
}

fn number_in(path: &Path) -> Option<u64> {
    let digits = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    (digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// The lines of a file, one after another.
pub struct Lines {
    path: Arc<Path>,
    reader: BufReader<File>,
    line: u64,
    buffer: Vec<u8>,
}

/// A line, or why it is none.
pub type Text<'b> = std::result::Result<&'b str, &'static str>;

impl Lines {
    /// Opens a file.
    pub fn open(path: &Arc<Path>) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { path: path.clone(), reader: BufReader::with_capacity(1 << 16, file), line: 0, buffer: Vec::new() })
    }

    /// The next line without its end; none at the end.
    pub fn next(&mut self) -> Result<Option<(Place, Text<'_>)>> {
        self.buffer.clear();
        let read = (&mut self.reader).take(LINE_MAX).read_until(b'\n', &mut self.buffer);
        if read.with_context(|| format!("cannot read {}", self.path.display()))? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let place = Place { file: self.path.clone(), line: self.line };
        let text = match self.buffer.strip_suffix(b"\n") {
            Some(line) => std::str::from_utf8(line).map_err(|_| "it is not UTF-8"),
            None if self.buffer.len() as u64 >= LINE_MAX => Err("it is longer than any line of a chain"),
            None => Err("it has no end: it was cut within"),
        };
        Ok(Some((place, text)))
    }
}
