//! The key that evolves, on disk: two places for its secret, written by turns, and one for the last head.
//!
//! | bytes | what |
//! |---|---|
//! | 0–511, 512–1023 | a secret as JSON, or zeros |
//! | 1024–4095 | the last head that was signed |
//!
//! A head counts once it is here: then the secret after it is in the other place, in the same flush, and only then the
//! head's line goes into the chain and its own secret is overwritten. So no head is ever read by anybody that a power
//! cut could take back, and no secret is gone before its head is safe. Of two secrets the older one is the truth: with
//! it the younger one can be made.

use super::LogError;
use super::disk::{Access, Disk, DiskFile, replace};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io;
use tether_audit::{HeadSigner, SignedHead};

/// The file.
pub const KEY_FILE: &str = "key";
/// What is committed to when the host is enrolled.
pub const START_FILE: &str = "start.json";
const PLACE: usize = 512;
const HEAD_AT: usize = 2 * PLACE;
const LENGTH: usize = 4096;

/// Where a chain begins, for who is to check it from there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Number of the last record before; 0 at the beginning.
    pub number: u64,
    /// Its hash; empty at the beginning.
    pub hash: String,
    /// The number of the key that signs the next head.
    pub key: u64,
    /// Its public half.
    pub public: tether_audit::HeadKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    index: u64,
    seed: String,
    check: String,
}

/// The file, open.
#[derive(Debug)]
pub struct KeyFile {
    file: Box<dyn DiskFile>,
    signer: HeadSigner,
    /// Which of the two places its secret has.
    place: usize,
}

/// What was found in it.
#[derive(Debug)]
pub struct Found {
    /// The key, which may have to be evolved.
    pub key: KeyFile,
    /// The last head, whose line may be missing in the chain.
    pub head: Option<SignedHead>,
}

/// Makes the first key and says what it commits to, unless there is one: `tether enroll` sends it to central.
pub fn make_key(disk: &dyn Disk) -> Result<(), LogError> {
    let error = |source| LogError::disk(disk.path(KEY_FILE), source);
    let names = disk.list().map_err(error)?;
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(KEY_FILE) {
        // A crash may have come between the two.
        return match KeyFile::open(disk)?.filter(|found| !has(START_FILE) && found.key.signer().index() == 0) {
            Some(found) => commit(disk, found.key.signer()),
            None => Ok(()),
        };
    }
    let mut seed = [0_u8; 32];
    let filled = rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty());
    if filled.map_err(|errno| error(errno.into()))? != seed.len() {
        return Err(error(io::Error::other("the kernel gave too few random bytes")));
    }
    let signer = HeadSigner::new(0, seed);
    let mut bytes = vec![0; LENGTH];
    put(&mut bytes, 0, &spelled(&signer).map_err(error)?);
    replace(disk, KEY_FILE, Access::Root, &bytes).map_err(error)?;
    commit(disk, &signer)
}

fn commit(disk: &dyn Disk, signer: &HeadSigner) -> Result<(), LogError> {
    let error = |source| LogError::disk(disk.path(START_FILE), source);
    let start = Committed { number: 0, hash: String::new(), key: 0, public: signer.public() };
    let start = serde_json::to_vec(&start).map_err(|why| error(io::Error::other(why)))?;
    replace(disk, START_FILE, Access::All, &start).map_err(error)
}

impl KeyFile {
    /// Reads it. None if no secret is in it, or no such file is there.
    pub fn open(disk: &dyn Disk) -> Result<Option<Found>, LogError> {
        let error = |source| LogError::disk(disk.path(KEY_FILE), source);
        let bytes = match disk.read(KEY_FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(error)?,
        };
        let at = |place: usize| bytes.get(place * PLACE..(place + 1) * PLACE).and_then(read_secret);
        let older = [(0, at(0)), (1, at(1))]
            .into_iter()
            .filter_map(|(place, signer)| Some((place, signer?)))
            .min_by_key(|(_, signer)| signer.index());
        let Some((place, signer)) = older else { return Ok(None) };
        let head = bytes.get(HEAD_AT..).and_then(|bytes| serde_json::from_slice(until_zero(bytes)).ok());
        let file = disk.open(KEY_FILE).map_err(error)?;
        let head = head.filter(SignedHead::is_signed);
        Ok(Some(Found { key: Self { file, signer, place }, head }))
    }

    /// The key that signs the next head.
    pub fn signer(&self) -> &HeadSigner {
        &self.signer
    }

    /// Keeps a head that this key has signed, and the key after it.
    pub fn keep(&mut self, head: &SignedHead) -> io::Result<()> {
        let next = self.signer.next();
        let other = 1 - self.place;
        let mut bytes = vec![0; LENGTH - HEAD_AT];
        put(&mut bytes, 0, serde_json::to_string(head)?.as_bytes());
        self.file.write_at(HEAD_AT as u64, &bytes)?;
        self.write_place(other, &spelled(&next)?)?;
        self.file.sync()
    }

    /// Overwrites the secret of the head that was kept.
    pub fn evolve(&mut self) -> io::Result<()> {
        let old = self.place;
        self.signer = self.signer.next();
        self.place = 1 - old;
        self.write_place(old, &[])?;
        self.file.sync()
    }

    /// Goes on to the key of this number, as after a crash between a head and its key's end.
    pub fn evolve_to(&mut self, index: u64) -> io::Result<()> {
        while self.signer.index() < index {
            let next = spelled(&self.signer.next())?;
            self.write_place(1 - self.place, &next)?;
            self.file.sync()?;
            self.evolve()?;
        }
        // What a crash left of a younger one is made again when it is its turn.
        self.write_place(1 - self.place, &[])?;
        self.file.sync()
    }

    fn write_place(&mut self, place: usize, text: &[u8]) -> io::Result<()> {
        let mut bytes = vec![0; PLACE];
        put(&mut bytes, 0, text);
        self.file.write_at((place * PLACE) as u64, &bytes)
    }
}

fn put(bytes: &mut [u8], at: usize, text: &[u8]) {
    if let Some(room) = bytes.get_mut(at..at + text.len()) {
        room.copy_from_slice(text);
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn spelled(signer: &HeadSigner) -> io::Result<Vec<u8>> {
    let seed: String = signer.seed().iter().map(|byte| format!("{byte:02x}")).collect();
    let check = check(signer.index(), &seed);
    Ok(serde_json::to_vec(&Kept { index: signer.index(), seed, check })?)
}

fn read_secret(bytes: &[u8]) -> Option<HeadSigner> {
    let kept: Kept = serde_json::from_slice(until_zero(bytes)).ok()?;
    if check(kept.index, &kept.seed) != kept.check || kept.seed.len() != 64 {
        return None;
    }
    let mut seed = [0; 32];
    for (at, byte) in seed.iter_mut().enumerate() {
        *byte = u8::from_str_radix(kept.seed.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(HeadSigner::new(kept.index, seed))
}

/// Tells a secret that was written whole from one that was not.
fn check(index: u64, seed: &str) -> String {
    let digest = Sha256::new().chain_update(b"tether audit place v1\0").chain_update(index.to_be_bytes());
    digest.chain_update(seed).finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}
