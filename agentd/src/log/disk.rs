//! The folder of the chain, by the few deeds that are done in it: so that a test can put one there that forgets what
//! was not flushed.

use std::fmt::Debug;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Root.
    Root,
    /// Root, and the courier, who carries it.
    Courier,
    /// Everybody.
    All,
}

/// A folder of files.
pub trait Disk: Debug + Send + Sync {
    /// Where it is, for words.
    fn path(&self, name: &str) -> PathBuf;
    /// The names in it.
    fn list(&self) -> io::Result<Vec<String>>;
    /// All of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// How long ago it was written to.
    fn age(&self, name: &str) -> io::Result<Duration>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file that is not there.
    fn create(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file over another.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Names that were made and removed are on stable storage when this is done.
    fn sync(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: Debug + Send {
    /// Its length.
    fn length(&self) -> io::Result<u64>;
    /// Writes there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it to so many bytes.
    fn cut(&mut self, length: u64) -> io::Result<()>;
    /// What was written is on stable storage when this is done.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the host.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    courier: Option<u32>,
}

impl Folder {
    /// Makes it, if need be. `courier` is the group that may read it; without one it is root's alone.
    pub fn open(path: impl Into<PathBuf>, courier: Option<u32>) -> io::Result<Self> {
        let path = path.into();
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        if courier.is_some() {
            std::os::unix::fs::chown(&path, None, courier)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o750))?;
        }
        Ok(Self { path, courier })
    }
}

impl Disk for Folder {
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path(name))
    }

    fn age(&self, name: &str) -> io::Result<Duration> {
        Ok(fs::metadata(self.path(name))?.modified()?.elapsed().unwrap_or_default())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // A FIFO is not waited for.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = File::options().read(true).write(true).custom_flags(flags).open(self.path(name))?;
        if file.metadata()?.is_file() { Ok(Box::new(file)) } else { Err(not_a_file()) }
    }

    fn create(&self, name: &str, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(self.path(name))?;
        let mode = match access {
            Access::Root => 0o600,
            Access::Courier => 0o640,
            Access::All => 0o644,
        };
        if access == Access::Courier && self.courier.is_some() {
            fchown(&file, None, self.courier)?;
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        Ok(Box::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::IsADirectory, "it is no file")
}

/// Whether a name is nobody's file, and will not be one later either.
pub fn is_no_file(error: &io::Error) -> bool {
    let raw = error.raw_os_error().map(rustix::io::Errno::from_raw_os_error);
    let never = [rustix::io::Errno::LOOP, rustix::io::Errno::NXIO, rustix::io::Errno::ISDIR];
    error.kind() == io::ErrorKind::IsADirectory || raw.is_some_and(|errno| never.contains(&errno))
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Puts a whole file in place of another.
pub fn replace(disk: &dyn Disk, name: &str, access: Access, bytes: &[u8]) -> io::Result<()> {
    let beside = format!(".{name}.new");
    match disk.remove(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create(&beside, access)?;
    let written = file.write_at(0, bytes).and_then(|()| file.sync());
    if let Err(error) = written {
        // On a full disk half a file would take the room that an end may need.
        disk.remove(&beside)?;
        return Err(error);
    }
    disk.rename(&beside, name)?;
    disk.sync()
}

/// The group that reads the chain: from /etc/group itself, since agentd asks no name service.
pub fn group_of(text: &str, name: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The folder on this host.
pub fn of_this_host(path: &Path) -> io::Result<Folder> {
    let groups = fs::read_to_string("/etc/group")?;
    Folder::open(path, group_of(&groups, "tether-courier"))
}
