//! From what was typed to the very file that would run.

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where a name without '/' is looked for; the caller's PATH plays no part.
const SEARCH: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const DIGESTS_MAX: usize = 1024;

/// Why a name leads to no program that may be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoProgram {
    /// No such file.
    #[error("{0} was not found")]
    NotFound(String),
    /// A path that starts where the caller stands.
    #[error("{0} is a relative path; give a name or the whole path")]
    Relative(String),
    /// Not a program.
    #[error("{0} is not an executable file")]
    NotExecutable(String),
    /// Somebody else than root could change it.
    #[error("{0} could be changed by somebody else than root")]
    NotRoots(String),
    /// open(2) and the like.
    #[error("{path}: {errno}")]
    Errno {
        /// What.
        path: String,
        /// Why.
        errno: Errno,
    },
}

impl NoProgram {
    /// The stable code of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "program.not_found",
            Self::Relative(_) => "program.relative",
            Self::NotExecutable(_) => "program.not_executable",
            Self::NotRoots(_) => "program.not_roots",
            Self::Errno { .. } => "program.unreadable",
        }
    }
}

/// A program, open.
#[derive(Debug)]
pub struct Program {
    /// Its resolved path.
    pub path: String,
    /// The file itself.
    pub file: OwnedFd,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// SHA-256 of its content, in hex.
    pub digest: String,
}

/// Digests of programs by device, inode, size and change time: hashing 50 MB takes 25 ms.
#[derive(Debug, Default)]
pub struct Programs {
    digests: BTreeMap<(u64, u64, i64, i64, u64), String>,
}

impl Programs {
    /// Resolves, checks, opens and hashes what was typed.
    pub fn open(&mut self, typed: &str) -> Result<Program, NoProgram> {
        let path = resolve(typed)?;
        check_owners(&path)?;
        let text = path.to_str().ok_or_else(|| NoProgram::NotFound(typed.to_owned()))?.to_owned();
        let fail = |errno| NoProgram::Errno { path: text.clone(), errno };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = openat(CWD, &path, flags, Mode::empty()).map_err(fail)?;
        let about = fstat(&file).map_err(fail)?;
        let plain = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
        if !plain || about.st_mode & 0o111 == 0 {
            return Err(NoProgram::NotExecutable(text));
        }
        if about.st_uid != 0 || about.st_mode & 0o022 != 0 {
            return Err(NoProgram::NotRoots(text));
        }
        let key = (about.st_dev, about.st_ino, about.st_size, about.st_ctime, about.st_ctime_nsec);
        let digest = self.digest(key, &file).map_err(fail)?;
        Ok(Program { path: text, file, device: about.st_dev, inode: about.st_ino, digest })
    }

    fn digest(&mut self, key: (u64, u64, i64, i64, u64), file: &OwnedFd) -> Result<String, Errno> {
        if let Some(digest) = self.digests.get(&key) {
            return Ok(digest.clone());
        }
        let digest = hash(file)?;
        if self.digests.len() >= DIGESTS_MAX {
            self.digests.clear();
        }
        self.digests.insert(key, digest.clone());
        Ok(digest)
    }
}

/// The resolved path of what was typed.
pub fn resolve(typed: &str) -> Result<PathBuf, NoProgram> {
    let not_found = || NoProgram::NotFound(typed.to_owned());
    if typed.is_empty() || typed.contains('\0') {
        return Err(not_found());
    }
    if typed.starts_with('/') {
        return fs::canonicalize(typed).map_err(|_| not_found());
    }
    if typed.contains('/') {
        return Err(NoProgram::Relative(typed.to_owned()));
    }
    let found = SEARCH.iter().find_map(|folder| fs::canonicalize(Path::new(folder).join(typed)).ok());
    found.ok_or_else(not_found)
}

/// Every folder on the way must be root's, and writable by nobody else (a sticky one could still be filled).
fn check_owners(path: &Path) -> Result<(), NoProgram> {
    for folder in path.ancestors().skip(1) {
        let shown = folder.display().to_string();
        let about = fs::symlink_metadata(folder).map_err(|_| NoProgram::NotFound(shown.clone()))?;
        if about.uid() != 0 || about.mode() & 0o022 != 0 {
            return Err(NoProgram::NotRoots(shown));
        }
    }
    Ok(())
}

fn hash(file: &OwnedFd) -> Result<String, Errno> {
    let mut file = fs::File::from(file.try_clone().map_err(|_| Errno::MFILE)?);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hasher.update(buffer.get(..read).unwrap_or_default()),
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_the_file_that_would_run() {
        let program = Programs::default().open("true").unwrap();
        assert!(program.path.ends_with("/true") && program.path.starts_with('/'));
        assert_eq!(program.digest.len(), 64);
        let by_path = Programs::default().open(&program.path).unwrap();
        assert_eq!((by_path.device, by_path.inode), (program.device, program.inode));
    }

    #[test]
    fn what_others_could_change_is_no_program() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("x");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        // The folder lies in /tmp, which anybody may write to.
        let error = Programs::default().open(script.to_str().unwrap()).unwrap_err();
        assert_eq!(error.code(), "program.not_roots");
        for (typed, code) in [
            ("./true", "program.relative"),
            ("no-such-program", "program.not_found"),
            ("/etc/passwd", "program.not_executable"),
            ("/etc", "program.not_executable"),
            ("", "program.not_found"),
        ] {
            assert_eq!(Programs::default().open(typed).unwrap_err().code(), code, "{typed}");
        }
    }
}
