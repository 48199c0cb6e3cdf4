//! Signed notes (C2SP signed-note): a text, an empty line, and a line for each signature. Ed25519 alone is made and
//! checked; signatures of keys that the reader does not know are passed over, as the form wants it.

use base64ct::{Base64, Encoding};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// The signature type Ed25519.
const ED25519: u8 = 1;
/// The most bytes of a note.
const NOTE_MAX: usize = 1_000_000;
/// The most signatures of a note.
const SIGNATURES_MAX: usize = 100;

/// Why a note is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Its form.
    #[error("it is no signed note")]
    Malformed,
    /// The text of a key.
    #[error("it is no key of a note: NAME+HASH+KEY")]
    Key,
    /// The key has not signed it.
    #[error("the note has no signature of the key {0:08x}")]
    Unsigned(u32),
    /// The key's signature is wrong.
    #[error("the signature of the key {0:08x} is wrong")]
    Forged(u32),
}

/// Who may sign notes: a name and a public key. As text it is `NAME+HASH+KEY`, a vkey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    public: [u8; 32],
}

/// Who signs.
pub struct NoteSigner {
    name: String,
    key: SigningKey,
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "NoteSigner({})", self.name)
    }
}

/// A note with its signatures. What it says is not to be believed before [`SignedNote::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// The text, with the newline at its end.
    pub text: String,
    /// Name, key hash, signature.
    signatures: Vec<(String, u32, Vec<u8>)>,
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('+') && name.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

fn key_hash(name: &str, public: &[u8; 32]) -> u32 {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519]).chain_update(public).finalize();
    digest.iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

impl NoteKey {
    /// None if the name is none: it has no space and no plus.
    pub fn new(name: &str, public: [u8; 32]) -> Option<Self> {
        is_name(name).then(|| Self { name: name.to_owned(), public })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What signature lines name the key by.
    pub fn hash(&self) -> u32 {
        key_hash(&self.name, &self.public)
    }
}

impl fmt::Display for NoteKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = Base64::encode_string(&[&[ED25519], self.public.as_slice()].concat());
        write!(out, "{}+{:08x}+{key}", self.name, self.hash())
    }
}

impl FromStr for NoteKey {
    type Err = NoteError;

    fn from_str(text: &str) -> Result<Self, NoteError> {
        let read = || {
            let (name, rest) = text.split_once('+')?;
            let bytes = Base64::decode_vec(rest.split_once('+')?.1).ok()?;
            let public: [u8; 32] = bytes.strip_prefix(&[ED25519])?.try_into().ok()?;
            Self::new(name, public).filter(|key| key.to_string() == text)
        };
        read().ok_or(NoteError::Key)
    }
}

impl NoteSigner {
    /// By 32 secret bytes. None if the name is none.
    pub fn new(name: &str, seed: &[u8; 32]) -> Option<Self> {
        is_name(name).then(|| Self { name: name.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// The public half.
    pub fn public(&self) -> NoteKey {
        NoteKey { name: self.name.clone(), public: self.key.verifying_key().to_bytes() }
    }

    /// The note with our signature. The text ends with a newline and has no control characters.
    pub fn sign(&self, text: &str) -> Option<String> {
        if !is_text(text) {
            return None;
        }
        let signature = self.key.sign(text.as_bytes()).to_bytes();
        let hash = self.public().hash().to_be_bytes();
        let signed = Base64::encode_string(&[hash.as_slice(), &signature].concat());
        Some(format!("{text}\n\u{2014} {} {signed}\n", self.name))
    }
}

/// The form forbids control characters but the newline.
fn is_text(text: &str) -> bool {
    text.ends_with('\n') && text.bytes().all(|byte| byte == b'\n' || (byte >= 0x20 && byte != 0x7f))
}

impl SignedNote {
    /// Reads a note.
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > NOTE_MAX || !is_text(note) {
            return Err(NoteError::Malformed);
        }
        // The text may have empty lines of its own: signatures come after the last one.
        let at = note.rfind("\n\n").ok_or(NoteError::Malformed)?;
        let (text, lines) = (note.get(..=at), note.get(at + 2..));
        let (text, lines) = text.zip(lines).ok_or(NoteError::Malformed)?;
        let signatures: Option<Vec<_>> = lines.split_terminator('\n').map(signature).collect();
        let signatures = signatures.filter(|all| (1..=SIGNATURES_MAX).contains(&all.len()));
        Ok(Self { text: text.to_owned(), signatures: signatures.ok_or(NoteError::Malformed)? })
    }

    /// The text, if the key has signed it.
    pub fn verify(&self, key: &NoteKey) -> Result<&str, NoteError> {
        let hash = key.hash();
        let mut ours = self.signatures.iter().filter(|(name, found, _)| *name == key.name && *found == hash).peekable();
        if ours.peek().is_none() {
            return Err(NoteError::Unsigned(hash));
        }
        let public = VerifyingKey::from_bytes(&key.public).map_err(|_| NoteError::Key)?;
        for (_, _, bytes) in ours {
            let signature = Signature::from_slice(bytes).map_err(|_| NoteError::Forged(hash))?;
            public.verify_strict(self.text.as_bytes(), &signature).map_err(|_| NoteError::Forged(hash))?;
        }
        Ok(&self.text)
    }
}

fn signature(line: &str) -> Option<(String, u32, Vec<u8>)> {
    let (name, text) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let bytes = Base64::decode_vec(text).ok()?;
    let (hash, signature) = bytes.split_first_chunk::<4>()?;
    let is_one = is_name(name) && !signature.is_empty() && Base64::encode_string(&bytes) == text;
    is_one.then(|| (name.to_owned(), u32::from_be_bytes(*hash), signature.to_vec()))
}
