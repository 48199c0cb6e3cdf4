//! What a path argument means at the moment of the decision: an open descriptor, so the command gets exactly that.

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2, readlinkat};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Something below a folder, open.
#[derive(Debug)]
pub struct Reached {
    /// O_PATH: names the inode, opens nothing.
    pub descriptor: OwnedFd,
    /// Where it really is.
    pub path: PathBuf,
}

/// Opens `path`, which lies below `under` by its words, without ever leaving `under`: no link on the way leads out
/// (openat2(2), RESOLVE_BENEATH), and links of /proc are not followed. `None`: there is nothing.
pub fn below(under: &str, path: &str) -> Result<Option<Reached>, Errno> {
    let Some(rest) = Path::new(path).strip_prefix(under).ok() else { return Err(Errno::XDEV) };
    let rest = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let no_links = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let folder = match openat2(CWD, under, flags | OFlags::DIRECTORY, Mode::empty(), no_links) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(&folder, rest, flags, Mode::empty(), inside) {
        Ok(descriptor) => {
            let path = real_path(&descriptor)?;
            Ok(Some(Reached { descriptor, path }))
        }
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn real_path(descriptor: &OwnedFd) -> Result<PathBuf, Errno> {
    use std::os::unix::ffi::OsStringExt;
    let link = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let text = readlinkat(CWD, link, Vec::new())?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_lies_below_is_reached_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (inside, outside) = (root.join("in"), root.join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("log"), "a").unwrap();
        std::fs::write(&outside, "secret").unwrap();
        symlink("log", inside.join("link")).unwrap();
        symlink("../out", inside.join("leads-out")).unwrap();
        symlink(&outside, inside.join("leads-far")).unwrap();
        symlink("/proc/self/fd/0", inside.join("magic")).unwrap();
        let under = inside.to_str().unwrap();
        let reach = |name: &str| below(under, &format!("{under}/{name}"));
        assert_eq!(reach("log").unwrap().unwrap().path, inside.join("log"));
        assert_eq!(reach("link").unwrap().unwrap().path, inside.join("log"));
        assert_eq!(below(under, under).unwrap().unwrap().path, inside);
        assert!(reach("none").unwrap().is_none());
        for name in ["leads-out", "leads-far", "magic", "../out"] {
            assert!(reach(name).is_err(), "{name}");
        }
        assert!(below(under, outside.to_str().unwrap()).is_err());
        // A folder that is a link itself could be turned elsewhere after the bundle was written.
        symlink("in", root.join("alias")).unwrap();
        assert!(below(root.join("alias").to_str().unwrap(), root.join("alias/log").to_str().unwrap()).is_err());
    }
}
