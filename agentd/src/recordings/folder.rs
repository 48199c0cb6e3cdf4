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
/// Whose group reads them, to ship them.
const READER: &str = "tether-courier";

/// A folder of recordings.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    path: PathBuf,
    group: Option<u32>,
}

impl Folder {
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let group = group_of(READER, &fs::read_to_string("/etc/group")?);
        let folder = Self { path, group };
        folder.make(&folder.path)?;
        Ok(folder)
    }

    /// Those that have recordings.
    pub fn sessions(&self) -> io::Result<Vec<SessionId>> {
        let names = fs::read_dir(&self.path)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        Ok(names.filter_map(|name| name.parse().ok()).collect())
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
                "rec" => used.bytes += entry.metadata()?.len(),
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
        let written = serde_json::to_vec(ended).map_err(io::Error::from).and_then(|text| fs::write(&path, text));
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

    /// Whether this host ships its recordings: then what was not shipped is not removed. A file `ships` says so.
    pub fn ships(&self) -> bool {
        self.path.join("ships").exists()
    }

    /// Removes what is older than `age` and over. Where a host
    /// ships its recordings (`ships`), only what was shipped: `NAME.shipped` lies beside it.
    pub fn sweep(&self, age: Duration, ships: bool) -> io::Result<Vec<Removed>> {
        let mut removed = Vec::new();
        for session in self.sessions()? {
            let folder = self.path.join(session.as_str());
            for entry in fs::read_dir(&folder)? {
                let path = entry?.path();
                let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
                if path.extension().is_none_or(|kind| kind != "rec") {
                    continue;
                }
                let about = fs::metadata(&path)?;
                let is_old = SystemTime::now().duration_since(about.modified()?).is_ok_and(|old| old > age);
                let shipped = path.with_extension("shipped");
                if !is_old || path.with_extension("open").exists() || (ships && !shipped.exists()) {
                    continue;
                }
                let beside = path.with_extension("ended");
                let ended = fs::read(&beside).ok().and_then(|text| serde_json::from_slice(&text).ok());
                fs::remove_file(&path)?;
                for beside in [shipped, beside] {
                    let _ = fs::remove_file(beside);
                }
                removed.push(Removed { key: (session.clone(), name), bytes: about.len(), ended });
            }
            // Only when nothing is left in it.
            let _ = fs::remove_dir(&folder);
        }
        Ok(removed)
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

fn read_mark(path: &Path) -> Option<Open> {
    let read = fs::read(path).and_then(|text| Ok(serde_json::from_slice(&text)?));
    read.inspect_err(|error| warn(format_args!("{}: {error}; that recording's end is not told", path.display()))).ok()
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
