//! The log: all records of all chains in one Merkle tree that only grows (RFC 6962), in the forms of C2SP: tiles of 256
//! hashes (tlog-tiles), and a signed note that says how large the tree is and what its root is (tlog-checkpoint).
//!
//! A leaf is the line of a record, byte for byte. Where tiles are kept is the caller's: see [`Tiles`].

mod checkpoint;
mod edge;
mod hash;
mod note;
mod path;
mod proof;
mod tree;

pub use checkpoint::{Checkpoint, NoCheckpoint};
pub use edge::{Edge, Grown};
pub use hash::{Hash, empty_root, leaf_hash, node_hash};
pub use note::{NoteError, NoteKey, NoteSigner, SignedNote};
pub use path::{NoPath, Resource, TileId, bundle, bundle_entries};
pub use proof::{NoProof, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
pub use tree::{Tiles, TreeError, root};

/// How many levels of the tree one tile has.
pub const HEIGHT: u8 = 8;
/// How many hashes a full tile has, and how many entries a full bundle.
pub const WIDTH: u64 = 1 << HEIGHT;
/// The most bytes of one entry: a bundle writes its length as two bytes.
pub const ENTRY_MAX: usize = 65_535;
