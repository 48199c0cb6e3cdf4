//! The folder that a courier drops files into. The courier is not trusted: whatever lies there is opened
//! as if an attacker had put it there.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::OwnedFd;
use tether_statement::Typ;

/// The most files that are looked at in one pass.
const FILES_MAX: usize = 4096;

/// What may lie in the folder, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    /// `keys.jws`
    Keys,
    /// `resume.jws`
    Resume,
    /// `feed-NUMBER.jws`
    Statement(u64),
    /// `bundle-….jws`
    Bundle(String),
    /// `confirm-NAME.jws`: after the bundle that it is about.
    Confirmation(String),
    /// `head.jws`: last, so that what it names has been read.
    Head,
}

impl Item {
    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".jws")?;
        match stem {
            "keys" => Some(Self::Keys),
            "resume" => Some(Self::Resume),
            "head" => Some(Self::Head),
            _ => {
                if let Some(number) = stem.strip_prefix("feed-") {
                    return number.parse().ok().map(Self::Statement);
                }
                if let Some(name) = stem.strip_prefix("confirm-") {
                    return Some(Self::Confirmation(name.to_owned()));
                }
                stem.strip_prefix("bundle-").map(|digest| Self::Bundle(digest.to_owned()))
            }
        }
    }

    /// The most bytes that are read of it: what a signed text of its kind may have, and a line's end.
    fn longest(&self) -> u64 {
        let kind = if matches!(self, Self::Bundle(_)) { Typ::Bundle } else { Typ::Grant };
        kind.longest() as u64 + 1
    }

    /// Whether the file stays: it is replaced by newer ones, not used up.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Keys | Self::Head | Self::Confirmation(_))
    }
}

/// Why a file in the folder is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// open(2), read(2).
    #[error("it cannot be read: {0}")]
    Errno(#[from] Errno),
    /// A symlink, FIFO, device or folder; or it has a second name.
    #[error("it is not a plain file with one name")]
    NotPlain,
    /// Longer than any of its kind.
    #[error("it has more than {0} bytes")]
    TooLong(u64),
    /// Not text.
    #[error("it is not UTF-8 text")]
    NotText,
}

/// The open folder.
#[derive(Debug)]
pub struct Inbox(OwnedFd);

impl Inbox {
    /// Opens it. A symlink in its place is refused.
    pub fn open(path: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, path, flags, Mode::empty()).map(Self)
    }

    /// What lies in it, in the order in which it is to be read. Names that mean nothing are passed over.
    pub fn items(&self) -> Result<Vec<(Item, String)>, Errno> {
        let mut items = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.0)?.take(FILES_MAX) {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if let Some(item) = Item::parse(name) {
                items.push((item, name.to_owned()));
            }
        }
        items.sort();
        Ok(items)
    }

    /// Reads one file, if it is plain, short and text. Never waits: a FIFO is not waited for.
    pub fn read(&self, item: &Item, name: &str) -> Result<String, Unreadable> {
        let longest = item.longest();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat(&self.0, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NXIO => Unreadable::NotPlain,
            other => Unreadable::Errno(other),
        })?;
        let about = fstat(&file)?;
        // A hard link could be another user's file, put here so that it gets removed.
        if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile || about.st_nlink != 1 {
            return Err(Unreadable::NotPlain);
        }
        if u64::try_from(about.st_size).unwrap_or(u64::MAX) > longest {
            return Err(Unreadable::TooLong(longest));
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::from(file).take(longest + 1).read_to_end(&mut bytes);
        read.map_err(|error| Unreadable::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() as u64 > longest {
            return Err(Unreadable::TooLong(longest));
        }
        let text = String::from_utf8(bytes).map_err(|_| Unreadable::NotText)?;
        Ok(text.trim_end().to_owned())
    }

    /// Removes a file that is used up.
    pub fn remove(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.0, name, AtFlags::empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn inbox() -> (tempfile::TempDir, Inbox) {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::open(folder.path().to_str().unwrap()).unwrap();
        (folder, inbox)
    }

    #[test]
    fn statements_come_in_order_and_the_head_last() {
        let (folder, inbox) = inbox();
        for name in [
            "confirm-t.jws",
            "head.jws",
            "feed-10.jws",
            "feed-9.jws",
            "keys.jws",
            "x",
            "feed-x.jws",
            "bundle-b.jws",
            ".feed-1.jws",
        ] {
            std::fs::write(folder.path().join(name), "a").unwrap();
        }
        let items: Vec<Item> = inbox.items().unwrap().into_iter().map(|(item, _)| item).collect();
        assert_eq!(
            items,
            [
                Item::Keys,
                Item::Statement(9),
                Item::Statement(10),
                Item::Bundle("b".into()),
                Item::Confirmation("t".into()),
                Item::Head
            ]
        );
    }

    #[test]
    fn what_is_not_a_plain_short_file_is_not_read() {
        let (folder, inbox) = inbox();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("good"), "text\n").unwrap();
        symlink("/etc/passwd", path("link")).unwrap();
        std::fs::write(path("linked"), "a").unwrap();
        std::fs::hard_link(path("linked"), path("second-name")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        rustix::fs::mknodat(CWD, path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        std::fs::File::create(path("huge")).unwrap().set_len(1 << 40).unwrap();
        std::fs::write(path("bytes"), [0xff, 0xfe]).unwrap();
        assert_eq!(inbox.read(&Item::Head, "good").as_deref(), Ok("text"));
        for name in ["link", "linked", "second-name", "folder", "fifo"] {
            assert_eq!(inbox.read(&Item::Head, name), Err(Unreadable::NotPlain), "{name}");
        }
        assert_eq!(inbox.read(&Item::Head, "huge"), Err(Unreadable::TooLong(256 * 1024 + 1)));
        assert_eq!(inbox.read(&Item::Head, "bytes"), Err(Unreadable::NotText));
        assert_eq!(inbox.read(&Item::Head, "none"), Err(Unreadable::Errno(Errno::NOENT)));
    }

    #[test]
    fn a_folder_behind_a_symlink_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/tmp", folder.path().join("inbox")).unwrap();
        assert!(Inbox::open(folder.path().join("inbox").to_str().unwrap()).is_err());
    }
}
