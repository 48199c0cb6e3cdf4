//! The folder that a courier drops files into. The courier is not trusted: whatever lies there is opened
//! as if an attacker had put it there.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::OwnedFd;

/// The most bytes of one file that are read.
const FILE_MAX: u64 = 256 * 1024;
/// The most files that are looked at in one pass, beside those that are asked for by name.
const FILES_MAX: usize = 4096;
/// The most names that are listed in one pass. Names that mean nothing stay where they are.
const NAMES_MAX: usize = 65_536;

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
                stem.strip_prefix("bundle-").map(|digest| Self::Bundle(digest.to_owned()))
            }
        }
    }

    /// Whether the file stays: it is replaced by newer ones, not used up.
    pub fn stays(&self) -> bool {
        matches!(self, Self::Keys | Self::Head)
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
    /// Longer than any statement.
    #[error("it has more than {FILE_MAX} bytes")]
    TooLong,
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
    ///
    /// What is waited for, the `next` statement first of all, is asked for by its name: no amount of other files
    /// can hide it.
    pub fn items(&self, next: u64) -> Result<Vec<(Item, String)>, Errno> {
        let statements = (next..next.saturating_add(FILES_MAX as u64)).map(|number| format!("feed-{number}.jws"));
        let waiting = statements.take_while(|name| self.has(name));
        let fixed = ["keys.jws", "resume.jws", "head.jws"].map(str::to_owned).into_iter().filter(|name| self.has(name));
        let named: Vec<String> = fixed.chain(waiting).collect();
        let listed = rustix::fs::Dir::read_from(&self.0)?.take(NAMES_MAX).map_while(Result::ok);
        let listed = listed.filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned));
        let listed = listed.filter(|name| Item::parse(name).is_some()).take(FILES_MAX);
        let names = named.into_iter().chain(listed);
        let items: BTreeSet<_> = names.filter_map(|name| Some((Item::parse(&name)?, name))).collect();
        Ok(items.into_iter().collect())
    }

    fn has(&self, name: &str) -> bool {
        statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// Reads one file, if it is plain, short and text. Never waits: a FIFO is not waited for.
    pub fn read(&self, name: &str) -> Result<String, Unreadable> {
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
        if u64::try_from(about.st_size).unwrap_or(u64::MAX) > FILE_MAX {
            return Err(Unreadable::TooLong);
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::from(file).take(FILE_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|error| Unreadable::Errno(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(Unreadable::TooLong);
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
        for name in
            ["head.jws", "feed-10.jws", "feed-9.jws", "keys.jws", "x", "feed-x.jws", "bundle-b.jws", ".feed-1.jws"]
        {
            std::fs::write(folder.path().join(name), "a").unwrap();
        }
        let items: Vec<Item> = inbox.items(9).unwrap().into_iter().map(|(item, _)| item).collect();
        assert_eq!(items, [Item::Keys, Item::Statement(9), Item::Statement(10), Item::Bundle("b".into()), Item::Head]);
    }

    #[test]
    fn no_amount_of_other_files_hides_what_is_waited_for() {
        let (folder, inbox) = inbox();
        let write = |name: String| std::fs::write(folder.path().join(name), "a").unwrap();
        (0..3 * FILES_MAX).for_each(|n| write(format!("feed-{}.jws", 100_000 + n)));
        (7..10).for_each(|n| write(format!("feed-{n}.jws")));
        write("head.jws".to_owned());
        (0..FILES_MAX).for_each(|n| write(format!("junk-{n}")));
        let items: Vec<Item> = inbox.items(7).unwrap().into_iter().map(|(item, _)| item).collect();
        assert_eq!(items[..3], [Item::Statement(7), Item::Statement(8), Item::Statement(9)]);
        assert_eq!(items.last(), Some(&Item::Head));
        assert!(items.len() <= FILES_MAX + 4);
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
        assert_eq!(inbox.read("good").as_deref(), Ok("text"));
        for name in ["link", "linked", "second-name", "folder", "fifo"] {
            assert_eq!(inbox.read(name), Err(Unreadable::NotPlain), "{name}");
        }
        assert_eq!(inbox.read("huge"), Err(Unreadable::TooLong));
        assert_eq!(inbox.read("bytes"), Err(Unreadable::NotText));
        assert_eq!(inbox.read("none"), Err(Unreadable::Errno(Errno::NOENT)));
    }

    #[test]
    fn a_folder_behind_a_symlink_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        symlink("/tmp", folder.path().join("inbox")).unwrap();
        assert!(Inbox::open(folder.path().join("inbox").to_str().unwrap()).is_err());
    }
}
