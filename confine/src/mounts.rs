//! The mounts of this namespace (proc_pid_mountinfo(5)): which lies where, and what of its file system it shows.
//! The namespace is this process's own and private, so once read they stay.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Its number.
    pub id: u64,
    /// The mount it lies on.
    pub parent: u64,
    /// `major:minor` of the file system.
    pub device: String,
    /// Which folder or file of the file system it shows.
    pub root: PathBuf,
    /// Where.
    pub point: PathBuf,
    /// Its own options, not the file system's: the first is `ro` or `rw`.
    pub options: String,
    /// What kind of file system.
    pub kind: String,
}

impl Mount {
    /// Whether the option is among its own.
    pub fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|one| one == option)
    }

    /// What a path below the mount point is inside the file system.
    pub fn inside(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(&self.point).ok().map(|rest| join(&self.root, rest))
    }

    /// Where a path of the file system is seen through this mount.
    pub fn seen(&self, inside: &Path) -> Option<PathBuf> {
        inside.strip_prefix(&self.root).ok().map(|rest| join(&self.point, rest))
    }
}

/// `base/rest`, without a slash at the end if `rest` is empty.
fn join(base: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { base.to_owned() } else { base.join(rest) }
}

/// Reads /proc/self/mountinfo. An empty list is an error: there is always a root.
pub fn read() -> std::io::Result<Vec<Mount>> {
    // Room for all of it at once: the kernel makes the text anew for each read.
    let mut text = Vec::with_capacity(64 << 10);
    std::fs::File::open("/proc/self/mountinfo")?.read_to_end(&mut text)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mounts: Option<Vec<Mount>> = lines.map(parse).collect();
    mounts.filter(|mounts| !mounts.is_empty()).ok_or_else(|| std::io::Error::other("mountinfo cannot be read"))
}

fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut text = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
    let (id, parent, device) = (text()?.parse().ok()?, text()?.parse().ok()?, text()?);
    let mut path = || fields.next().map(unescaped);
    let (root, point) = (path()?, path()?);
    let mut text = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
    let options = text()?;
    while text()? != "-" {}
    Some(Mount { id, parent, device, root, point, options, kind: text()? })
}

/// Blank, tab, newline and backslash stand there as three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| *first == b'\\');
        let value = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The mount through which a path is seen: the deepest, and of several at one place the last.
pub fn of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    let on_the_way = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    on_the_way.max_by_key(|mount| mount.point.as_os_str().as_bytes().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "24 1 8:1 / / ro,nosuid,relatime shared:1 - ext4 /dev/vda rw\n\
        25 24 0:5 / /dev\\040x ro master:1 propagate_from:2 - tmpfs t rw\n\
        26 24 8:1 /etc /var/chroot/etc rw,nosuid - ext4 /dev/vda rw";

    fn mounts() -> Vec<Mount> {
        LINES.lines().map(|line| parse(line.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn lines_are_read() {
        let mounts = mounts();
        assert_eq!(mounts[1].point, Path::new("/dev x"));
        assert_eq!((mounts[1].kind.as_str(), mounts[1].parent), ("tmpfs", 24));
        assert!(mounts[0].has("nosuid") && !mounts[0].has("nosu") && mounts[2].has("rw"));
        for broken in ["", "24", "24 1 8:1 / / ro", "x 1 8:1 / / ro - ext4 a b"] {
            assert_eq!(parse(broken.as_bytes()), None, "{broken}");
        }
    }

    #[test]
    fn a_path_has_a_mount_and_a_place_in_it() {
        let mounts = mounts();
        let path = Path::new("/var/chroot/etc/shadow");
        let bind = of(&mounts, path).unwrap();
        assert_eq!(bind.id, 26);
        assert_eq!(bind.inside(path).unwrap(), Path::new("/etc/shadow"));
        assert_eq!(bind.inside(Path::new("/var/chroot/etc")).unwrap(), Path::new("/etc"));
        assert_eq!(bind.seen(Path::new("/etc/x")).unwrap(), Path::new("/var/chroot/etc/x"));
        assert_eq!(bind.seen(Path::new("/usr")), None);
        assert_eq!(of(&mounts, Path::new("/var/chroot")).unwrap().id, 24);
        assert_eq!(mounts[0].seen(Path::new("/etc")).unwrap(), Path::new("/etc"));
    }
}
