//! A host's files, reached from the machine as the host itself would: symbolic links stay inside.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, renameat};
use nix::sys::stat::{Mode, fchmod};

use super::Host;
use crate::error::{Context, Error, Result};

impl Host {
    /// Reads a file.
    pub fn read_file(&self, path: impl AsRef<Path>) -> Result<Vec<u8>> {
        let path = path.as_ref();
        let mut bytes = Vec::new();
        File::from(self.open(path, OFlag::O_RDONLY)?).read_to_end(&mut bytes).context("read (on the host)", path)?;
        Ok(bytes)
    }

    /// Writes a file of root's with this mode, in place of what was there; its folder is made if it is missing.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let path = path.as_ref();
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Request(format!("{} does not name a file", path.display())));
        };
        let parent = match self.open(folder, OFlag::O_DIRECTORY) {
            Ok(parent) => parent,
            Err(_) => {
                self.command("mkdir").arg("-p").arg(&folder.to_string_lossy()).output()?;
                self.open(folder, OFlag::O_DIRECTORY)?
            }
        };
        let mut draft = name.to_os_string();
        draft.push(".draft");
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&parent, draft.as_os_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .context("make (on the host)", path)?;
        fchmod(&file, Mode::from_bits_truncate(mode)).context("set the mode (on the host) of", path)?;
        File::from(file).write_all(bytes.as_ref()).context("write (on the host)", path)?;
        renameat(&parent, draft.as_os_str(), &parent, name).context("replace (on the host)", path)
    }

    /// Copies a file of the machine to the host.
    pub fn copy_in(&self, from: impl AsRef<Path>, to: impl AsRef<Path>, mode: u32) -> Result<()> {
        let bytes = fs::read(from.as_ref()).context("read", from.as_ref())?;
        self.write_file(to, bytes, mode)
    }

    fn open(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        let root = self.root()?;
        let root = File::open(&root).context("open", &root)?;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&root, path, how).context("open (on the host)", path)
    }
}
