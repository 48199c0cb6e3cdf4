//! Files in agentd's inbox: each written beside and renamed.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The most receipts that wait to be read. agentd looks at so many files at a time, and an agentd that was away must find
/// what others wait for; central says the same word again.
const RECEIPTS_MAX: usize = 256;

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
        let beside = self.0.join(format!(".{name}"));
        write_new(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
        std::fs::rename(&beside, self.0.join(name)).with_context(|| format!("cannot place {name}"))
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
}
