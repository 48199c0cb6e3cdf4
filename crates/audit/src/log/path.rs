//! Names of tiles and bundles (C2SP tlog-tiles), and what a bundle holds.

use super::{ENTRY_MAX, WIDTH};
use std::fmt;
use std::str::FromStr;

/// A tile: its level, its place from the left, and how many hashes of it are meant, 1 to 256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u64,
}

/// What a log serves below its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// `checkpoint`.
    Checkpoint,
    /// `tile/L/N` or `tile/L/N.p/W`.
    Tile(TileId),
    /// `tile/entries/N` or `tile/entries/N.p/W`: the entries of the level-0 tile.
    Entries(TileId),
}

/// A text that names nothing of a log, or entries that are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no path of a log, or no bundle of entries")]
pub struct NoPath;

impl TileId {
    /// None if there is no such tile.
    pub fn new(level: u8, index: u64, width: u64) -> Option<Self> {
        (level < 64 && (1..=WIDTH).contains(&width)).then_some(Self { level, index, width })
    }

    /// Its level: 0 is over entries.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Its place from the left.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes are meant.
    pub fn width(&self) -> u64 {
        self.width
    }

    /// The index in groups of three digits, the width if the tile is not full.
    fn write_place(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.index.to_string();
        let digits = format!("{}{digits}", "0".repeat((3 - digits.len() % 3) % 3));
        let groups = digits.len() / 3;
        for group in 0..groups {
            let mark = if group + 1 == groups { "" } else { "x" };
            write!(out, "/{mark}{}", digits.get(3 * group..3 * group + 3).unwrap_or_default())?;
        }
        if self.width < WIDTH { write!(out, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "tile/{}", self.level)?;
        self.write_place(out)
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checkpoint => out.write_str("checkpoint"),
            Self::Tile(tile) => tile.fmt(out),
            Self::Entries(tile) => {
                out.write_str("tile/entries")?;
                tile.write_place(out)
            }
        }
    }
}

impl FromStr for Resource {
    type Err = NoPath;

    fn from_str(text: &str) -> Result<Self, NoPath> {
        let found = parse(text).ok_or(NoPath)?;
        // One spelling each.
        if found.to_string() == text { Ok(found) } else { Err(NoPath) }
    }
}

fn parse(text: &str) -> Option<Resource> {
    if text == "checkpoint" {
        return Some(Resource::Checkpoint);
    }
    let (level, place) = text.strip_prefix("tile/")?.split_once('/')?;
    let (place, width) = match place.split_once(".p/") {
        Some((place, width)) => (place, width.parse().ok().filter(|width| *width < WIDTH)?),
        None => (place, WIDTH),
    };
    let mut index = 0_u64;
    for group in place.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    match level {
        "entries" => Some(Resource::Entries(TileId::new(0, index, width)?)),
        level => Some(Resource::Tile(TileId::new(level.parse().ok()?, index, width)?)),
    }
}

/// A bundle of entries: before each its length as two bytes. None if one is too long.
pub fn bundle<'e>(entries: impl IntoIterator<Item = &'e [u8]>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for entry in entries {
        debug_assert!(ENTRY_MAX == usize::from(u16::MAX), "the form has two bytes");
        out.extend(u16::try_from(entry.len()).ok()?.to_be_bytes());
        out.extend(entry);
    }
    Some(out)
}

/// The entries of a bundle.
pub fn bundle_entries(mut bytes: &[u8]) -> Result<Vec<&[u8]>, NoPath> {
    let mut entries = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<2>().ok_or(NoPath)?;
        let (entry, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or(NoPath)?;
        entries.push(entry);
        bytes = rest;
        if entries.len() as u64 > WIDTH {
            return Err(NoPath);
        }
    }
    Ok(entries)
}
