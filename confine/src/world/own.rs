//! The parts of the view that are the command's own: /dev, the scratch, and empty files over what the kernel shows
//! in /proc and nobody should read. All of them lie in one tmpfs.
//!
//! Covering is for the kernel's own names only: nobody can rename them.
#![forbid(unsafe_code)]

use super::{CONTROL, REAL_PROC, SCRATCH, bus, processes, step};
use crate::identity::Who;
use crate::layers::{Layer, Layers};
use crate::sys::set_mount;
use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, chmodat, chownat, makedev, minor, mkdirat, mknodat, open,
    openat, stat, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MoveMountFlags, OpenTreeFlags, mount, mount_bind, mount_bind_recursive, move_mount, open_tree,
};
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use tether_hostlink::{Confinement, Refusal};

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
const SIZE: &CStr = c"size=16m,nr_inodes=1024,mode=711";
/// With links to what a few thousand processes have open.
const CROWDED: &CStr = c"size=64m,nr_inodes=500000,mode=711";
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Makes them. Gives the folder with the control file.
pub fn make(who: &Who, orders: &Confinement, terminal: Option<&Lifted>, layers: Layers) -> Result<OwnedFd, Refusal> {
    let size = if orders.proc_links { CROWDED } else { SIZE };
    mount("tether", SCRATCH, "tmpfs", MountFlags::NOSUID, Some(size))
        .map_err(|errno| step("mounting a scratch", errno))?;
    let root = open(SCRATCH, FOLDER, Mode::empty()).map_err(|errno| step("opening the scratch", errno))?;
    if layers.has(Layer::Devices) {
        devices(&root, terminal).map_err(|errno| step("making /dev", errno))?;
        cover(&root).map_err(|errno| step("covering kernel files", errno))?;
    }
    if orders.proc_links {
        list_processes(&root).map_err(|errno| step("listing processes", errno))?;
    }
    let control = control(&root).map_err(|errno| step("making the control file", errno))?;
    if orders.dbus {
        bus::fill(&root, SCRATCH).map_err(|errno| step("making /run", errno))?;
    }
    let scratch = scratch(&root, who).map_err(|errno| step("making the scratch", errno))?;
    if orders.dbus {
        bus::show(&root, &scratch)
            .and_then(|()| read_only(c"/run"))
            .map_err(|errno| step("laying it over /run", errno))?;
        lock_scratch().map_err(|errno| step("making the scratch", errno))?;
    }
    Ok(control)
}

/// The real /proc is bound to a place beside, and over each process's folder in the one that is seen lies its list.
fn list_processes(root: &OwnedFd) -> Result<(), Errno> {
    mount_bind_recursive("/proc", REAL_PROC)?;
    mkdirat(root, "processes", Mode::from_raw_mode(0o555))?;
    let shown = openat(root, "processes", FOLDER, Mode::empty())?;
    let real = open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    mkdirat(root, "common", Mode::RWXU)?;
    let common = openat(root, "common", FOLDER, Mode::empty())?;
    let listed = processes::list(&real, &shown, &common)?;
    // What is bound from a mount has that mount's attributes.
    let all = part("processes");
    mount_bind(&all, &all)?;
    read_only(&CString::new(all.as_str()).map_err(|_| Errno::INVAL)?)?;
    for pid in listed {
        let pid = pid.to_string_lossy();
        match mount_bind(format!("{all}/{pid}"), format!("/proc/{pid}")) {
            // It ended.
            Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn read_only(place: &CStr) -> Result<(), Errno> {
    set_mount(place, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0, false)
}

fn devices(root: &OwnedFd, terminal: Option<&Lifted>) -> Result<(), Errno> {
    mkdirat(root, "dev", Mode::from_raw_mode(0o755))?;
    let dev = openat(root, "dev", FOLDER, Mode::empty())?;
    for (name, major, minor) in DEVICES {
        mknodat(&dev, name, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor))?;
        // The umask is sudo's.
        chmodat(&dev, name, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev, name)?;
    }
    if let Some(terminal) = terminal {
        make_place(&dev, &terminal.path)?;
    }
    mount_bind(part("dev"), "/dev")?;
    set_mount(c"/dev", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID, 0, false)?;
    if let Some(Lifted { path, mount }) = terminal {
        move_mount(mount, "", CWD, path.as_str(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC;
        set_mount(&CString::new(path.as_str()).map_err(|_| Errno::INVAL)?, set, MOUNT_ATTR_NODEV, false)?;
    }
    Ok(())
}

/// The command's own terminal, taken out of the mounts that it is seen in: a session has terminals of its own, which
/// the host's mounts do not show.
pub struct Lifted {
    path: String,
    mount: OwnedFd,
}

impl Lifted {
    /// To be called in the mount namespace of whoever made the terminal. None if it has no name there.
    pub fn of(terminal: &Stat) -> Option<Self> {
        let path = path_of_terminal(terminal)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        Some(Self { mount: open_tree(CWD, path.as_str(), flags).ok()?, path })
    }
}

/// For the command's own terminal, and no other, under the name it has outside.
fn make_place(dev: &OwnedFd, terminal: &str) -> Result<(), Errno> {
    let Some(name) = terminal.strip_prefix("/dev/") else { return Err(Errno::INVAL) };
    mkdirat(dev, "pts", Mode::from_raw_mode(0o755))?;
    openat(dev, name, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

/// `/dev/pts/N`, if that is what the descriptor is.
fn path_of_terminal(terminal: &Stat) -> Option<String> {
    let path = format!("/dev/pts/{}", minor(terminal.st_rdev));
    let found = stat(&path).ok()?;
    let is_it = (found.st_dev, found.st_ino, found.st_rdev) == (terminal.st_dev, terminal.st_ino, terminal.st_rdev);
    is_it.then_some(path)
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
    let folder = openat(root, "proof", FOLDER, Mode::empty())?;
    openat(&folder, CONTROL, OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC, Mode::from_raw_mode(0o666))?;
    chmodat(&folder, CONTROL, Mode::from_raw_mode(0o666), AtFlags::empty())?;
    Ok(folder)
}

/// It comes to lie over the root of the tmpfs.
fn scratch(root: &OwnedFd, who: &Who) -> Result<OwnedFd, Errno> {
    mkdirat(root, "scratch", Mode::RWXU)?;
    let (user, group) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    chownat(root, "scratch", Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    let scratch = openat(root, "scratch", FOLDER, Mode::empty())?;
    mount_bind(part("scratch"), SCRATCH)?;
    lock_scratch()?;
    Ok(scratch)
}

fn lock_scratch() -> Result<(), Errno> {
    let place = CString::new(SCRATCH).map_err(|_| Errno::INVAL)?;
    set_mount(&place, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, false)
}

fn part(name: &str) -> String {
    format!("{SCRATCH}/{name}")
}
