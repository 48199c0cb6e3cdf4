//! Checkpoints (C2SP tlog-checkpoint): how large a log's tree is, and its root.

use super::hash::Hash;
use super::note::{NoteError, NoteKey, NoteSigner, SignedNote};
use base64ct::{Base64, Encoding};

/// What a log says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also its key's.
    pub origin: String,
    /// How many entries there are.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCheckpoint {
    /// The note.
    #[error("the checkpoint: {0}")]
    Note(#[from] NoteError),
    /// Its text.
    #[error("the checkpoint has not the form ORIGIN, SIZE, ROOT")]
    Malformed,
    /// Another log's.
    #[error("the checkpoint is of the log {found:?}, not of {wanted:?}")]
    OtherLog {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
}

impl Checkpoint {
    /// The note's text.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, Base64::encode_string(&self.root))
    }

    /// Signs it with the log's key. None if the key has another name than the log.
    pub fn sign(&self, signer: &NoteSigner) -> Option<String> {
        (signer.public().name() == self.origin).then(|| signer.sign(&self.text()))?
    }

    /// Checks a signed checkpoint of the log whose key this is.
    pub fn verify(note: &str, key: &NoteKey) -> Result<Self, NoCheckpoint> {
        let found = Self::parse(SignedNote::parse(note)?.verify(key)?)?;
        if found.origin == key.name() {
            return Ok(found);
        }
        Err(NoCheckpoint::OtherLog { found: found.origin, wanted: key.name().to_owned() })
    }

    /// Reads a text. Lines after the third are extensions, which are passed over; none may be empty.
    pub fn parse(text: &str) -> Result<Self, NoCheckpoint> {
        let read = || {
            let mut lines = text.strip_suffix('\n')?.split('\n');
            let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
            let parsed: u64 = size.parse().ok()?;
            let bytes: Hash = Base64::decode_vec(root).ok()?.try_into().ok()?;
            let one_spelling = parsed.to_string() == size && Base64::encode_string(&bytes) == root;
            let whole = !origin.is_empty() && lines.all(|line| !line.is_empty());
            (one_spelling && whole).then(|| Self { origin: origin.to_owned(), size: parsed, root: bytes })
        };
        read().ok_or(NoCheckpoint::Malformed)
    }
}
