//! Digests of a recording in pieces: what stands in the audit chain.

use base64ct::{Base64UrlUnpadded, Encoding};
use sha2::{Digest, Sha256};

/// The length of a piece in bytes; the last one of a recording, and of a flush, is shorter.
pub const PIECE: u64 = 1024 * 1024;

/// A piece of a recording's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub length: u64,
    /// SHA-256 of its bytes, base64url.
    pub sha256: String,
}

/// Cuts the bytes of a file into pieces, and knows the digest of all of it.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    all: Sha256,
    piece: Sha256,
    offset: u64,
    length: u64,
}

impl Pieces {
    /// At the beginning of a file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes; gives each piece that is whole now.
    pub fn take(&mut self, mut bytes: &[u8], mut each: impl FnMut(Piece)) {
        self.all.update(bytes);
        while !bytes.is_empty() {
            let room = usize::try_from(PIECE - self.length).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.piece.update(now);
            self.length += now.len() as u64;
            bytes = later;
            if self.length == PIECE {
                each(self.cut());
            }
        }
    }

    /// What was taken since the last piece, as a piece: at a flush and at the end. None if there is nothing.
    pub fn flush(&mut self) -> Option<Piece> {
        (self.length > 0).then(|| self.cut())
    }

    /// How many bytes were taken.
    pub fn total(&self) -> u64 {
        self.offset + self.length
    }

    /// SHA-256 of all bytes so far, base64url.
    pub fn digest(&self) -> String {
        Base64UrlUnpadded::encode_string(&self.all.clone().finalize())
    }

    fn cut(&mut self) -> Piece {
        let sha256 = Base64UrlUnpadded::encode_string(&std::mem::take(&mut self.piece).finalize());
        let piece = Piece { offset: self.offset, length: self.length, sha256 };
        self.offset += self.length;
        self.length = 0;
        piece
    }
}
