//! What a write rule names: each file or folder becomes a mount of its own, and only that is writable.
#![forbid(unsafe_code)]

use super::step;
use crate::refusal::failed;
use crate::sys::set_mount;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;
use rustix::mount::mount_bind_recursive;
use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use tether_hostlink::Refusal;
use tether_never::is_never;

/// Interfaces of the kernel, and our own: no rule writes there.
const CLOSED: [&str; 4] = ["/proc", "/sys", "/dev", "/run/tether"];
const CODE: &str = "confine.writes";

/// Opens one. No link is followed on the way: a folder that is not root's could lead elsewhere by one.
fn reach(path: &str) -> Result<OwnedFd, Refusal> {
    let naming = format!("what may be written: {path}");
    let not_for_rules = |why: &str| failed(CODE, &naming, why).hint("the bundle's author should name another path");
    let closed = CLOSED.iter().any(|folder| Path::new(path).starts_with(folder));
    if closed || path == "/" {
        return Err(not_for_rules("no rule writes there"));
    }
    if let Some(reason) = is_never(Path::new(path)) {
        return Err(not_for_rules(&format!("it holds {}", reason.text)));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, flags, Mode::empty(), resolve).map_err(|errno| match errno {
        Errno::NOENT => not_for_rules("there is none; to make it, a rule must name its folder"),
        Errno::LOOP => not_for_rules("a link is on the way; the rule must name the real path"),
        errno => failed(CODE, &naming, errno),
    })
}

/// Makes each writable.
pub fn open(paths: &[String]) -> Result<Vec<PathBuf>, Refusal> {
    for path in paths {
        let object = reach(path)?;
        mount_bind_recursive(format!("/proc/self/fd/{}", object.as_raw_fd()), path)
            .and_then(|()| {
                set_mount(&CString::new(path.as_str()).map_err(|_| Errno::INVAL)?, 0, libc::MOUNT_ATTR_RDONLY, false)
            })
            .map_err(|errno| step(&format!("making {path} writable"), errno))?;
        // Between the two look-ups somebody may have moved things: what is writable must be what was opened.
        let (again, before) = (reach(path)?, fstat(&object));
        let same = before
            .and_then(|before| fstat(&again).map(|now| (before.st_dev, before.st_ino) == (now.st_dev, now.st_ino)));
        if same != Ok(true) {
            return Err(failed(CODE, &format!("what may be written: {path}"), "it changed meanwhile"));
        }
    }
    Ok(paths.iter().map(PathBuf::from).collect())
}
