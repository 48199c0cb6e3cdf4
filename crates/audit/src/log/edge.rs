//! Growing: the tree's right edge is all that is needed to add to it.

use super::hash::{Hash, empty_root, leaf_hash, node_hash};
use super::path::TileId;
use super::tree::{Tiles, TreeError, fold};
use super::{HEIGHT, WIDTH};
use std::collections::BTreeMap;

/// The tiles that are not full, one a level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// What has changed: tiles to be written, whole. A tile that was there before only has more at its end.
pub type Grown = BTreeMap<(u8, u64), Vec<Hash>>;

impl Edge {
    /// Of a tree of so many entries.
    pub fn of(tiles: &dyn Tiles, size: u64) -> Result<Self, TreeError> {
        let mut levels = Vec::new();
        let mut all = size;
        for level in 0.. {
            if all == 0 {
                break;
            }
            let mut hashes = Vec::new();
            if let Some(tile) = TileId::new(level, all / WIDTH, all % WIDTH) {
                hashes = tiles.tile(tile).ok_or(TreeError::Missing(tile))?;
                let width = usize::try_from(all % WIDTH).unwrap_or(usize::MAX);
                if hashes.len() < width {
                    return Err(TreeError::Missing(tile));
                }
                hashes.truncate(width);
            }
            levels.push(hashes);
            all /= WIDTH;
        }
        Ok(Self { size, levels })
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds entries.
    pub fn append<'e>(&mut self, entries: impl IntoIterator<Item = &'e [u8]>) -> Grown {
        let mut grown = Grown::new();
        for entry in entries {
            self.push(0, self.size, leaf_hash(entry), &mut grown);
            self.size += 1;
        }
        for (level, hashes) in self.levels.iter().enumerate().filter(|(_, hashes)| !hashes.is_empty()) {
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            let all = self.size >> (u32::from(level) * u32::from(HEIGHT));
            grown.insert((level, all / WIDTH), hashes.clone());
        }
        grown
    }

    /// Puts the `index`th hash of a level there. A tile that is full becomes one hash of the level above.
    fn push(&mut self, level: usize, index: u64, hash: Hash, grown: &mut Grown) {
        if self.levels.len() <= level {
            self.levels.resize(level + 1, Vec::new());
        }
        let Some(tile) = self.levels.get_mut(level) else { return };
        tile.push(hash);
        if tile.len() as u64 == WIDTH {
            let full = std::mem::take(tile);
            if let Some(above) = fold(&full) {
                grown.insert((u8::try_from(level).unwrap_or(u8::MAX), index / WIDTH), full);
                self.push(level + 1, index / WIDTH, above, grown);
            }
        }
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut root = None;
        for hashes in &self.levels {
            let mut rest = hashes.as_slice();
            // The full subtrees of a level from the right: the smallest first.
            while !rest.is_empty() {
                let width = 1 << rest.len().trailing_zeros();
                let Some((left, right)) = rest.split_at_checked(rest.len() - width) else { break };
                let Some(tree) = fold(right) else { break };
                root = Some(root.map_or(tree, |root| node_hash(&tree, &root)));
                rest = left;
            }
        }
        root.unwrap_or_else(empty_root)
    }
}
