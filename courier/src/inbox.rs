//! Files in agentd's inbox: each written beside and renamed.

use anyhow::{Context, Result, bail};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder.
#[derive(Debug, Clone)]
pub struct Inbox(PathBuf);

impl Inbox {
    /// At a path.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Puts a text there. The name comes from central: only what cannot leave the folder is taken.
    pub fn put(&self, name: &str, text: &str) -> Result<()> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.len() > 200 || name.starts_with('.') || !name.bytes().all(plain) {
            bail!("{name:?} is no name of a file for the inbox");
        }
        let beside = self.0.join(format!(".{name}"));
        let written = std::fs::File::create(&beside).and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("cannot write {}", beside.display()))?;
        std::fs::rename(&beside, self.0.join(name)).with_context(|| format!("cannot place {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
