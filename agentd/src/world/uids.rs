//! The uid ledger. Two uids a session, never one that anybody else has or had lately.
//!
//! The file holds, for each pair of the range, when it was last in use (u64, little endian, seconds since
//! 1970; 0 for never), after a header with the next pair. So a pair comes back only after the whole range
//! was used **and** its quarantine is over, across restarts and reboots; central remembers the mark for a
//! disk that is put back.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use tether_hostlink::paths::{UID_FIRST, UID_LAST};
use tether_identity::AccountPair;

/// How long a pair rests before it may come back, in seconds.
pub const QUARANTINE: u64 = 7 * 24 * 3600;

const PAIRS: u32 = (UID_LAST - UID_FIRST).div_ceil(2);
const HEADER: u64 = 8;

/// Why there is no uid to give.
#[derive(Debug, thiserror::Error)]
pub enum UidError {
    /// Every pair is in use, rests, or belongs to somebody.
    #[error("no uid between {UID_FIRST} and {UID_LAST} is free: each was used within 7 days or belongs to somebody")]
    Exhausted,
    /// The ledger or the host's files.
    #[error("the uid ledger: {0}")]
    Disk(#[from] io::Error),
}

impl UidError {
    /// The stable code of the refusal that comes of it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exhausted => "uid.exhausted",
            Self::Disk(_) => "host.disk",
        }
    }
}

/// The ledger.
#[derive(Debug)]
pub struct Uids {
    file: File,
    next: u32,
}

impl Uids {
    /// Opens or makes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let whole = HEADER + u64::from(PAIRS) * 8;
        match file.metadata()?.len() {
            0 => {
                file.set_len(whole)?;
                file.sync_all()?;
            }
            length if length != whole => {
                return Err(io::Error::other(format!("{} has {length} bytes, not {whole}", path.display())));
            }
            _ => {}
        }
        let mut header = [0; 8];
        file.read_exact_at(&mut header, 0)?;
        let next = u32::try_from(u64::from_le_bytes(header)).unwrap_or(0);
        Ok(Self { file, next })
    }

    /// The greatest uid ever given out, or the one below the range.
    pub fn mark(&self) -> u32 {
        (UID_FIRST - 1).saturating_add(self.next.saturating_mul(2)).min(UID_LAST)
    }

    /// Central has seen this uid from this host: what lies up to it counts as used now.
    pub fn raise(&mut self, mark: u32, now: u64) -> io::Result<()> {
        let seen = mark.saturating_sub(UID_FIRST - 1).div_ceil(2).min(PAIRS);
        for pair in self.next..seen {
            self.stamp(pair, now)?;
        }
        if seen > self.next {
            self.advance(seen)?;
        }
        self.file.sync_data()
    }

    /// Takes the next free pair; on disk before it is returned. `now` is central's time.
    pub fn take(&mut self, now: u64) -> Result<AccountPair, UidError> {
        self.take_beside(&Others::read()?, now)
    }

    fn take_beside(&mut self, others: &Others, now: u64) -> Result<AccountPair, UidError> {
        for step in 0..PAIRS {
            let number = self.next.wrapping_add(step);
            let pair = number % PAIRS;
            let uids = uids_of(pair);
            if !self.has_rested(pair, now)? || others.meet(uids) {
                continue;
            }
            self.stamp(pair, now)?;
            self.advance(number + 1)?;
            self.file.sync_data()?;
            return Ok(uids);
        }
        Err(UidError::Exhausted)
    }

    /// A pair is not in use any more: its rest begins. Not waited for: it was stamped, durably, when it was taken.
    pub fn release(&self, uids: AccountPair, now: u64) -> io::Result<()> {
        self.stamp((uids.login - UID_FIRST) / 2, now)
    }

    fn has_rested(&self, pair: u32, now: u64) -> io::Result<bool> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, HEADER + u64::from(pair) * 8)?;
        let last = u64::from_le_bytes(bytes);
        Ok(last == 0 || now >= last.saturating_add(QUARANTINE))
    }

    fn stamp(&self, pair: u32, now: u64) -> io::Result<()> {
        self.file.write_all_at(&now.max(1).to_le_bytes(), HEADER + u64::from(pair) * 8)
    }

    fn advance(&mut self, next: u32) -> io::Result<()> {
        self.file.write_all_at(&u64::from(next).to_le_bytes(), 0)?;
        self.next = next;
        Ok(())
    }
}

fn uids_of(pair: u32) -> AccountPair {
    let login = UID_FIRST + pair * 2;
    AccountPair { login, read_only: login + 1 }
}

/// Whom the host's uids belong to, read anew for each reservation.
struct Others {
    ranges: Vec<(u32, u32)>,
}

impl Others {
    fn read() -> io::Result<Self> {
        let mut ranges = Vec::new();
        for (path, first, count) in [
            ("/etc/passwd", 2, None),
            ("/etc/group", 2, None),
            ("/etc/subuid", 1, Some(2)),
            ("/etc/subgid", 1, Some(2)),
        ] {
            let text = match fs::read_to_string(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            ranges.extend(text.lines().filter_map(|line| range_of(line, first, count)));
        }
        ranges.extend(running()?.into_iter().map(|uid| (uid, uid)));
        Ok(Self { ranges })
    }

    fn meet(&self, uids: AccountPair) -> bool {
        self.ranges.iter().any(|(first, last)| uids.read_only >= *first && uids.login <= *last)
    }
}

fn range_of(line: &str, first: usize, count: Option<usize>) -> Option<(u32, u32)> {
    let fields: Vec<&str> = line.split(':').collect();
    let start: u32 = fields.get(first)?.trim().parse().ok()?;
    let length: u32 = match count {
        Some(index) => fields.get(index)?.trim().parse().ok()?,
        None => 1,
    };
    Some((start, start.saturating_add(length.checked_sub(1)?)))
}

/// Uids in our range that processes run with now.
fn running() -> io::Result<Vec<u32>> {
    let mut uids = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        // A process that ended meanwhile is not running.
        if let Ok(about) = entry.metadata()
            && (UID_FIRST..=UID_LAST).contains(&about.uid())
        {
            uids.push(about.uid());
        }
    }
    Ok(uids)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever else runs on this machine meanwhile plays no part.
    const NOBODY: Others = Others { ranges: Vec::new() };

    fn ledger() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("uids");
        (folder, path)
    }

    #[test]
    fn pairs_go_up_and_do_not_come_back_after_a_restart() {
        let (_folder, path) = ledger();
        let mut uids = Uids::open(&path).unwrap();
        let first = uids.take_beside(&NOBODY, 1000).unwrap();
        uids.release(first, 1001).unwrap();
        let mut uids = Uids::open(&path).unwrap();
        let second = uids.take_beside(&NOBODY, 1002).unwrap();
        assert_eq!(second.login, first.login + 2);
        assert_eq!(uids.mark(), second.read_only);
    }

    #[test]
    fn a_disk_that_was_put_back_goes_on_after_centrals_mark() {
        let (_folder, path) = ledger();
        let mut uids = Uids::open(&path).unwrap();
        uids.raise(UID_FIRST + 9, 1000).unwrap();
        assert_eq!(uids.take_beside(&NOBODY, 1000).unwrap().login, UID_FIRST + 10);
        uids.raise(UID_FIRST, 1000).unwrap();
        assert_eq!(uids.take_beside(&NOBODY, 1000).unwrap().login, UID_FIRST + 12);
    }

    #[test]
    fn a_pair_comes_back_only_after_the_wrap_and_its_rest() {
        let (_folder, path) = ledger();
        let mut uids = Uids::open(&path).unwrap();
        uids.raise(UID_LAST, 1000).unwrap();
        assert!(matches!(uids.take_beside(&NOBODY, 1000 + QUARANTINE - 1), Err(UidError::Exhausted)));
        assert_eq!(uids.take_beside(&NOBODY, 1000 + QUARANTINE).unwrap().login, UID_FIRST);
    }

    #[test]
    fn a_humans_subordinate_uids_are_met() {
        let others = Others { ranges: vec![range_of("alice:65538:10", 1, Some(2)).unwrap()] };
        assert!(!others.meet(AccountPair { login: 65536, read_only: 65537 }));
        assert!(others.meet(AccountPair { login: 65538, read_only: 65539 }));
        assert!(others.meet(AccountPair { login: 65546, read_only: 65547 }));
        assert!(!others.meet(AccountPair { login: 65548, read_only: 65549 }));
        assert_eq!(range_of("alice:x:70000:70000::/:", 2, None), Some((70000, 70000)));
    }
}
