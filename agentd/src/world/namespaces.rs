//! A session's namespaces: mounts, IPC, network. Made by a thread that unshares, held by descriptors only,
//! so they are gone when the last process and the last descriptor are.
//!
//! In them everything is read-only but pseudo-terminals of its own and one tmpfs with a limit, which is home, /tmp,
//! /var/tmp and /dev/shm. Propagation is private: a later mount of the host does not appear, writable, inside.
//! The network namespace is empty: no way out, and no abstract sockets of the host.

use super::sys::make_read_only;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, chmod, chownat, fstat, mkdir, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;
use tether_hostlink::paths::HOME;

/// What must be masked: sockets through which a process outside could be asked to act, and the journal's, by
/// which an agent could write lines of its own choosing into the host's log (and have journald keep a file of
/// 8 MiB for its uid). sshd's monitor and agentd, which are outside, log as ever. pid 1's own sockets lie beside
/// the journal's and are everybody's: it writes a line for each message that it does not understand.
const MASKED: [&str; 3] = ["/run/user", "/run/dbus", "/run/systemd"];
/// Where the parts of the session's tmpfs appear, besides home.
const SCRATCH: [(&str, &str); 3] = [("tmp", "/tmp"), ("var-tmp", "/var/tmp"), ("shm", "/dev/shm")];

/// A step of the making that failed.
#[derive(Debug, thiserror::Error)]
#[error("the session's namespaces cannot be made: {step}: {errno}")]
pub struct WorldError {
    /// Which step.
    pub step: String,
    /// Why.
    pub errno: Errno,
}

/// Which namespaces are a session's: device and inode of each (namespaces(7)). Kept on disk, so that after a
/// restart of agentd they are known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorldId([(u64, u64); 3]);

/// The descriptors that hold a session's namespaces.
#[derive(Debug)]
pub struct World {
    /// Mounts.
    pub mount: OwnedFd,
    /// IPC.
    pub ipc: OwnedFd,
    /// Network.
    pub network: OwnedFd,
}

impl World {
    /// Makes them for a login account.
    pub fn make(uid: u32, scratch_mib: u64) -> Result<Self, WorldError> {
        let made = std::thread::Builder::new().name("world".to_owned()).spawn(move || in_thread(uid, scratch_mib));
        let thread = made.map_err(|_| failed("thread", Errno::AGAIN))?;
        thread.join().unwrap_or_else(|_| Err(failed("thread", Errno::FAULT)))
    }

    /// Takes them from a process that is in them: after a restart of agentd. A process of the session may have
    /// made namespaces of its own, in which it is root: only those with the right id, which belong to the
    /// host's user namespace, are the session's.
    pub fn of_process(pid: u32, id: &WorldId) -> Result<Self, WorldError> {
        let world = open_all(&format!("/proc/{pid}/ns"))?;
        let owned_by_host = [&world.mount, &world.ipc, &world.network].into_iter().all(belongs_to_own_user_namespace);
        if world.id()? == *id && owned_by_host { Ok(world) } else { Err(failed("another namespace", Errno::XDEV)) }
    }

    /// Which namespaces they are.
    pub fn id(&self) -> Result<WorldId, WorldError> {
        let id = |descriptor| step("fstat", fstat(descriptor)).map(|about| (about.st_dev, about.st_ino));
        Ok(WorldId([id(&self.mount)?, id(&self.ipc)?, id(&self.network)?]))
    }
}

fn in_thread(uid: u32, scratch_mib: u64) -> Result<World, WorldError> {
    step("unshare", unshare())?;
    step("private /", mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))?;
    step("read-only /", make_read_only(c"/", true))?;
    terminals()?;
    for path in MASKED.into_iter().filter(|path| Path::new(path).is_dir()) {
        mask(path)?;
    }
    scratch(uid, scratch_mib)?;
    if Path::new("/dev/mqueue").is_dir() {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        step("/dev/mqueue", mount("mqueue", "/dev/mqueue", "mqueue", flags, None))?;
    }
    open_all("/proc/thread-self/ns")
}

fn unshare() -> Result<(), Errno> {
    super::sys::unshare_thread(UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWNET)
}

/// Terminals of the session's own. The host's are not there: by the name of the one that sshd made for a channel, and
/// made the agent's, what its recorder stands before could be written to.
fn terminals() -> Result<(), WorldError> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620,gid=5,max=256";
    step("/dev/pts", mount("tether-session", "/dev/pts", "devpts", flags, Some(options)))
}

fn mask(path: &str) -> Result<(), WorldError> {
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    step(path, mount("tether-mask", path, "tmpfs", flags, Some(c"size=4k,nr_inodes=2,mode=555")))
}

/// One tmpfs with one limit. It is mounted over home first, its parts are bound to their places, and its
/// own home folder comes to lie over its root.
fn scratch(uid: u32, mib: u64) -> Result<(), WorldError> {
    let options = CString::new(format!("size={mib}m,nr_inodes={},mode=700", mib.saturating_mul(1024)));
    let options = options.map_err(|_| failed("scratch options", Errno::INVAL))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    step(HOME, mount("tether-session", HOME, "tmpfs", flags, Some(options.as_c_str())))?;
    let part = |name: &str| format!("{HOME}/{name}");
    for (name, target) in SCRATCH.into_iter().filter(|(_, target)| Path::new(target).is_dir()) {
        step(name, mkdir(part(name), Mode::RWXU))?;
        step(name, chmod(part(name), Mode::from_raw_mode(0o1777)))?;
        step(target, mount_bind(part(name), target))?;
    }
    let home = part("home");
    step("home", mkdir(&home, Mode::RWXU))?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    step("home", chownat(CWD, &home, Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW))?;
    step("home", mount_bind(&home, HOME))
}

fn open_all(folder: &str) -> Result<World, WorldError> {
    let open = |name: &str| {
        let path = format!("{folder}/{name}");
        step(&path, openat(CWD, &path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()))
    };
    Ok(World { mount: open("mnt")?, ipc: open("ipc")?, network: open("net")? })
}

fn belongs_to_own_user_namespace(namespace: &OwnedFd) -> bool {
    let owner = super::sys::owner_of(namespace).and_then(|owner| fstat(&owner));
    match (owner, rustix::fs::stat("/proc/self/ns/user")) {
        (Ok(owner), Ok(own)) => (owner.st_dev, owner.st_ino) == (own.st_dev, own.st_ino),
        _ => false,
    }
}

fn step<T>(what: &str, result: Result<T, Errno>) -> Result<T, WorldError> {
    result.map_err(|errno| failed(what, errno))
}

fn failed(step: &str, errno: Errno) -> WorldError {
    WorldError { step: step.to_owned(), errno }
}
