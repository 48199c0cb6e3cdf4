//! A file system for tests, in memory and mounted by FUSE, that forgets at a power cut whatever no flush covered: of a
//! file what no fsync of that file did, of a folder names that no fsync of that folder did.
//!
//! [`Disk::cut`] is the power cut. From then on every call on the mount fails, so that nothing is acknowledged any more;
//! what it gives is the disk as the next boot finds it, to be mounted anew. Of what was not flushed some survives, by a
//! seed: nothing of it, all of it, or any part (sectors of 512 bytes, lengths, names, modes, each for itself).
//!
//! What POSIX does not promise is not kept: fdatasync(2) covers data and length, not mode and owner; a new file's name
//! is its folder's matter. What every file system does is kept: a rename happens whole or not at all, and a sector is
//! the old one or the new one.
//!
//! ```no_run
//! use tether_forgetful::{Disk, Fsync};
//!
//! # fn main() -> std::io::Result<()> {
//! let disk = Disk::new(7);
//! let mount = disk.mount(std::path::Path::new("/mnt"), None)?;
//! std::fs::write("/mnt/a", "not flushed")?;
//! let found = disk.cut();
//! drop(mount);
//! let _mount = found.mount(std::path::Path::new("/mnt"), None)?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod mount;
mod serve;
mod tree;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use mount::{Mount, private_mounts};
use tree::Tree;

/// What a flush does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsync {
    /// What it should.
    Works,
    /// Nothing, and it says that all is well: the control of every test with this disk.
    Lies,
}

/// A disk; copies share it.
#[derive(Debug, Clone)]
pub struct Disk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tree: Mutex<Tree>,
    /// How long a flush takes, in microseconds.
    slow: AtomicU64,
    flushes: AtomicU64,
}

impl Disk {
    /// An empty one. The seed decides what survives its cuts.
    pub fn new(seed: u64) -> Self {
        Self::of(Tree::new(seed), 0)
    }

    fn of(tree: Tree, slow: u64) -> Self {
        Self(Arc::new(Shared { tree: Mutex::new(tree), slow: AtomicU64::new(slow), flushes: AtomicU64::new(0) }))
    }

    /// Mounts it on a folder; of the mount namespace of a process, if one is named. The mount ends when it is dropped.
    pub fn mount(&self, folder: &Path, of: Option<i32>) -> std::io::Result<Mount> {
        mount::mount(self, folder, of)
    }

    /// What flushes do from now on.
    pub fn set_fsync(&self, fsync: Fsync) {
        self.tree().lies = fsync == Fsync::Lies;
    }

    /// How long each flush takes from now on.
    pub fn set_slow(&self, each: Duration) {
        self.0.slow.store(u64::try_from(each.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Puts all that there is on stable storage, as an orderly halt does.
    pub fn settle(&self) {
        self.tree().settle();
    }

    /// How many flushes there were.
    pub fn flushes(&self) -> u64 {
        self.0.flushes.load(Ordering::SeqCst)
    }

    /// Cuts the power: what the next boot finds. Nothing that is mounted of this one works any more.
    pub fn cut(&self) -> Self {
        let mut tree = self.tree();
        tree.dead = true;
        Self::of(tree.after_cut(), self.0.slow.load(Ordering::SeqCst))
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.0.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushed(&self) {
        self.0.flushes.fetch_add(1, Ordering::SeqCst);
        let slow = self.0.slow.load(Ordering::SeqCst);
        if slow > 0 {
            std::thread::sleep(Duration::from_micros(slow));
        }
    }
}
