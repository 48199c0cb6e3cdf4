//! What can go wrong, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

/// The result of every function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a host could not be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program of the machine is not installed: install the package.
    #[error("{tool} is not installed: apt-get install {package}")]
    MissingTool {
        /// The program.
        tool: String,
        /// The Debian package it is in.
        package: &'static str,
    },
    /// A system call on a file, a mount or a process failed; mostly root is missing or a kernel feature is.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A command ended with another status than 0: its outputs say why.
    #[error("{what}: {status}\n--- stdout\n{stdout}--- stderr\n{stderr}")]
    Command {
        /// The command and where it ran.
        what: String,
        /// Its exit status.
        status: String,
        /// All it wrote to stdout.
        stdout: String,
        /// All it wrote to stderr.
        stderr: String,
    },
    /// Something took longer than its deadline.
    #[error("{what} did not finish within {after:?}\n{detail}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The deadline.
        after: Duration,
        /// What was seen until then.
        detail: String,
    },
    /// The request itself cannot be met: the message says what to change.
    #[error("{0}")]
    Request(String),
}

impl Error {
    /// The error and what caused it, in one line.
    pub(crate) fn chain(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }

    /// The error of a command that ended badly.
    pub(crate) fn command(what: impl Into<String>, output: &Output) -> Self {
        Error::Command {
            what: what.into(),
            status: output.status.to_string(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Says what was tried on what when a system call fails.
pub(crate) trait Context<T> {
    fn context(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::System { action, path: path.as_ref().to_path_buf(), source: source.into() })
    }
}
