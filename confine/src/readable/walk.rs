//! Down a tree: what is clean is granted whole, by one rule; where something must stay out, its neighbours are
//! granted one by one.
//!
//! A name is looked at when it is granted: by a descriptor that no link leads astray, whose own mode and inode are
//! the ones that count.
#![forbid(unsafe_code)]

use super::place::{Child, Names, Place};
use crate::landlock::Ruleset;
use crate::refusal::failed;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat, fstat, openat, statat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use tether_hostlink::Refusal;
use tether_never::{others_enter, others_read};

/// More names than this are more than a plan's two seconds.
const ENTRIES_MAX: usize = 400_000;
/// Deeper than any tree of files that is meant; it keeps the stack small.
const DEPTH_MAX: usize = 64;
/// One getdents64; the kernel gives about 200 names.
const BUFFER: usize = 8 * 1024;

/// Opens a folder to list it. O_NONBLOCK: it may have become a FIFO meanwhile.
const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const NAMED: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A walk, and what it grants.
#[derive(Debug)]
pub struct Walk<'a> {
    /// Names and mounts.
    pub names: &'a Names<'a>,
    /// Where the rules go.
    pub ruleset: &'a mut Ruleset,
    /// Secrets that have further names, by device and inode. Usually none.
    pub linked: &'a [(u64, u64)],
    /// Groups that mark secrets.
    pub groups: &'a [u32],
    /// Folders, by device and inode, whose rules were made already and give as much: not entered.
    pub done: &'a [(u64, u64)],
    /// What a rule gives.
    pub rights: u64,
    /// Names seen so far.
    pub entries: usize,
    /// Secrets met on the way that have further names, and are not in `linked`: rules that were made before may already
    /// give them away, so the walk has to begin anew with them.
    pub met: Vec<(u64, u64)>,
}

/// Why a walk ends early.
#[derive(Debug)]
enum Stop {
    TooMany,
    Rule(Errno),
}

/// What a folder's entries came to.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// All below may be read: one rule on the folder says it.
    Whole,
    /// What may be read has its rules.
    Parts,
}

impl Walk<'_> {
    /// Grants what may be read at or below an open folder.
    pub fn folder(&mut self, folder: &OwnedFd, place: &Place) -> Result<(), Refusal> {
        let done = self.down(folder, place, 0).and_then(|found| match found {
            Found::Whole => self.allow(folder.as_fd()),
            Found::Parts => Ok(()),
        });
        done.map_err(|stop| match stop {
            Stop::TooMany => failed(
                "confine.too_many_files",
                "looking for what must not be read",
                format!("more than {ENTRIES_MAX} files in what the bundle lets be read"),
            )
            .hint("the bundle's author should name narrower trees"),
            Stop::Rule(errno) => failed("confine.landlock", "adding a rule", errno),
        })
    }

    /// Grants one file, if it is one that may be read.
    pub fn file(&mut self, file: &OwnedFd, stat: &Stat, is_listed: bool) -> Result<bool, Errno> {
        let may = self.may_read(stat, is_listed);
        if may {
            self.ruleset.allow(file, self.rights)?;
        }
        Ok(may)
    }

    fn down(&mut self, folder: &OwnedFd, place: &Place, depth: usize) -> Result<Found, Stop> {
        if place.is_unseen() && self.linked.is_empty() {
            return Ok(Found::Whole);
        }
        if depth > DEPTH_MAX {
            return Ok(Found::Parts);
        }
        let mut open = Open { folder, clean: Vec::new(), is_whole: true };
        if self.names.is_in_parts(place) {
            open.is_whole = false;
        }
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            // A folder that vanished meanwhile is granted to nobody.
            let Ok(entry) = entry else { return Ok(Found::Parts) };
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(Stop::TooMany);
            }
            self.entry(&mut open, place, name, (entry.file_type(), entry.ino()), depth)?;
        }
        Ok(if open.is_whole { Found::Whole } else { Found::Parts })
    }

    fn entry(
        &mut self,
        open: &mut Open<'_>,
        place: &Place,
        name: &CStr,
        (kind, inode): (FileType, u64),
        depth: usize,
    ) -> Result<(), Stop> {
        let kind = match kind {
            FileType::Unknown => stat(open.folder, name).map_or(kind, |stat| FileType::from_raw_mode(stat.st_mode)),
            known => known,
        };
        match kind {
            // Where a link leads has a name of its own; a socket cannot be opened, a device not on these mounts.
            FileType::Symlink | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice => Ok(()),
            FileType::RegularFile => match self.names.child(place, name.to_bytes()) {
                Child::Open(child) => self.regular(open, &child, name, inode),
                Child::Closed => {
                    self.note_secret(open.folder, name);
                    self.keep_out(open, place)
                }
            },
            FileType::Directory => match self.names.child(place, name.to_bytes()) {
                Child::Open(child) => self.subfolder(open, place, &child, name, depth),
                Child::Closed => self.keep_out(open, place),
            },
            // To read a FIFO is to take from whoever waits for it.
            _ => self.keep_out(open, place),
        }
    }

    fn regular(&mut self, open: &mut Open<'_>, child: &Place, name: &CStr, inode: u64) -> Result<(), Stop> {
        // An overlay lists other numbers than its files have.
        let maybe_linked = || self.names.has_overlay || self.linked.iter().any(|(_, other)| *other == inode);
        let has_modes = child.is_listed || !child.is_known && !child.is_shallow;
        let looked_at = has_modes || !self.linked.is_empty() && maybe_linked();
        if looked_at && !stat(open.folder, name).is_ok_and(|stat| self.may_read(&stat, child.is_listed)) {
            return self.keep_out(open, child);
        }
        if open.is_whole {
            open.clean.push((name.to_owned(), None));
            return Ok(());
        }
        self.grant_name(open.folder, name, None, child.is_listed)
    }

    fn note_secret(&mut self, folder: &OwnedFd, name: &CStr) {
        if let Ok(about) = stat(folder, name)
            && about.st_nlink > 1
            && !self.linked.contains(&(about.st_dev, about.st_ino))
        {
            self.met.push((about.st_dev, about.st_ino));
        }
    }

    fn may_read(&self, stat: &Stat, is_listed: bool) -> bool {
        let few = is_listed || self.groups.contains(&stat.st_gid);
        is_regular(stat) && (!few || others_read(stat.st_mode)) && !self.is_linked(stat)
    }

    fn subfolder(
        &mut self,
        open: &mut Open<'_>,
        place: &Place,
        child: &Place,
        name: &CStr,
        depth: usize,
    ) -> Result<(), Stop> {
        let Ok(folder) = openat(open.folder, name, FOLDER, Mode::empty()) else { return self.keep_out(open, place) };
        let Ok(about) = fstat(&folder) else { return self.keep_out(open, place) };
        if self.done.contains(&(about.st_dev, about.st_ino)) {
            return self.keep_out(open, place);
        }
        let few = child.is_listed || !child.is_known && self.groups.contains(&about.st_gid);
        if few && !others_enter(about.st_mode) {
            return self.keep_out(open, place);
        }
        match self.down(&folder, child, depth + 1)? {
            Found::Parts => self.keep_out(open, place),
            Found::Whole if open.is_whole => {
                open.clean.push((name.to_owned(), Some((about.st_dev, about.st_ino))));
                Ok(())
            }
            Found::Whole => self.allow(folder.as_fd()),
        }
    }

    /// The folder cannot be granted whole: what was clean so far is granted by itself.
    fn keep_out(&mut self, open: &mut Open<'_>, place: &Place) -> Result<(), Stop> {
        open.is_whole = false;
        for (name, folder) in std::mem::take(&mut open.clean) {
            self.grant_name(open.folder, &name, folder, place.is_listed)?;
        }
        Ok(())
    }

    /// Opens a name again and grants it if it is still what was seen: this folder, or a file that may be read.
    fn grant_name(
        &mut self,
        folder: &OwnedFd,
        name: &CStr,
        seen: Option<(u64, u64)>,
        is_listed: bool,
    ) -> Result<(), Stop> {
        let Ok(object) = openat(folder, name, NAMED, Mode::empty()) else { return Ok(()) };
        let Ok(about) = fstat(&object) else { return Ok(()) };
        match seen {
            Some(seen) if seen == (about.st_dev, about.st_ino) => self.allow(object.as_fd()),
            Some(_) => Ok(()),
            None => self.file(&object, &about, is_listed).map(drop).map_err(Stop::Rule),
        }
    }

    fn allow(&mut self, object: BorrowedFd<'_>) -> Result<(), Stop> {
        self.ruleset.allow(object, self.rights).map_err(Stop::Rule)
    }

    fn is_linked(&self, stat: &Stat) -> bool {
        !self.linked.is_empty() && self.linked.contains(&(stat.st_dev, stat.st_ino))
    }
}

/// A folder in the middle of its walk.
#[derive(Debug)]
struct Open<'a> {
    folder: &'a OwnedFd,
    /// What was clean while the folder still may be granted whole; for folders, which they were.
    clean: Vec<(CString, Option<(u64, u64)>)>,
    is_whole: bool,
}

fn stat(folder: &OwnedFd, name: &CStr) -> Result<Stat, Errno> {
    statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
