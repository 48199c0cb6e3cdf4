//! The log of all records: its tree, which grows by whole checkpoints, and what is served of it.
//!
//! A checkpoint is made and kept in one act with the tiles under it, and served only from there. Records are never
//! removed, so two signed trees of one size are one tree, whenever central dies.

use super::{App, Failed, fault};
use crate::store::{Act, Hits, Search};
use std::str::FromStr;
use tether_audit::log::{Checkpoint, Edge, Hash, NoteSigner, Resource, TileId, Tiles, WIDTH, bundle, root};
use tether_oauth::{Refusal, Standard};

/// The name under which the log's name is kept.
pub const META_LOG: &str = "log_origin";
/// The name under which it is kept how many records the tiles have.
const META_TILED: &str = "log_tiled";
/// The most records that one act adds to the tree.
const STEP: usize = 4096;
/// The most records of one answer.
const HITS_MAX: usize = 1000;

/// The tiles in the store.
struct Kept<'a>(&'a dyn Act);

impl Tiles for Kept<'_> {
    fn tile(&self, tile: TileId) -> Option<Vec<Hash>> {
        let bytes = self.0.tile(tile.level(), tile.index()).ok()??;
        let (hashes, rest) = bytes.as_chunks::<32>();
        rest.is_empty().then(|| hashes.to_vec())
    }
}

fn tiled(act: &dyn Act) -> Result<u64, Failed> {
    let text = act.meta(META_TILED)?.unwrap_or_else(|| "0".to_owned());
    text.parse().map_err(|error| fault("log.tiled", error).into())
}

impl App {
    /// Brings the tree up to the records that there are, and signs it. Whether there was anything to do.
    pub fn checkpoint(&self) -> Result<bool, Failed> {
        let mut worked = false;
        while self.look(|act| Ok(act.log_end()? > tiled(act)? || self.newest(act)?.is_none()))? {
            self.act(|act| self.grow(act))?;
            worked = true;
        }
        Ok(worked)
    }

    fn grow(&self, act: &mut dyn Act) -> Result<(), Failed> {
        let size = tiled(act)?;
        let mut edge = Edge::of(&Kept(act), size).map_err(|error| fault("log.tree", error))?;
        let entries = act.entries(size, STEP)?;
        for ((level, index), hashes) in edge.append(entries.iter().map(|entry| entry.line.as_bytes())) {
            act.put_tile(level, index, hashes.as_flattened())?;
        }
        act.set_meta(META_TILED, &edge.size().to_string())?;
        if entries.len() == STEP && act.log_end()? > edge.size() {
            return Ok(());
        }
        let origin = self.origin(act)?;
        if act.checkpoint(&origin)?.is_some_and(|(size, _)| size >= edge.size()) {
            return Ok(());
        }
        let checkpoint = Checkpoint { origin: origin.clone(), size: edge.size(), root: edge.root() };
        let signed = self.note_signer(&origin).and_then(|signer| checkpoint.sign(&signer));
        let signed = signed.ok_or_else(|| Failed::from(fault("log.sign", "the log's name cannot be one")))?;
        Ok(act.put_checkpoint(&origin, edge.size(), &signed)?)
    }

    fn note_signer(&self, origin: &str) -> Option<NoteSigner> {
        self.keys.note_signer(origin)
    }

    fn origin(&self, act: &dyn Act) -> Result<String, Failed> {
        act.meta(META_LOG)?.ok_or_else(|| fault("log.origin", "the store has no name of the log").into())
    }

    fn newest(&self, act: &dyn Act) -> Result<Option<(u64, String)>, Failed> {
        Ok(act.checkpoint(&self.origin(act)?)?)
    }

    /// The newest checkpoint's root as the tiles have it: for whoever checks the store.
    pub fn check_log(&self) -> Result<Checkpoint, Failed> {
        self.look(|act| {
            let (size, text) = self.newest(act)?.ok_or_else(|| none("there is no checkpoint yet"))?;
            let origin = self.origin(act)?;
            let signer = self.note_signer(&origin).ok_or_else(|| fault("log.sign", "no name"))?;
            let found = Checkpoint::verify(&text, &signer.public()).map_err(|error| fault("log.checkpoint", error))?;
            let ours = root(&Kept(act), size).map_err(|error| fault("log.tree", error))?;
            if ours == found.root { Ok(found) } else { Err(fault("log.root", "the tiles have another root").into()) }
        })
    }

    /// What the log serves under a path.
    pub fn log_resource(&self, path: &str) -> Result<Served, Refusal> {
        let found = self.look(|act| {
            let resource = Resource::from_str(path).map_err(|_| none("the log has no such path"))?;
            let newest = self.newest(act)?.ok_or_else(|| none("there is no checkpoint yet"))?;
            match resource {
                Resource::Checkpoint => Ok(Served { text: true, bytes: newest.1.into_bytes() }),
                Resource::Tile(tile) => {
                    let bytes = act.tile(tile.level(), tile.index())?.unwrap_or_default();
                    let width = usize::try_from(tile.width()).unwrap_or(usize::MAX);
                    let bytes = bytes.get(..width.saturating_mul(32)).ok_or_else(|| none("there is no such tile"))?;
                    Ok(Served { text: false, bytes: bytes.to_vec() })
                }
                Resource::Entries(tile) => entries(act, tile, newest.0),
            }
        });
        found.map_err(plain)
    }

    /// Records that are looked for.
    pub fn search(&self, search: &Search) -> Result<Hits, Refusal> {
        self.look(|act| Ok(act.search(search, HITS_MAX)?)).map_err(plain)
    }
}

fn entries(act: &dyn Act, tile: TileId, size: u64) -> Result<Served, Failed> {
    let from = tile.index().saturating_mul(WIDTH);
    let width = usize::try_from(tile.width()).unwrap_or(usize::MAX);
    if from.saturating_add(tile.width()) > size {
        return Err(none("there are no such entries").into());
    }
    let entries = act.entries(from, width)?;
    let bytes = bundle(entries.iter().map(|entry| entry.line.as_bytes()));
    let bytes = bytes.ok_or_else(|| Failed::from(fault("log.bundle", "an entry is too long for its form")))?;
    Ok(Served { text: false, bytes })
}

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// Whether it is text.
    pub text: bool,
    /// The body.
    pub bytes: Vec<u8>,
}

fn none(why: &str) -> Refusal {
    Refusal::new(Standard::InvalidRequest, "log.none", why)
}

fn plain(failed: Failed) -> Refusal {
    match failed {
        Failed::Refused(refusal) => refusal,
        Failed::Store(error) => fault("store.failed", error),
    }
}
