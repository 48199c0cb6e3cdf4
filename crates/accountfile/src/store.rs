//! Reading account files the careful way, for look-ups in any process and for the login shell.
//!
//! One open, one fstat, reads, close; nothing is kept. A file counts only if it is a regular file of the
//! store's owner that nobody else may write, not longer than [`FILE_MAX`], and names what was asked for: a
//! link, a FIFO or a file under a wrong name is no account, not an error.

use crate::{ACCOUNTS, AccountFile, FILE_MAX, has_account_shape, is_agent_uid};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A folder of account files.
#[derive(Debug, Clone, Copy)]
pub struct Store<'a> {
    /// The folder that holds `name/` and `uid/`.
    pub folder: &'a str,
    /// Who must own the files.
    pub owner: u32,
}

impl Store<'static> {
    /// This host's: agentd writes it.
    pub const HOST: Self = Self { folder: ACCOUNTS, owner: 0 };
}

impl Store<'_> {
    /// The account of that name. `Err` only if the answer cannot be known (no descriptors left, I/O error).
    pub fn by_name(self, name: &[u8]) -> io::Result<Option<AccountFile>> {
        let Some(name) = std::str::from_utf8(name).ok().filter(|_| has_account_shape(name)) else {
            return Ok(None);
        };
        let found = self.read(&Path::new(self.folder).join("name").join(name))?;
        Ok(found.filter(|account| account.name == name && is_agent_uid(account.uid)))
    }

    /// The account of that uid.
    pub fn by_uid(self, uid: u32) -> io::Result<Option<AccountFile>> {
        if !is_agent_uid(uid) {
            return Ok(None);
        }
        let path: PathBuf = [self.folder, "uid", &uid.to_string()].iter().collect();
        let found = self.read(&path)?;
        Ok(found.filter(|account| account.uid == uid && has_account_shape(account.name.as_bytes())))
    }

    fn read(self, path: &Path) -> io::Result<Option<AccountFile>> {
        // NONBLOCK: opening a FIFO must not wait for a writer. std adds CLOEXEC.
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) => return if means_no_account(&error) { Ok(None) } else { Err(error) },
        };
        if self.is_trusted(&file)? { contents(&file) } else { Ok(None) }
    }

    fn is_trusted(self, file: &File) -> io::Result<bool> {
        let meta = file.metadata()?;
        Ok(meta.is_file() && meta.uid() == self.owner && meta.mode() & 0o022 == 0 && meta.len() <= FILE_MAX as u64)
    }
}

fn means_no_account(error: &io::Error) -> bool {
    // ENXIO: a socket, or a device without a driver. EACCES: our folders can be searched by everybody.
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO | libc::EACCES))
}

fn contents(file: &File) -> io::Result<Option<AccountFile>> {
    // One byte more than allowed, so that a file that grew since fstat is seen to be too long.
    let mut bytes = Vec::with_capacity(FILE_MAX + 1);
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(AccountFile::read(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("name")).unwrap();
            std::fs::create_dir(folder.path().join("uid")).unwrap();
            Self(folder)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn put(&self, at: &str, name: &str, uid: u32) {
            let principal = Some("tether://t/a/h@example.org".into());
            let (home, shell) = ("/run/tether/home".into(), "/bin/sh".into());
            let (gecos, session) = ("agent".into(), "0123456789abcdef".into());
            let file = AccountFile { name: name.into(), uid, gecos, home, shell, session, principal };
            std::fs::write(self.path(at), file.write().unwrap()).unwrap();
            std::fs::set_permissions(self.path(at), PermissionsExt::from_mode(0o644)).unwrap();
        }

        fn store(&self) -> Store<'_> {
            let owner = std::fs::metadata(self.0.path()).unwrap().uid();
            Store { folder: self.0.path().to_str().unwrap(), owner }
        }

        fn found(&self, name: &str) -> bool {
            self.store().by_name(name.as_bytes()).unwrap().is_some()
        }
    }

    #[test]
    fn an_account_is_found_by_name_and_uid() {
        let fixture = Fixture::new();
        fixture.put("name/ag-a", "ag-a", 65536);
        fixture.put("uid/65536", "ag-a", 65536);
        assert!(fixture.found("ag-a"));
        assert!(fixture.store().by_uid(65536).unwrap().is_some());
        assert!(!fixture.found("ag-b"));
        assert!(fixture.store().by_uid(65537).unwrap().is_none());
        assert!(fixture.store().by_uid(0).unwrap().is_none());
    }

    #[test]
    fn a_file_under_another_name_is_no_account() {
        let fixture = Fixture::new();
        fixture.put("name/ag-a", "ag-b", 65536);
        fixture.put("name/ag-c", "ag-c", 1000);
        fixture.put("uid/65536", "ag-a", 65537);
        fixture.put("uid/65537", "root", 65537);
        assert!(!fixture.found("ag-a") && !fixture.found("ag-c"));
        assert!(fixture.store().by_uid(65536).unwrap().is_none());
        assert!(fixture.store().by_uid(65537).unwrap().is_none());
    }

    #[test]
    fn what_is_not_a_plain_file_of_the_owner_is_no_account() {
        let fixture = Fixture::new();
        fixture.put("name/ag-good", "ag-good", 65536);
        symlink(fixture.path("name/ag-good"), fixture.path("name/ag-link")).unwrap();
        std::fs::create_dir(fixture.path("name/ag-dir")).unwrap();
        std::fs::write(fixture.path("name/ag-big"), vec![b'x'; FILE_MAX + 1]).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(fixture.path("name/ag-sock")).unwrap();
        let fifo = fixture.path("name/ag-fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        for name in ["ag-link", "ag-dir", "ag-big", "ag-sock", "ag-fifo"] {
            assert!(!fixture.found(name), "{name}");
        }
        let other = Store { owner: fixture.store().owner + 1, ..fixture.store() };
        assert!(other.by_name(b"ag-good").unwrap().is_none());
        for mode in [0o664, 0o646, 0o666] {
            std::fs::set_permissions(fixture.path("name/ag-good"), PermissionsExt::from_mode(mode)).unwrap();
            assert!(!fixture.found("ag-good"), "{mode:o}");
        }
    }
}
