//! The parts of the view that are the command's own: /dev, the scratch, and empty files over what the kernel shows
//! in /proc and nobody should read. All of them lie in one tmpfs.
//!
//! Covering is for the kernel's own names only: nobody can rename them.
#![forbid(unsafe_code)]

use super::{CONTROL, SCRATCH, step};
use crate::identity::Who;
use crate::layers::{Layer, Layers};
use crate::sys::set_mount;
use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, makedev, minor, mkdirat, mknodat, open, openat,
    stat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use tether_hostlink::Refusal;

/// Name and minor number; the major is 1 but for tty.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 4] = [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")];
/// Files of /proc that show or take what is the kernel's: reading /proc/kmsg takes it from the host's log.
const COVERED: [&str; 9] = [
    "/proc/kallsyms",
    "/proc/kcore",
    "/proc/kmsg",
    "/proc/kpagecgroup",
    "/proc/kpagecount",
    "/proc/kpageflags",
    "/proc/keys",
    "/proc/timer_list",
    "/proc/vmallocinfo",
];
const SIZE: &std::ffi::CStr = c"size=16m,nr_inodes=1024,mode=711";

/// Makes them. Gives the folder with the control file.
pub fn make(who: &Who, terminal: Option<&Stat>, layers: Layers) -> Result<OwnedFd, Refusal> {
    // Looked up while the host's /dev is still there.
    let terminal = terminal.and_then(path_of_terminal);
    let flags = MountFlags::NOSUID;
    mount("tether", SCRATCH, "tmpfs", flags, Some(SIZE)).map_err(|errno| step("mounting a scratch", errno))?;
    let path = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(SCRATCH, path, Mode::empty()).map_err(|errno| step("opening the scratch", errno))?;
    if layers.has(Layer::Devices) {
        devices(&root, terminal.as_deref()).map_err(|errno| step("making /dev", errno))?;
        cover(&root).map_err(|errno| step("covering kernel files", errno))?;
    }
    let control = control(&root).map_err(|errno| step("making the control file", errno))?;
    scratch(&root, who).map_err(|errno| step("making the scratch", errno))?;
    Ok(control)
}

fn devices(root: &OwnedFd, terminal: Option<&Path>) -> Result<(), Errno> {
    mkdirat(root, "dev", Mode::from_raw_mode(0o755))?;
    let dev = openat(root, "dev", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for (name, major, minor) in DEVICES {
        mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
        // The umask is sudo's.
        chmodat(&dev, name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    if let Some(terminal) = terminal {
        pts(root, &dev, terminal)?;
    }
    mount_bind(part("dev"), "/dev")?;
    set_mount(c"/dev", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID, 0, false)
}

/// The command's own terminal, and no other, under the name it has on the host.
fn pts(root: &OwnedFd, dev: &OwnedFd, terminal: &Path) -> Result<(), Errno> {
    let Some(name) = terminal.file_name() else { return Ok(()) };
    mkdirat(dev, "pts", Mode::from_raw_mode(0o755))?;
    let place = format!("dev/pts/{}", name.display());
    openat(root, &place, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    let place = part(&place);
    mount_bind(terminal, &place)?;
    let place = CString::new(place).map_err(|_| Errno::INVAL)?;
    set_mount(&place, 0, MOUNT_ATTR_NODEV, false)
}

/// `/dev/pts/N` of the host, if that is what the descriptor is.
fn path_of_terminal(terminal: &Stat) -> Option<std::path::PathBuf> {
    let path = format!("/dev/pts/{}", minor(terminal.st_rdev));
    let found = stat(&path).ok()?;
    let is_it = (found.st_dev, found.st_ino, found.st_rdev) == (terminal.st_dev, terminal.st_ino, terminal.st_rdev);
    is_it.then(|| path.into())
}

fn cover(root: &OwnedFd) -> Result<(), Errno> {
    openat(root, "empty", OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o444))?;
    let empty = part("empty");
    for path in COVERED {
        match mount_bind(&empty, path) {
            Ok(()) => {
                let path = CString::new(path).map_err(|_| Errno::INVAL)?;
                set_mount(&path, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false)?;
            }
            // This kernel has no such file.
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn control(root: &OwnedFd) -> Result<OwnedFd, Errno> {
    mkdirat(root, "proof", Mode::from_raw_mode(0o777))?;
    chmodat(root, "proof", Mode::from_raw_mode(0o777), AtFlags::empty())?;
    let folder = openat(root, "proof", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    openat(&folder, CONTROL, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))?;
    chmodat(&folder, CONTROL, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    Ok(folder)
}

/// Last, since it comes to lie over the root of the tmpfs.
fn scratch(root: &OwnedFd, who: &Who) -> Result<(), Errno> {
    mkdirat(root, "scratch", Mode::RWXU)?;
    let (user, group) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    chownat(root, "scratch", Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    mount_bind(part("scratch"), SCRATCH)?;
    let place = CString::new(SCRATCH).map_err(|_| Errno::INVAL)?;
    set_mount(&place, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false)
}

fn part(name: &str) -> String {
    format!("{SCRATCH}/{name}")
}
