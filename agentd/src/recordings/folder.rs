//! The folder of recordings: root writes, the courier reads, nobody else enters.

use super::{Ended, KINDS, Key, Open, Removed, Used};
use crate::log::warn;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tether_identity::SessionId;

/// Where recordings are.
pub const FOLDER: &str = "/var/lib/tether/recordings";
/// The most bytes of a mark.
const MARK_MAX: u64 = 64 * 1024;
/// Whose group reads them, to ship them.
const READER: &str = "tether-courier";

/// A folder of recordings.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    group: Option<u32>,
}

/// One that is over.
struct Over {
    key: Key,
    path: PathBuf,
    bytes: u64,
    /// When it was last written to.
    since: SystemTime,
    shipped: bool,
}

impl Folder {
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let group = group_of(READER, &fs::read_to_string("/etc/group")?);
        let folder = Self { path, group };
        folder.make(&folder.path)?;
        Ok(folder)
    }

    /// Those that have recordings. What is no folder is no session's, whatever its name.
    pub fn sessions(&self) -> io::Result<Vec<SessionId>> {
        let mut sessions = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let Some(session) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => sessions.push(session),
                _ => warn(format_args!("{} is no folder [recording.not_plain]", entry.path().display())),
            }
        }
        Ok(sessions)
    }

    /// A session's last number and bytes, and what has no end on record.
    pub fn look(&self, session: &SessionId) -> io::Result<(Used, Vec<(String, Open)>)> {
        let (mut used, mut open) = (Used::default(), Vec::new());
        for entry in fs::read_dir(self.path.join(session.as_str()))? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some((name, kind)) = name.rsplit_once('.') else { continue };
            if let Some((of, number)) =
                name.rsplit_once('-').and_then(|(of, number)| Some((of, number.parse::<u32>().ok()?)))
            {
                let last = KINDS.iter().zip(&mut used.last).filter(|(kind, _)| kind.as_str() == of);
                last.for_each(|(_, last)| *last = number.max(*last));
            }
            match kind {
                // One that is gone by now takes no room.
                "rec" => used.bytes += entry.metadata().map_or(0, |about| about.len()),
                "open" => open.extend(read_mark(&entry.path()).map(|mark| (name.to_owned(), mark))),
                _ => {}
            }
        }
        Ok((used, open))
    }

    pub fn recording(&self, (session, name): &Key) -> PathBuf {
        self.path.join(session.as_str()).join(format!("{name}.rec"))
    }

    fn marked(&self, (session, name): &Key) -> PathBuf {
        self.path.join(session.as_str()).join(format!("{name}.open"))
    }

    /// The last bytes of a recording.
    pub fn tail(&self, key: &Key, count: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.recording(key))?;
        let mut bytes = vec![0; count];
        let at = file.metadata()?.len().checked_sub(count as u64).ok_or(io::ErrorKind::UnexpectedEof)?;
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Makes a recording's file, with its header, on stable storage. It is open to append only.
    pub fn create(&self, key: &Key, header: &[u8]) -> io::Result<OwnedFd> {
        let path = self.recording(key);
        let mut file = File::options().append(true).create_new(true).mode(0o640).open(&path)?;
        let written = file.write_all(header).and_then(|()| self.give(&path));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(file.into())
    }

    /// Notes what an agentd that is started anew needs to know. It is not waited for: a recording whose machine ended
    /// suddenly is told by its records, and its folder is looked through.
    pub fn mark(&self, key: &Key, open: &Open) -> io::Result<()> {
        let path = self.marked(key);
        if let Some(folder) = path.parent() {
            self.make(folder)?;
        }
        let beside = path.with_extension("new");
        let written = fs::write(&beside, serde_json::to_vec(open)?).and_then(|()| fs::rename(&beside, &path));
        written.inspect_err(|_| drop(fs::remove_file(&beside)))
    }

    pub fn unmark(&self, key: &Key) {
        gone(fs::remove_file(self.marked(key)), &self.marked(key));
    }

    /// Notes what the record of its removal, in weeks, needs to know. It is not waited for: a power cut can take it, and
    /// then that record knows the session alone.
    pub fn note_ended(&self, key: &Key, ended: &Ended) {
        let path = self.recording(key).with_extension("ended");
        let file = || File::options().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let text = serde_json::to_vec(ended).map_err(io::Error::from);
        let written = text.and_then(|text| file()?.write_all(&text));
        written.unwrap_or_else(|error| warn(format_args!("{}: {error}", path.display())));
    }

    pub fn remove(&self, key: &Key) {
        gone(fs::remove_file(self.recording(key)), &self.recording(key));
        self.unmark(key);
    }

    /// Notes that central has it, in central's words. One that is longer here than there is not shipped: somebody has
    /// written to it since its end went on record, and what they wrote is evidence too.
    pub fn note_shipped(&self, key: &Key, bytes: u64, text: &str) -> io::Result<()> {
        let path = self.recording(key);
        let length = match fs::symlink_metadata(&path) {
            Ok(about) => about.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if length > bytes {
            let why = format!("{} of {} has {length} bytes, and central has {bytes} of them", key.1, key.0);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        fs::write(path.with_extension("shipped"), text)
    }

    /// Whether this host ships its recordings: then what was not shipped is not removed. A file `ships` says so; if that
    /// cannot be known, nothing is removed either.
    pub fn ships(&self) -> bool {
        !is_missing(fs::symlink_metadata(self.path.join("ships")))
    }

    /// Removes what is older than `age` and over. Where a host
    /// ships its recordings (`ships`), only what was shipped: `NAME.shipped` lies beside it.
    pub fn sweep(&self, age: Duration, ships: bool) -> io::Result<Vec<Removed>> {
        let mut removed = Vec::new();
        for one in self.over()? {
            let is_old = SystemTime::now().duration_since(one.since).is_ok_and(|old| old > age);
            if is_old && (one.shipped || !ships) {
                removed.extend(self.let_go(one));
            }
        }
        Ok(removed)
    }

    /// Removes what was shipped, the oldest first, until so many bytes are free of it.
    pub fn make_room(&self, wanted: u64) -> io::Result<Vec<Removed>> {
        let mut over = self.over()?;
        over.retain(|one| one.shipped);
        over.sort_by_key(|one| one.since);
        let (mut removed, mut freed) = (Vec::new(), 0);
        for one in over {
            if freed >= wanted {
                break;
            }
            freed += one.bytes;
            removed.extend(self.let_go(one));
        }
        Ok(removed)
    }

    /// Removes a recording, what lies beside it, and its folder when nothing is left in it.
    fn let_go(&self, Over { key, path, bytes, .. }: Over) -> Option<Removed> {
        let ended = read_plain(&path.with_extension("ended")).ok();
        if let Err(error) = fs::remove_file(&path) {
            warn(format_args!("{}: {error} [recording.unreadable]", path.display()));
            return None;
        }
        for beside in ["shipped", "ended", "unread"] {
            let _ = fs::remove_file(path.with_extension(beside));
        }
        let _ = path.parent().filter(|folder| **folder != *self.path).map(fs::remove_dir);
        Some(Removed { key, bytes, ended })
    }

    /// Recordings that are over.
    fn over(&self) -> io::Result<Vec<Over>> {
        let mut over = Vec::new();
        for session in self.sessions()? {
            let folder = self.path.join(session.as_str());
            // What is wrong with one keeps no other.
            if let Err(error) = Self::look_for_over(&folder, &session, &mut over) {
                warn(format_args!("{}: {error} [recording.unreadable]", folder.display()));
            }
            // Of a session that recorded nothing.
            let _ = fs::remove_dir(&folder);
        }
        Ok(over)
    }

    fn look_for_over(folder: &Path, session: &SessionId, over: &mut Vec<Over>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if path.extension().is_none_or(|kind| kind != "rec") {
                continue;
            }
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            // A link or a folder is no recording of ours, and stays for a person to look at.
            let shipped = fs::symlink_metadata(path.with_extension("shipped")).is_ok_and(|about| about.is_file());
            let is_open = !is_missing(fs::symlink_metadata(path.with_extension("open")));
            if about.is_file() && !is_open {
                let (key, bytes, since) = ((session.clone(), name), about.len(), about.modified()?);
                over.push(Over { key, path, bytes, since, shipped });
            }
        }
        Ok(())
    }

    fn make(&self, folder: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o750).create(folder) {
            Ok(()) => self.give(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn give(&self, path: &Path) -> io::Result<()> {
        self.group.map_or(Ok(()), |group| chown(path, None, Some(group)))
    }
}

/// A mark that cannot be read says nothing, but that its recording goes on for ever: it would never be whole anywhere, nor
/// ever go. It is moved aside. If the recording has no end on record, the chain says so, and its end is told.
fn read_mark(path: &Path) -> Option<Open> {
    let error = match read_plain(path) {
        Ok(open) => return Some(open),
        Err(error) => error,
    };
    let moved = fs::rename(path, path.with_extension("unread"));
    let whither =
        moved.map_or_else(|error| format!("and cannot be moved aside: {error}"), |()| "moved aside".to_owned());
    warn(format_args!("{}: {error} [recording.mark]; {whither}", path.display()));
    None
}

/// What agentd noted in a file. Whatever else has its name is not waited for.
fn read_plain<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    let about = fs::symlink_metadata(path)?;
    if !about.is_file() || about.len() > MARK_MAX {
        return Err(io::Error::other("it is no file, or too long"));
    }
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Only if it is known that it is not there.
fn is_missing<T>(looked: io::Result<T>) -> bool {
    looked.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn gone(result: io::Result<()>, path: &Path) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => warn(format_args!("{}: {error}", path.display())),
        _ => {}
    }
}

/// From /etc/group itself: agentd asks no name service, which could ask agentd.
fn group_of(name: &str, text: &str) -> Option<u32> {
    let line = text.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}
