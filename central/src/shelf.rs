//! Where recordings' files are: `SESSION/NAME.rec`, beside the store. A file may have more than the store says that there
//! is, when central died in between: that was acknowledged to nobody, and is written over.

use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tether_identity::SessionId;
use tether_recording::{Pieces, is_name};

/// The folder's name, in central's.
pub const FOLDER: &str = "recordings";
/// What did not agree with the chain, within it. No session is named so: it is too short.
const ASIDE: &str = "aside";

/// The folder.
#[derive(Debug, Clone)]
pub struct Shelf(PathBuf);

impl Shelf {
    /// In a folder, which is made when the first recording comes.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Where a recording is. A name is no path.
    pub fn path(&self, session: &SessionId, name: &str) -> io::Result<PathBuf> {
        if !is_name(name) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(self.0.join(session.as_str()).join(format!("{name}.rec")))
    }

    /// How many bytes its file has; none if there is no file.
    pub fn length(&self, session: &SessionId, name: &str) -> io::Result<u64> {
        match fs::metadata(self.path(session, name)?) {
            Ok(about) => Ok(about.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Puts bytes there. When this returns they are on stable storage, and so is the file's name.
    pub fn put(&self, session: &SessionId, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(session, name)?;
        let folder = self.0.join(session.as_str());
        if offset == 0 {
            make(&self.0)?;
            make(&folder)?;
        }
        let file = File::options().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        // What a central that died had begun.
        file.set_len(offset)?;
        file.write_all_at(bytes, offset)?;
        file.sync_all()?;
        // The name may be older than this file's first bytes, and not flushed for all that.
        if offset == 0 { flush(&folder) } else { Ok(()) }
    }

    /// The file, to be read.
    pub fn open(&self, session: &SessionId, name: &str) -> io::Result<File> {
        File::open(self.path(session, name)?)
    }

    /// SHA-256 of its first bytes, base64url.
    pub fn digest(&self, session: &SessionId, name: &str, bytes: u64) -> io::Result<String> {
        let (mut all, mut buffer) = (Pieces::new(), vec![0; 256 * 1024]);
        let mut file = self.open(session, name)?.take(bytes);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Ok(all.digest());
            }
            all.take(buffer.get(..count).unwrap_or_default(), |_| ());
        }
    }

    /// Keeps bytes that did not agree with the chain. The file's name within the folder.
    pub fn put_aside(&self, session: &SessionId, name: &str, offset: u64, bytes: &[u8]) -> io::Result<String> {
        let file = format!("{ASIDE}/{session}-{name}-{offset}");
        make(&self.0)?;
        make(&self.0.join(ASIDE))?;
        let path = self.0.join(&file);
        let opened = File::options().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        opened.write_all_at(bytes, 0)?;
        opened.sync_all()?;
        flush(&self.0.join(ASIDE))?;
        Ok(file)
    }

    /// Removes it, and its folder if that has no other.
    pub fn remove(&self, session: &SessionId, name: &str) -> io::Result<()> {
        match fs::remove_file(self.path(session, name)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let folder = self.0.join(session.as_str());
        match fs::remove_dir(&folder) {
            Ok(()) => flush(&self.0),
            Err(_) if folder.is_dir() => flush(&folder),
            Err(_) => Ok(()),
        }
    }

    /// How many bytes are free where it is.
    pub fn free(&self) -> io::Result<u64> {
        let at = if self.0.is_dir() { &self.0 } else { self.0.parent().unwrap_or(Path::new("/")) };
        let about = rustix::fs::statvfs(at)?;
        Ok(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

/// SHA-256 of bytes, base64url.
pub fn digest(bytes: &[u8]) -> String {
    use base64ct::{Base64UrlUnpadded, Encoding};
    Base64UrlUnpadded::encode_string(&Sha256::digest(bytes))
}

/// Makes a folder, if need be, and flushes its name: it may have been made by a central that died before it had.
fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    folder.parent().map_or(Ok(()), flush)
}

fn flush(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
