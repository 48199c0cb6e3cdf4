//! The folder that a courier drops files into. The courier is not trusted: whatever lies there is opened
//! as if an attacker had put it there.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
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
    /// `countersigned.jws`: how far central has the audit chain.
    Countersigned,
    /// `head.jws`: after the statements, so that what it names has been read.
    Head,
    /// `shipped-SESSION-NAME.jws`: central has a recording. Last: nobody waits for it, and there may be many.
    Shipped(String),
}

impl Item {
    fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".jws")?;
        match stem {
            "keys" => Some(Self::Keys),
            "resume" => Some(Self::Resume),
            "head" => Some(Self::Head),
            "countersigned" => Some(Self::Countersigned),
            _ => {
                if let Some(number) = stem.strip_prefix("feed-") {
                    return number.parse().ok().map(Self::Statement);
                }
                if let Some(name) = stem.strip_prefix("confirm-") {
                    return Some(Self::Confirmation(name.to_owned()));
                }
                if let Some(name) = stem.strip_prefix("shipped-") {
                    return Some(Self::Shipped(name.to_owned()));
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
    /// Another file took its name, or it was removed, between its opening and the look at it.
    #[error("it is gone")]
    Gone,
}

/// A file that was looked at.
#[derive(Debug)]
pub struct Looked {
    /// Device and inode, if it could be opened: only this very file is removed under its name.
    pub file: Option<(u64, u64)>,
    /// What is in it.
    pub text: Result<String, Unreadable>,
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

    /// Looks at one file.
    pub fn look(&self, item: &Item, name: &str) -> Looked {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = openat(&self.0, name, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
        match opened {
            Ok((about, file)) => {
                Looked { file: Some((about.st_dev, about.st_ino)), text: Self::read(item.longest(), file, &about) }
            }
            Err(Errno::LOOP | Errno::NXIO) => Looked { file: None, text: Err(Unreadable::NotPlain) },
            Err(Errno::NOENT) => Looked { file: None, text: Err(Unreadable::Gone) },
            Err(errno) => Looked { file: None, text: Err(Unreadable::Errno(errno)) },
        }
    }

    /// Reads it, if it is plain, short and text. Never waits: a FIFO is not waited for.
    fn read(longest: u64, file: OwnedFd, about: &Stat) -> Result<String, Unreadable> {
        if about.st_nlink == 0 {
            return Err(Unreadable::Gone);
        }
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

    /// Removes a file that is used up. If the name is another file's by now, that one stays: it is met next.
    pub fn remove(&self, name: &str, file: Option<(u64, u64)>) -> Result<(), Errno> {
        if let Some(file) = file {
            let now = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if (now.st_dev, now.st_ino) != file {
                return Ok(());
            }
        }
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
    fn statements_come_in_order_before_the_head_and_that_before_what_can_wait() {
        let (folder, inbox) = inbox();
        for name in [
            "confirm-t.jws",
            "head.jws",
            "feed-10.jws",
            "feed-9.jws",
            "shipped-s-sudo-1.jws",
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
                Item::Head,
                Item::Shipped("s-sudo-1".into())
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
        assert_eq!(inbox.look(&Item::Head, "good").text.as_deref(), Ok("text"));
        for name in ["link", "linked", "second-name", "folder", "fifo"] {
            assert_eq!(inbox.look(&Item::Head, name).text, Err(Unreadable::NotPlain), "{name}");
        }
        assert_eq!(inbox.look(&Item::Head, "huge").text, Err(Unreadable::TooLong(256 * 1024 + 1)));
        assert_eq!(inbox.look(&Item::Head, "bytes").text, Err(Unreadable::NotText));
        assert_eq!(inbox.look(&Item::Head, "none").text, Err(Unreadable::Gone));
    }

    #[test]
    fn a_newer_file_under_the_name_is_not_removed_with_the_older() {
        let (folder, inbox) = inbox();
        let path = folder.path().join("head.jws");
        std::fs::write(&path, "old").unwrap();
        let old = inbox.look(&Item::Head, "head.jws");
        std::fs::write(folder.path().join(".head.jws"), "new").unwrap();
        std::fs::rename(folder.path().join(".head.jws"), &path).unwrap();
        inbox.remove("head.jws", old.file).unwrap();
        let new = inbox.look(&Item::Head, "head.jws");
        assert_eq!(new.text.as_deref(), Ok("new"));
        inbox.remove("head.jws", new.file).unwrap();
        assert!(!path.exists());
        // Opened, and then replaced before it was looked at: not a file of two names, and nothing to remove.
        std::fs::write(&path, "old").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let about = fstat(&file).unwrap();
        assert_eq!(Inbox::read(100, file.into(), &about), Err(Unreadable::Gone));
    }

    #[test]
    fn a_folder_behind_a_symlink_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/tmp", folder.path().join("inbox")).unwrap();
        assert!(Inbox::open(folder.path().join("inbox").to_str().unwrap()).is_err());
    }
}
