//! Proofs: that an entry is in a tree, and that a tree is the beginning of another (RFC 6962, 2.1.1 and 2.1.2; how they
//! are checked is RFC 9162's 2.1.3.2 and 2.1.4.2).

use super::hash::{Hash, node_hash};
use super::tree::{Reader, Tiles, TreeError, split};

/// A proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead from one to the other")]
pub struct NoProof;

/// That the entry at `index` is in the tree of `size` entries.
pub fn inclusion_proof(tiles: &dyn Tiles, index: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
    if index >= size {
        return Err(TreeError::Outside { size, at: index });
    }
    let tree = Reader { tiles, size };
    let (mut low, mut high, mut path) = (0, size, Vec::new());
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            path.push(tree.range(middle, high)?);
            high = middle;
        } else {
            path.push(tree.range(low, middle)?);
            low = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// That the tree of `old` entries is the beginning of that of `size`.
pub fn consistency_proof(tiles: &dyn Tiles, old: u64, size: u64) -> Result<Vec<Hash>, TreeError> {
    if old > size {
        return Err(TreeError::Outside { size, at: old });
    }
    let mut path = Vec::new();
    if old == 0 || old == size {
        return Ok(path);
    }
    let tree = Reader { tiles, size };
    let (mut low, mut high) = (0, size);
    while high != old {
        let middle = low + split(high - low);
        if old <= middle {
            path.push(tree.range(middle, high)?);
            high = middle;
        } else {
            path.push(tree.range(low, middle)?);
            low = middle;
        }
    }
    // The old tree's own last part; if that is all of it, the verifier has it as the old root.
    if low != 0 {
        path.push(tree.range(low, high)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether the proof leads from an entry's hash to the root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> Result<(), NoProof> {
    if index >= size {
        return Err(NoProof);
    }
    let (mut number, mut last, mut found) = (index, size - 1, *leaf);
    for step in path {
        if last == 0 {
            return Err(NoProof);
        }
        if number & 1 == 1 || number == last {
            found = node_hash(step, &found);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            found = node_hash(&found, step);
        }
        number >>= 1;
        last >>= 1;
    }
    if last == 0 && found == *root { Ok(()) } else { Err(NoProof) }
}

/// Whether the proof leads from the old root to the new one. Every tree begins with the empty one, without a proof.
pub fn verify_consistency(
    (old, old_root): (u64, &Hash),
    (size, root): (u64, &Hash),
    path: &[Hash],
) -> Result<(), NoProof> {
    let holds = |holds: bool| if holds { Ok(()) } else { Err(NoProof) };
    if old > size {
        return Err(NoProof);
    }
    if old == size {
        return holds(path.is_empty() && old_root == root);
    }
    if old == 0 {
        return holds(path.is_empty() && *old_root == super::hash::empty_root());
    }
    let (mut number, mut last) = (old - 1, size - 1);
    while number & 1 == 1 {
        number >>= 1;
        last >>= 1;
    }
    let mut steps = path.iter();
    let first = if old.is_power_of_two() { *old_root } else { *steps.next().ok_or(NoProof)? };
    let (mut before, mut after) = (first, first);
    for step in steps {
        if last == 0 {
            return Err(NoProof);
        }
        if number & 1 == 1 || number == last {
            before = node_hash(step, &before);
            after = node_hash(step, &after);
            while number & 1 == 0 && number != 0 {
                number >>= 1;
                last >>= 1;
            }
        } else {
            after = node_hash(&after, step);
        }
        number >>= 1;
        last >>= 1;
    }
    holds(last == 0 && before == *old_root && after == *root)
}
