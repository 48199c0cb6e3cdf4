//! Reading a tree from its tiles.

use super::hash::{Hash, empty_root, node_hash};
use super::path::TileId;
use super::{HEIGHT, WIDTH};

/// Where tiles are. A tile may have more hashes than were asked for.
pub trait Tiles {
    /// The hashes of a tile, from its left, at least as many as its width; none if it is not there.
    fn tile(&self, tile: TileId) -> Option<Vec<Hash>>;
}

impl<F: Fn(TileId) -> Option<Vec<Hash>>> Tiles for F {
    fn tile(&self, tile: TileId) -> Option<Vec<Hash>> {
        self(tile)
    }
}

/// Why a tree cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A tile that has to be there is not, or is too short.
    #[error("the tile {0} is missing or cut short")]
    Missing(TileId),
    /// What was asked for is no part of the tree.
    #[error("a tree of {size} entries has nothing at {at}")]
    Outside {
        /// The tree.
        size: u64,
        /// What was asked for.
        at: u64,
    },
}

/// The root of the first `size` entries.
pub fn root(tiles: &dyn Tiles, size: u64) -> Result<Hash, TreeError> {
    if size == 0 { Ok(empty_root()) } else { Reader { tiles, size }.range(0, size) }
}

/// One tree of a fixed size.
pub(super) struct Reader<'t> {
    pub(super) tiles: &'t dyn Tiles,
    pub(super) size: u64,
}

impl Reader<'_> {
    /// The hash over the entries from `low` up to `high`. `low` is a multiple of the range's largest power of two.
    pub(super) fn range(&self, low: u64, high: u64) -> Result<Hash, TreeError> {
        let width = high - low;
        if width.is_power_of_two() {
            return self.node(width.trailing_zeros(), low >> width.trailing_zeros());
        }
        let middle = low + split(width);
        Ok(node_hash(&self.range(low, middle)?, &self.range(middle, high)?))
    }

    /// A full subtree: the `index`th of its level.
    fn node(&self, level: u32, index: u64) -> Result<Hash, TreeError> {
        // Its level within a tile; below it lie so many hashes of the tile's own.
        let (tile_level, inner) = (level / u32::from(HEIGHT), level % u32::from(HEIGHT));
        let first = index << inner;
        let tile_index = first / WIDTH;
        let tile = self.tile(tile_level, tile_index)?;
        let (from, count) = (first % WIDTH, 1_u64 << inner);
        let inside = usize::try_from(from).ok().zip(usize::try_from(from + count).ok());
        let hashes = inside.and_then(|(from, to)| tile.1.get(from..to)).ok_or(TreeError::Missing(tile.0))?;
        fold(hashes).ok_or(TreeError::Missing(tile.0))
    }

    fn tile(&self, level: u32, index: u64) -> Result<(TileId, Vec<Hash>), TreeError> {
        // All hashes of that level, and how many of them are in this tile.
        let all = self.size.checked_shr(level * u32::from(HEIGHT)).unwrap_or(0);
        let width = all.saturating_sub(index.saturating_mul(WIDTH)).min(WIDTH);
        let tile = TileId::new(u8::try_from(level).unwrap_or(u8::MAX), index, width)
            .ok_or(TreeError::Outside { size: self.size, at: index })?;
        let hashes = self.tiles.tile(tile).ok_or(TreeError::Missing(tile))?;
        if (hashes.len() as u64) < width { Err(TreeError::Missing(tile)) } else { Ok((tile, hashes)) }
    }
}

/// The greatest power of two below `width` (RFC 6962's k); `width` is above 1.
pub(super) fn split(width: u64) -> u64 {
    1 << (63 - (width - 1).leading_zeros())
}

/// The root over a power of two of hashes.
pub(super) fn fold(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [] => None,
        [one] => Some(*one),
        more => {
            let (left, right) = more.split_at_checked(more.len() / 2)?;
            Some(node_hash(&fold(left)?, &fold(right)?))
        }
    }
}
