//! Mounting by hand: the kernel's device, mount(2), no helper program.

use crate::Disk;
use crate::serve::Served;
use fuser::{BackgroundSession, Config, Session, SessionACL};
use nix::mount::{MntFlags, MsFlags, mount as mount_2, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Flushes may be slow, and nobody else is to wait for them.
const THREADS: usize = 16;

/// A disk that is mounted, until this is dropped.
#[derive(Debug)]
pub struct Mount {
    folder: PathBuf,
    namespace: Option<File>,
    session: Option<BackgroundSession>,
}

/// Gives the calling thread mounts of its own; threads and programs that it starts share them. So a test that is killed
/// leaves none behind.
pub fn private_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
    Ok(mount_2(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?)
}

pub fn mount(disk: &Disk, folder: &Path, of: Option<i32>) -> io::Result<Mount> {
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let root = disk.tree().mode();
    let options =
        format!("fd={},rootmode={root:o},user_id=0,group_id=0,allow_other,default_permissions", device.as_raw_fd());
    let namespace = of.map(|pid| File::open(format!("/proc/{pid}/ns/mnt"))).transpose()?;
    let (at, flags) = (folder.to_owned(), MsFlags::MS_NOSUID | MsFlags::MS_NODEV);
    within(namespace.as_ref(), move || {
        Ok(mount_2(Some("forgetful"), &at, Some("fuse.forgetful"), flags, Some(options.as_str()))?)
    })?;
    let mut mount = Mount { folder: folder.to_owned(), namespace, session: None };
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    config.acl = SessionACL::All;
    let session = Session::from_fd(Served::new(disk), OwnedFd::from(device), SessionACL::All, config)?;
    mount.session = Some(session.spawn()?);
    Ok(mount)
}

/// Does something on a thread of its own in a mount namespace.
fn within(namespace: Option<&File>, deed: impl FnOnce() -> io::Result<()> + Send) -> io::Result<()> {
    let Some(namespace) = namespace else { return deed() };
    std::thread::scope(|scope| {
        let there = scope.spawn(move || {
            unshare(CloneFlags::CLONE_FS)?;
            setns(namespace, CloneFlags::CLONE_NEWNS)?;
            deed()
        });
        there.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    })
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Of a host whose power was cut the namespace is gone, and the mount with it.
        let folder = self.folder.clone();
        let _ =
            within(self.namespace.as_ref(), move || Ok(umount2(&folder, MntFlags::MNT_DETACH | MntFlags::MNT_FORCE)?));
        // An open namespace keeps its mounts.
        self.namespace = None;
        if let Some(session) = self.session.take() {
            let _ = session.join();
        }
    }
}
