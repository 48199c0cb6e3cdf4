//! One look through the folders of programs, with a watch on every folder: what of them is not to be read.

use super::packages;
use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, fstat, fstatfs, openat, statx};
use rustix::io::Errno;
use std::ffi::{CStr, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tether_hostlink::Ground;
use tether_never::{List, Step, Steps, others_enter, others_read};

/// More than this is no host's /usr.
const NAMES_MAX: usize = 3_000_000;
/// As deep as the launcher walks.
const DEPTH_MAX: usize = 64;
/// What may have come with a package is looked up; of more than this nothing is.
const CANDIDATES_MAX: usize = 4_096;
/// A plan has room for so much.
const CLOSED_MAX: usize = 256;
const CLOSED_BYTES_MAX: usize = 16 << 10;

/// How many watches one user may have; all of root's programs share them.
const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";
/// If it cannot be read: what the smallest hosts have.
const WATCHES_LEAST: usize = 8_192;

/// File systems that others change without a word to this kernel (statfs(2)): NFS, SMB, CIFS, FUSE, Ceph, 9P, AFS.
const REMOTE: [u32; 8] = [0x6969, 0xfe53_4d42, 0xff53_4d42, 0x517b, 0x6573_5546, 0x00c3_6400, 0x0102_1997, 0x5346_414f];

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
/// What makes something readable that was not there, or not so, before.
const EVENTS: WatchFlags =
    WatchFlags::CREATE.union(WatchFlags::MOVED_TO).union(WatchFlags::ATTRIB).union(WatchFlags::ONLYDIR);

/// Why nothing is known.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The kernel keeps no more watches.
    #[error("folders cannot be watched: {0}; fs.inotify.max_user_watches says how many one user may")]
    Watch(Errno),
    /// A folder or file cannot be looked at.
    #[error("{0} cannot be looked at: {1}")]
    Look(String, Errno),
    /// There are too many names, or too many of them stay out.
    #[error("{0}")]
    TooMany(&'static str),
}

/// What a look found.
#[derive(Debug)]
pub struct Looked {
    /// Becomes readable when that may have changed.
    pub changes: OwnedFd,
    /// What to tell the launcher.
    pub ground: Vec<Ground>,
}

/// Looks through folders; `lists` are the package manager's. Takes at most half of root's watches: systemd and
/// everything else of root's needs some, too.
pub fn look(roots: &[&str], lists: &Path) -> Result<Looked, Trouble> {
    let most = std::fs::read_to_string(WATCHES).ok().and_then(|text| text.trim().parse().ok());
    look_with(roots, lists, most.unwrap_or(WATCHES_LEAST) / 2)
}

fn look_with(roots: &[&str], lists: &Path, watches: usize) -> Result<Looked, Trouble> {
    let changes = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).map_err(Trouble::Watch)?;
    let list = List::new();
    let mut ground = Vec::new();
    let (mut names, mut folders) = (0, 0);
    for root in roots {
        // A link leads to a folder that is looked at itself.
        let Ok(folder) = openat(CWD, *root, FOLDER, Mode::empty()) else { continue };
        let Some(steps) = walked(&list, root) else { continue };
        if fstatfs(&folder).is_ok_and(|about| REMOTE.contains(&(about.f_type as u32))) {
            continue; // the launcher looks itself
        }
        watch_above(&changes, root)?;
        let mut look = Look {
            changes: &changes,
            list: &list,
            path: root.as_bytes().to_vec(),
            names,
            folders,
            watches,
            found: Vec::new(),
        };
        let at = about(&folder, c"").map_err(|errno| look.trouble(errno))?;
        look.folder(&folder, &Place { steps, mount: at.stx_mnt_id, is_hidden: false }, 0)?;
        (names, folders) = (look.names, look.folders);
        let found = look.found;
        let stat = fstat(&folder).map_err(|errno| Trouble::Look((*root).to_owned(), errno))?;
        let closed = closed(&changes, root, found, lists)?;
        ground.push(Ground { path: (*root).to_owned(), device: stat.st_dev, inode: stat.st_ino, closed });
    }
    let all = || ground.iter().flat_map(|one| &one.closed);
    if all().count() > CLOSED_MAX || all().map(|path| path.len() + 3).sum::<usize>() > CLOSED_BYTES_MAX {
        return Err(Trouble::TooMany("too much in the folders of programs is not to be read"));
    }
    Ok(Looked { changes, ground })
}

/// Another folder may come to lie at a root's place.
fn watch_above(changes: &OwnedFd, root: &str) -> Result<(), Trouble> {
    let above = Path::new(root).parent().filter(|above| *above != Path::new("/"));
    above.map_or(Ok(()), |above| add_watch(changes, above, EVENTS).map(drop).map_err(Trouble::Watch))
}

fn walked(list: &List, path: &str) -> Option<Steps> {
    path.split('/').filter(|name| !name.is_empty()).try_fold(Steps::root(), |steps, name| {
        match list.step(&steps, name.as_bytes()) {
            Step::On(next) => Some(next),
            Step::Never(_) => None,
        }
    })
}

/// What stays out unless a package brought it: then it is public.
#[derive(Debug)]
pub struct Candidate {
    /// Where.
    pub path: Vec<u8>,
    /// When its contents changed last, in seconds. A folder has none.
    pub modified: Option<i64>,
    /// Not even a package's word counts.
    pub is_certain: bool,
}

/// Of the candidates those that stay out, relative to the root. What lies below one that stays out is not named.
fn closed(changes: &OwnedFd, root: &str, found: Vec<Candidate>, lists: &Path) -> Result<Vec<String>, Trouble> {
    let brought = packages::brought(&found, lists);
    let mut closed: Vec<String> = Vec::new();
    let mut last: Vec<u8> = Vec::new();
    for (candidate, is_brought) in found.into_iter().zip(brought) {
        let is_below =
            !last.is_empty() && candidate.path.starts_with(&last) && candidate.path.get(last.len()) == Some(&b'/');
        if is_below || is_brought && !candidate.is_certain && stays(changes, &candidate)? {
            continue;
        }
        closed.push(relative(root, &candidate.path)?);
        last = candidate.path;
    }
    closed.dedup();
    Ok(closed)
}

/// Whether a file that a package brought is as it was. From here on whoever writes to it is an event, too; for other
/// files what is in them does not matter.
fn stays(changes: &OwnedFd, candidate: &Candidate) -> Result<bool, Trouble> {
    let Some(modified) = candidate.modified else { return Ok(true) };
    let path = Path::new(OsStr::from_bytes(&candidate.path));
    let folder = path.parent().unwrap_or(path);
    match add_watch(changes, folder, EVENTS | WatchFlags::MODIFY) {
        // It is another folder by now, or none: an event that waits already.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        other => other.map_err(Trouble::Watch)?,
    };
    let now = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::MTIME);
    Ok(now.is_ok_and(|now| now.stx_mtime.tv_sec == modified))
}

/// A name that is no text is not told; its folder stays out instead.
fn relative(root: &str, path: &[u8]) -> Result<String, Trouble> {
    let mut rest = path.get(root.len() + 1..).unwrap_or_default();
    loop {
        if let Ok(text) = std::str::from_utf8(rest)
            && !text.is_empty()
        {
            return Ok(text.to_owned());
        }
        let cut = rest.iter().rposition(|byte| *byte == b'/');
        rest =
            cut.and_then(|cut| rest.get(..cut)).ok_or(Trouble::TooMany("a name in a folder of programs is no text"))?;
    }
}

/// Where a look stands.
struct Place {
    steps: Steps,
    mount: u64,
    /// Below something that stays out unless a package brought it.
    is_hidden: bool,
}

struct Look<'a> {
    changes: &'a OwnedFd,
    list: &'a List,
    path: Vec<u8>,
    names: usize,
    folders: usize,
    /// The most folders.
    watches: usize,
    found: Vec<Candidate>,
}

impl Look<'_> {
    fn folder(&mut self, folder: &OwnedFd, place: &Place, depth: usize) -> Result<(), Trouble> {
        self.folders += 1;
        if self.folders > self.watches {
            return Err(Trouble::TooMany(
                "the folders of programs are more than half of the watches that root may have \
                 (fs.inotify.max_user_watches)",
            ));
        }
        // Before it is listed: what comes later is an event. By the descriptor, so that it is this folder.
        let link = format!("/proc/self/fd/{}", folder.as_raw_fd());
        add_watch(self.changes, link, EVENTS).map_err(Trouble::Watch)?;
        let mut buffer = [MaybeUninit::uninit(); 8 << 10];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|errno| self.trouble(errno))?;
            let (name, kind) = (entry.file_name(), entry.file_type());
            let is_other = matches!(
                kind,
                FileType::Symlink | FileType::Socket | FileType::CharacterDevice | FileType::BlockDevice
            );
            if is_other || name == c"." || name == c".." {
                continue;
            }
            self.names += 1;
            if self.names > NAMES_MAX {
                return Err(Trouble::TooMany("there are too many files in the folders of programs"));
            }
            let length = self.path.len();
            self.path.push(b'/');
            self.path.extend_from_slice(name.to_bytes());
            self.entry(folder, name, place, depth)?;
            self.path.truncate(length);
        }
        Ok(())
    }

    fn entry(&mut self, folder: &OwnedFd, name: &CStr, place: &Place, depth: usize) -> Result<(), Trouble> {
        let at = match about(folder, name) {
            Ok(at) => at,
            Err(Errno::NOENT) => return Ok(()), // its going is no news, its coming back is an event
            Err(errno) => return Err(self.trouble(errno)),
        };
        let mode = u32::from(at.stx_mode);
        let (steps, is_never) = match self.list.step(&place.steps, name.to_bytes()) {
            Step::On(steps) => (steps, false),
            Step::Never(_) => (Steps::default(), true),
        };
        match FileType::from_raw_mode(mode) {
            FileType::RegularFile => {
                // What a package brought is public if everybody may read it: a company's own packages may bring keys.
                // What is mounted over it may go without a word.
                let is_certain = !others_read(mode) || at.stx_mnt_id != place.mount;
                if place.is_hidden || is_never || is_certain {
                    self.note(Some(at.stx_mtime.tv_sec), is_certain);
                }
                Ok(())
            }
            FileType::Directory => {
                let is_hidden = place.is_hidden || is_never;
                // What is mounted there now, or will lie there when it no longer is, the launcher looks at itself.
                let is_certain = at.stx_mnt_id != place.mount || depth >= DEPTH_MAX || !others_enter(mode);
                let is_certain = is_certain || is_hidden && self.found.len() >= CANDIDATES_MAX;
                if is_hidden || is_certain {
                    self.note(None, is_certain);
                }
                if is_certain {
                    return Ok(());
                }
                match openat(folder, name, FOLDER, Mode::empty()) {
                    Ok(below) => self.folder(&below, &Place { steps, mount: place.mount, is_hidden }, depth + 1),
                    Err(Errno::NOENT) => Ok(()),
                    Err(errno) => Err(self.trouble(errno)),
                }
            }
            // To read a FIFO is to take from whoever waits for it.
            FileType::Fifo => {
                self.note(None, true);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn note(&mut self, modified: Option<i64>, is_certain: bool) {
        self.found.push(Candidate { path: self.path.clone(), modified, is_certain });
    }

    fn trouble(&self, errno: Errno) -> Trouble {
        Trouble::Look(String::from_utf8_lossy(&self.path).into_owned(), errno)
    }
}

fn about(folder: &OwnedFd, name: &CStr) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    statx(folder, name, flags, StatxFlags::TYPE | StatxFlags::MODE | StatxFlags::MTIME | StatxFlags::MNT_ID)
}

#[cfg(test)]
#[path = "look_tests.rs"]
mod tests;
