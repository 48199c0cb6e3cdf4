//! Files in agentd's inbox: each written beside and renamed.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};
use tether_centrallink::random;

/// The most receipts that wait to be read. agentd looks at so many files at a time, and an agentd that was away must find
/// what others wait for; central says the same word again.
const RECEIPTS_MAX: usize = 256;

/// How names begin of what was in the way.
const ASIDE: &str = ".aside-";

/// The folder.
#[derive(Debug, Clone)]
pub struct Inbox(PathBuf);

impl Inbox {
    /// At a path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Puts central's word about a recording there, unless many are waiting: agentd is away, or has more to do.
    pub fn put_receipt(&self, session: &str, name: &str, text: &str) -> Result<()> {
        let waiting = std::fs::read_dir(&self.0).with_context(|| format!("{}", self.0.display()))?;
        let names = waiting.flatten().map(|entry| entry.file_name());
        if names.filter(|name| name.to_string_lossy().starts_with("shipped-")).count() >= RECEIPTS_MAX {
            return Ok(());
        }
        self.put(&format!("shipped-{session}-{name}.jws"), text)
    }

    /// Puts a text there. The name comes from central: only what cannot leave the folder is taken.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(plain) {
            bail!("{name:?} is no name of a file for the inbox");
        }
        let beside = format!(".{name}");
        self.clear(&beside)?;
        self.clear(name)?;
        let path = self.0.join(&beside);
        write_new(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::rename(&path, self.0.join(name)).with_context(|| format!("cannot place {name}"))
    }

    /// A folder in a file's place would stay there for ever, and what comes under that name would never arrive.
    fn clear(&self, name: &str) -> Result<()> {
        let path = self.0.join(name);
        if !std::fs::symlink_metadata(&path).is_ok_and(|about| about.is_dir()) {
            return Ok(());
        }
        let aside = format!("{ASIDE}{name}-{}", random::name(8)?);
        std::fs::rename(&path, self.0.join(&aside)).with_context(|| format!("{name} in the inbox is a folder"))?;
        eprintln!("<4>tether-courier: {name} in the inbox is a folder [inbox.not_plain]: it is set aside as {aside}");
        Ok(())
    }

    /// Removes what a courier was writing when it was killed: agentd looks at so many names at a time.
    pub fn tidy(&self) {
        let names = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        for name in names.map(|entry| entry.file_name()) {
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".jws") && !name.starts_with(ASIDE) {
                // A folder stays until something wants its name.
                drop(std::fs::remove_file(self.0.join(&*name)));
            }
        }
    }
}

/// The folder is the courier's, and root writes there when a host enrols: a link that lies in wait under the name is
/// removed, never followed.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receipts_leave_room_for_what_others_wait_for() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::new(folder.path());
        for number in 0..RECEIPTS_MAX + 10 {
            inbox.put_receipt("0123456789abcdef", &format!("sudo-{number}"), "a word").unwrap();
        }
        inbox.put("keys.jws", "keys").unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), RECEIPTS_MAX + 1);
        std::fs::remove_file(folder.path().join("shipped-0123456789abcdef-sudo-7.jws")).unwrap();
        inbox.put_receipt("0123456789abcdef", "sudo-999", "a word").unwrap();
        assert!(folder.path().join("shipped-0123456789abcdef-sudo-999.jws").exists());
    }

    #[test]
    fn a_link_that_lies_in_wait_is_not_written_through() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let inbox = folder.path().join("inbox");
        std::fs::create_dir(&inbox).unwrap();
        for name in [".keys.jws", "keys.jws"] {
            std::os::unix::fs::symlink(&victim, inbox.join(name)).unwrap();
        }
        // The attack is one: what follows links writes over it.
        assert!(std::fs::File::options().append(true).open(inbox.join(".keys.jws")).is_ok());
        Inbox::new(&inbox).put("keys.jws", "a").unwrap();
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(std::fs::read_to_string(inbox.join("keys.jws")).unwrap(), "a");
    }

    #[test]
    fn names_stay_in_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::new(folder.path());
        inbox.put("feed-1.jws", "a").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("feed-1.jws")).unwrap(), "a");
        for bad in ["", "../x", "a/b", ".x", "a b", "a\0b", &"a".repeat(201)] {
            assert!(inbox.put(bad, "a").is_err(), "{bad:?}");
        }
    }

    /// Whatever lies in the way of a name: what comes under it arrives, and what was there is not lost.
    #[test]
    fn what_is_in_the_way_is_set_aside() {
        for name in ["head.jws", ".head.jws"] {
            let folder = tempfile::tempdir().unwrap();
            let (inbox, at) = (Inbox::new(folder.path()), |name: &str| folder.path().join(name));
            std::fs::create_dir(at(name)).unwrap();
            std::fs::write(at(name).join("evidence"), "kept").unwrap();
            // The attack is one: a file takes no folder's name.
            std::fs::write(at("file"), "a").unwrap();
            assert!(std::fs::rename(at("file"), at(name)).is_err());
            for text in ["one", "two"] {
                inbox.put("head.jws", text).unwrap();
                assert_eq!(std::fs::read_to_string(at("head.jws")).unwrap(), text, "{name}");
            }
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            let aside: Vec<_> = names.filter(|name| name.to_string_lossy().starts_with(ASIDE)).collect();
            assert_eq!(aside.len(), 1, "{aside:?}");
            assert_eq!(std::fs::read_to_string(at(aside[0].to_str().unwrap()).join("evidence")).unwrap(), "kept");
        }
        // A FIFO, a link to nowhere and a file that nobody may read are replaced.
        let folder = tempfile::tempdir().unwrap();
        let (inbox, at) = (Inbox::new(folder.path()), |name: &str| folder.path().join(name));
        for name in ["keys.jws", ".keys.jws"] {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, at(name), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        }
        std::os::unix::fs::symlink("/nowhere/x", at("resume.jws")).unwrap();
        for name in ["keys.jws", "resume.jws"] {
            inbox.put(name, "text").unwrap();
            assert_eq!(std::fs::read_to_string(at(name)).unwrap(), "text", "{name}");
        }
    }

    #[test]
    fn what_a_killed_courier_left_goes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let inbox = Inbox::new(folder.path());
        let mine = [".feed-7.jws", ".shipped-s-sudo-1.jws"];
        let others = ["feed-7.jws", ".aside-head.jws-abcdefgh", ".hidden", "notes"];
        for name in mine.iter().chain(&others) {
            std::fs::write(folder.path().join(name), "half").unwrap();
        }
        inbox.tidy();
        for name in mine {
            assert!(!folder.path().join(name).exists(), "{name}");
        }
        for name in others {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
