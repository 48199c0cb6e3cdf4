//! What the kernel asks.

use crate::Disk;
use crate::tree::{About, Bytes, Failed, Kind, Node, Tree, link_to};
use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Only the kernel changes anything here, so what it has heard holds until it changes it.
const HOLDS: Duration = Duration::from_secs(3600);
const BLOCK: u32 = 4096;
/// As large as a small disk; nobody fills it.
const BLOCKS: u64 = 1 << 20;

/// A name in a folder that is open.
type Entry = (OsString, u64, FileType);

pub struct Served {
    disk: Disk,
    /// Folders that are read, each as it was when it was opened: what changes meanwhile makes nobody miss a name.
    reading: Mutex<BTreeMap<u64, Vec<Entry>>>,
    next: AtomicU64,
}

impl Served {
    pub fn new(disk: &Disk) -> Self {
        Self { disk: disk.clone(), reading: Mutex::default(), next: AtomicU64::new(1) }
    }

    fn reading(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Entry>>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, reply: ReplyEntry, deed: impl FnOnce(&mut Tree) -> Result<u64, Failed>) {
        let mut tree = self.disk.tree();
        match deed(&mut tree).and_then(|number| Ok(attributes(number, tree.node(number)?))) {
            Ok(found) => reply.entry(&HOLDS, &found, Generation(0)),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn done(&self, reply: ReplyEmpty, deed: impl FnOnce(&mut Tree) -> Result<(), Failed>) {
        match deed(&mut self.disk.tree()) {
            Ok(()) => reply.ok(),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }
}

fn attributes(number: u64, node: &Node) -> FileAttr {
    let (kind, size) = match &node.kind {
        Kind::File(bytes) => (FileType::RegularFile, bytes.now.len() as u64),
        Kind::Folder(_) => (FileType::Directory, 0),
        Kind::Link(target) => (FileType::Symlink, target.as_os_str().len() as u64),
    };
    FileAttr {
        ino: INodeNo(number),
        size,
        blocks: size.div_ceil(512),
        atime: node.about.modified,
        mtime: node.about.modified,
        ctime: node.about.modified,
        crtime: node.about.modified,
        kind,
        perm: (node.about.mode & 0o7777) as u16,
        nlink: node.names,
        uid: node.about.uid,
        gid: node.about.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}

fn entries(tree: &Tree, folder: u64) -> Result<Vec<Entry>, Failed> {
    let kind = |number: u64| match tree.node(number).map(|node| &node.kind) {
        Ok(Kind::Folder(_)) => FileType::Directory,
        Ok(Kind::Link(_)) => FileType::Symlink,
        _ => FileType::RegularFile,
    };
    let own = [".", ".."].map(|name| (name.into(), folder, FileType::Directory));
    let names = tree.folder(folder)?.iter().map(|(name, number)| (name.clone(), *number, kind(*number)));
    Ok(own.into_iter().chain(names).collect())
}

fn about(request: &Request, mode: u32, umask: u32) -> About {
    About { mode: mode & !umask & 0o7777, uid: request.uid(), gid: request.gid(), modified: SystemTime::now() }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |tree| tree.look_up(parent.0, name));
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.disk.tree().node(number.0) {
            Ok(node) => reply.attr(&HOLDS, &attributes(number.0, node)),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.disk.tree();
        let set = (|| {
            if let Some(size) = size {
                tree.bytes(number.0)?.set_length(place(size));
            }
            let node = tree.node_mut(number.0)?;
            node.about.mode = mode.map_or(node.about.mode, |mode| mode & 0o7777);
            node.about.uid = uid.unwrap_or(node.about.uid);
            node.about.gid = gid.unwrap_or(node.about.gid);
            node.about.modified = match modified {
                Some(TimeOrNow::SpecificTime(time)) => time,
                Some(TimeOrNow::Now) => SystemTime::now(),
                None if size.is_some() => SystemTime::now(),
                None => node.about.modified,
            };
            Ok(attributes(number.0, node))
        })();
        match set {
            Ok(found) => reply.attr(&HOLDS, &found),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        match self.disk.tree().node(number.0) {
            Ok(Node { kind: Kind::Link(target), .. }) => reply.data(target.as_os_str().as_encoded_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let about = about(request, mode, umask);
        if mode & 0o170_000 != 0o100_000 {
            return reply.error(Errno::EPERM);
        }
        self.entry(reply, |tree| tree.make(parent.0, name, Kind::File(Bytes::default()), about));
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let about = about(request, mode, umask);
        self.entry(reply, |tree| tree.make(parent.0, name, Kind::Folder(BTreeMap::new()), about));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |tree| tree.remove(parent.0, name, false));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.done(reply, |tree| tree.remove(parent.0, name, true));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let about = about(request, 0o777, 0);
        self.entry(reply, |tree| tree.make(parent.0, name, link_to(target), about));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        as_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.intersects(RenameFlags::RENAME_EXCHANGE | RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let replace = !flags.contains(RenameFlags::RENAME_NOREPLACE);
        self.done(reply, |tree| tree.rename((parent.0, name), (to.0, as_name), replace));
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, |tree| tree.link(number.0, parent.0, name).map(|()| number.0));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.disk.tree().bytes(number.0) {
            Ok(bytes) => {
                let start = place(offset).min(bytes.now.len());
                let end = start.saturating_add(size as usize).min(bytes.now.len());
                reply.data(bytes.now.get(start..end).unwrap_or_default());
            }
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.disk.tree();
        let written = tree.bytes(number.0).map(|bytes| bytes.write(place(offset), data));
        match written.and_then(|()| tree.node_mut(number.0)) {
            Ok(node) => {
                node.about.modified = SystemTime::now();
                reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX));
            }
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // close(2) promises nothing.
        self.done(reply, |_| Ok(()));
    }

    fn fsync(&self, _: &Request, number: INodeNo, _: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.disk.flushed();
        self.done(reply, |tree| tree.flush(number.0, datasync));
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.disk.flushed();
        self.done(reply, |tree| tree.flush_folder(number.0));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match entries(&self.disk.tree(), number.0) {
            Ok(entries) => {
                let handle = self.next.fetch_add(1, Ordering::SeqCst);
                self.reading().insert(handle, entries);
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }

    fn readdir(&self, _: &Request, _: INodeNo, handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let reading = self.reading();
        let entries = reading.get(&handle.0).map(Vec::as_slice).unwrap_or_default();
        for (at, (name, number, kind)) in (1..).zip(entries).skip(place(offset)) {
            if reply.add(INodeNo(*number), at, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(&self, _: &Request, _: INodeNo, handle: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.reading().remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK, 255, BLOCK);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        let about = about(request, mode, umask);
        let mut tree = self.disk.tree();
        let made = tree.make(parent.0, name, Kind::File(Bytes::default()), about);
        match made.and_then(|number| Ok(attributes(number, tree.node(number)?))) {
            Ok(found) => reply.created(&HOLDS, &found, Generation(0), FileHandle(0), FopenFlags::empty()),
            Err(failed) => reply.error(Errno::from_i32(failed)),
        }
    }
}
