//! A folder in memory that forgets, at a power cut, what was not flushed: of files what no flush of theirs covered, and
//! names that no flush of the folder did.

use super::disk::{Access, Disk, DiskFile};
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What a place of the disk is made of.
#[derive(Debug, Default, Clone)]
struct Inode {
    now: Vec<u8>,
    /// What was flushed.
    kept: Vec<u8>,
}

#[derive(Debug, Default)]
struct Inner {
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    kept_names: BTreeMap<String, usize>,
    /// Writes that still succeed; none: all do.
    left: Option<usize>,
    /// Whether a flush does anything.
    flushes: bool,
    random: u64,
}

/// The folder; copies share it.
#[derive(Debug, Clone)]
pub struct Forgetful(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Opened(Forgetful, usize);

impl Forgetful {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner { flushes: true, random: seed | 1, ..Inner::default() })))
    }

    /// A disk whose flushes do nothing: the control.
    pub fn without_flushes(seed: u64) -> Self {
        let disk = Self::new(seed);
        disk.0.lock().unwrap().flushes = false;
        disk
    }

    /// After so many writes there is no space.
    pub fn fills_after(&self, writes: Option<usize>) {
        self.0.lock().unwrap().left = writes;
    }

    /// What a machine finds after a power cut: a part of what was not flushed, never less than what was.
    pub fn cut(&self) -> Self {
        let mut inner = self.0.lock().unwrap();
        let mut names = inner.kept_names.clone();
        let fresh: Vec<(String, usize)> = inner.names.iter().map(|(name, at)| (name.clone(), *at)).collect();
        for (name, at) in fresh {
            if inner.chance() {
                names.insert(name, at);
            }
        }
        let count = inner.inodes.len();
        let inodes = (0..count).map(|at| inner.survives(at)).collect::<Vec<_>>();
        let kept_names = names.clone();
        let (flushes, random) = (inner.flushes, inner.random);
        Self(Arc::new(Mutex::new(Inner { inodes, names, kept_names, left: None, flushes, random })))
    }
}

impl Inner {
    fn next(&mut self) -> u64 {
        // xorshift64
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn chance(&mut self) -> bool {
        self.next() & 1 == 0
    }

    /// Each sector is as it was flushed or as it was written; a length likewise, with zeros where nothing came.
    fn survives(&mut self, at: usize) -> Inode {
        let Inode { now, kept } = self.inodes.get(at).cloned().unwrap_or_default();
        let longer = now.len().max(kept.len());
        let least = now.len().min(kept.len());
        let length = if now == kept { longer } else { least + (self.next() as usize) % (longer - least + 1) };
        let mut found = vec![0; length];
        for start in (0..length).step_by(512) {
            let source = if self.chance() { &now } else { &kept };
            for at in start..(start + 512).min(length) {
                if let (Some(to), Some(from)) = (found.get_mut(at), source.get(at)) {
                    *to = *from;
                }
            }
        }
        // What was flushed and not touched since is there in any case.
        for at in 0..length.min(kept.len()) {
            if now.get(at) == kept.get(at)
                && let (Some(to), Some(from)) = (found.get_mut(at), kept.get(at))
            {
                *to = *from;
            }
        }
        Inode { now: found.clone(), kept: found }
    }

    fn spend(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => Err(io::ErrorKind::StorageFull.into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn at(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for Forgetful {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/forgetful").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let inner = self.0.lock().unwrap();
        let at = inner.at(name)?;
        Ok(inner.inodes[at].now.clone())
    }

    fn age(&self, _: &str) -> io::Result<Duration> {
        Ok(Duration::from_secs(1))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let at = self.0.lock().unwrap().at(name)?;
        Ok(Box::new(Opened(self.clone(), at)))
    }

    fn create(&self, name: &str, _: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.0.lock().unwrap();
        if inner.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        inner.spend()?;
        inner.inodes.push(Inode::default());
        let at = inner.inodes.len() - 1;
        inner.names.insert(name.to_owned(), at);
        Ok(Box::new(Opened(self.clone(), at)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        inner.at(name)?;
        inner.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        let at = inner.at(from)?;
        inner.names.remove(from);
        inner.names.insert(to.to_owned(), at);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.0.lock().unwrap();
        if inner.flushes {
            inner.kept_names = inner.names.clone();
        }
        Ok(())
    }
}

impl DiskFile for Opened {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().unwrap().inodes[self.1].now.len() as u64)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.0.0.lock().unwrap();
        let failed = inner.spend();
        let file = &mut inner.inodes[self.1].now;
        // A write that fails leaves a part of itself.
        let bytes = if failed.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        let end = offset as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        failed
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.0.lock().unwrap().inodes[self.1].now.truncate(length as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.0.0.lock().unwrap();
        if inner.flushes {
            let inode = &mut inner.inodes[self.1];
            inode.kept = inode.now.clone();
        }
        Ok(())
    }
}
