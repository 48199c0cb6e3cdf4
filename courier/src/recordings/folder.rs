//! Which recordings there are that were not shipped.

use super::Key;
use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tether_identity::SessionId;
use tether_recording::is_name;

/// A folder that was changed within that time may be changed again without showing it: its times are no finer.
const SETTLED: Duration = Duration::from_secs(2);

/// A recording that was not shipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub key: Key,
    /// Whether its end is not on record.
    pub open: bool,
    pub length: u64,
}

/// A folder of sessions.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Sessions that have nothing to ship as long as their folder is of that time: most of them, for weeks.
    done: BTreeMap<String, SystemTime>,
    /// Names of sessions that cannot be looked into: told once.
    odd: BTreeSet<String>,
}

impl Folder {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), done: BTreeMap::new(), odd: BTreeSet::new() }
    }

    /// What there is, in an order that stays.
    pub fn look(&mut self) -> Result<Vec<Found>> {
        let (mut all, mut done, mut odd) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        for entry in fs::read_dir(&self.path).with_context(|| format!("{}", self.path.display()))? {
            let entry = entry?;
            let Some(session) = entry.file_name().to_str().filter(|name| is_session(name)).map(str::to_owned) else {
                continue;
            };
            let Ok(about) = entry.metadata() else { continue };
            if !about.is_dir() {
                self.tell(&mut odd, session, "is no folder [recording.not_plain]");
                continue;
            }
            let Ok(time) = about.modified() else { continue };
            if self.done.get(&session) == Some(&time) {
                done.insert(session, time);
                continue;
            }
            match self.look_into(&session) {
                Ok(found) if found.is_empty() && time.elapsed().is_ok_and(|age| age > SETTLED) => {
                    done.insert(session, time);
                }
                Ok(found) => all.extend(found),
                // Its last recording was removed, and it with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // It delays no other.
                Err(error) => {
                    self.tell(&mut odd, session, &format!("cannot be looked into [recording.unreadable]: {error}"));
                }
            }
        }
        (self.done, self.odd) = (done, odd);
        all.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(all)
    }

    fn tell(&self, odd: &mut BTreeSet<String>, session: String, what: &str) {
        if !self.odd.contains(&session) {
            eprintln!("<4>tether-courier: {} {what}: it is passed over", self.path.join(&session).display());
        }
        odd.insert(session);
    }

    fn look_into(&self, session: &str) -> io::Result<Vec<Found>> {
        let folder = self.path.join(session);
        let names = fs::read_dir(&folder)?.map(|entry| entry.map(|entry| entry.file_name().into_string()));
        let names: BTreeSet<String> = names.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
        let recordings = names.iter().filter_map(|file| file.strip_suffix(".rec")).filter(|name| is_name(name));
        let waiting = recordings.filter(|name| !names.contains(&format!("{name}.shipped")));
        Ok(waiting
            .filter_map(|name| {
                // One that is gone by now is no longer waited for.
                let length = fs::symlink_metadata(folder.join(format!("{name}.rec"))).ok()?.len();
                let open = names.contains(&format!("{name}.open"));
                Some(Found { key: (session.to_owned(), name.to_owned()), open, length })
            })
            .collect())
    }

    /// Bytes of a recording; less if it has no more there.
    pub fn read(&self, (session, name): &Key, offset: u64, length: u64) -> Result<Vec<u8>> {
        let path = self.path.join(session).join(format!("{name}.rec"));
        let naming = || format!("{} cannot be read [recording.unreadable]", path.display());
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut opening = File::options();
        opening.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
        let file = opening.open(&path).with_context(naming)?;
        ensure!(file.metadata().with_context(naming)?.is_file(), "{} is no file [recording.not_plain]", path.display());
        let mut bytes = vec![0; usize::try_from(length)?];
        let mut had = 0;
        while let Some(rest) = bytes.get_mut(had..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset + had as u64).with_context(naming)? {
                0 => break,
                count => had += count,
            }
        }
        bytes.truncate(had);
        Ok(bytes)
    }
}

fn is_session(name: &str) -> bool {
    name.parse::<SessionId>().is_ok()
}
