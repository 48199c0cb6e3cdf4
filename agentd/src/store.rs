//! State on disk: small files, replaced whole.
//!
//! What must outlive the machine's sudden end ([`Store::put`]) is on stable storage before anything is done
//! about it. What only agentd's own restarts need ([`Store::put_for_restart`]) is not waited for: after a new
//! boot every session ends, whatever its file says.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file of state that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct StoreError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// A folder of state, `/var/lib/tether` outside of tests.
#[derive(Debug, Clone)]
pub struct Store(PathBuf);

impl Store {
    /// Makes the folder, if need be. What lies in it is root's alone, but for the courier's way to the audit chain.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        make_private(&folder)?;
        let passable = fs::set_permissions(&folder, fs::Permissions::from_mode(0o711));
        passable.map_err(|error| at(&folder, error))?;
        make_private(&folder.join("sessions"))?;
        Ok(Self(folder))
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Replaces a file: written beside, flushed, renamed, the folder flushed.
    pub fn put(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let path = self.path(name);
        let text = serde_json::to_vec(value).map_err(|error| at(&path, io::Error::other(error)))?;
        replace(&path, &text).map_err(|source| at(&path, source))
    }

    /// Replaces a file that only has to outlive agentd, not the machine: written beside, renamed.
    pub fn put_for_restart(&self, name: &str, value: &impl Serialize) -> Result<(), StoreError> {
        let path = self.path(name);
        let text = serde_json::to_vec(value).map_err(|error| at(&path, io::Error::other(error)))?;
        let written = write_beside(&path, &text).and_then(|(beside, _)| {
            crash_point!(SessionBeside);
            fs::rename(beside, &path)
        });
        written.map_err(|source| at(&path, source))
    }

    /// Reads a file; `None` if there is none. A damaged file is an error: nothing is guessed.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StoreError> {
        let path = self.path(name);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| at(&path, io::Error::other(error))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, error)),
        }
    }

    /// Removes a file, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, error)),
            _ => Ok(()),
        }
    }

    /// Names of the files in a folder of it. Those that a crash left half written are removed.
    pub fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let path = self.path(folder);
        let entries = fs::read_dir(&path).map_err(|error| at(&path, error))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let (half, whole): (Vec<_>, Vec<_>) = names.partition(|name| name.starts_with('.'));
        for name in half {
            self.remove(&format!("{folder}/{name}"))?;
        }
        Ok(whole)
    }
}

/// Writes beside, flushes and renames. Also for files outside the store.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, 0o600)
}

/// The same, for everybody to read. It is readable before it has its name: who is woken by the name reads it at once,
/// and is not woken again.
pub fn replace_readable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, bytes, 0o644)
}

fn replace_with(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (beside, file) = write_beside(path, bytes)?;
    if let Err(error) = file.set_permissions(fs::Permissions::from_mode(mode)).and_then(|()| file.sync_data()) {
        fs::remove_file(&beside)?;
        return Err(error);
    }
    crash_point!(StoreBeside);
    fs::rename(&beside, path)?;
    crash_point!(StoreRenamed);
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

fn write_beside(path: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&beside)?;
    if let Err(error) = file.write_all(bytes) {
        // On a full disk half a file would take the room that an end may need.
        fs::remove_file(&beside)?;
        return Err(error);
    }
    Ok((beside, file))
}

fn make_private(folder: &Path) -> Result<(), StoreError> {
    make(folder, 0o700)
}

fn make(folder: &Path, mode: u32) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(mode).create(folder);
    made.map_err(|error| at(folder, error))
}

pub(crate) fn at(path: &Path, source: io::Error) -> StoreError {
    StoreError { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_woken_by_a_name_can_read_the_file_at_once() {
        use std::os::unix::fs::MetadataExt;
        use std::sync::atomic::{AtomicBool, Ordering};
        let folder = tempfile::tempdir().unwrap();
        let (path, over) = (folder.path().join("told"), AtomicBool::new(false));
        replace_readable(&path, b"0").unwrap();
        let modes = std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut modes = std::collections::BTreeSet::new();
                while !over.load(Ordering::SeqCst) {
                    modes.insert(fs::metadata(&path).unwrap().mode() & 0o777);
                }
                modes
            });
            (0..2000).for_each(|round: u32| replace_readable(&path, &round.to_be_bytes()).unwrap());
            over.store(true, Ordering::SeqCst);
            looks.join().unwrap()
        });
        assert_eq!(modes.into_iter().collect::<Vec<_>>(), [0o644]);
        replace(&path, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "what is not for everybody is not");
    }
}
