//! The audit chain on disk, and words for the journal.

use crate::clock::wall_micros;
use crate::store::Store;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use tether_audit::{Chain, ChainError, Event, verify};

/// Why a record could not be written. What cannot be recorded does not run.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The chain on disk does not hold, or the record has no canonical form.
    #[error("the audit chain at {path} does not hold: {source}; `tether audit verify` shows where")]
    Chain {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ChainError,
    },
}

/// The host's chain, open for appending.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: File,
    length: u64,
    chain: Chain,
}

impl AuditLog {
    /// Opens the chain and checks all of it. A last line that a crash cut short is set aside, not lost.
    pub fn open(store: &Store, host: &str, boot: &str) -> Result<Self, LogError> {
        let path = store.path("audit/chain.jsonl");
        let disk = |source| LogError::Disk { path: path.clone(), source };
        let text = read_or_empty(&path).map_err(disk)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let torn = text.get(whole..).unwrap_or_default();
        if !torn.is_empty() {
            std::fs::write(store.path("audit/torn"), torn).map_err(disk)?;
        }
        let lines = text.get(..whole).unwrap_or_default().lines();
        let verified = verify(lines, |_| {}).map_err(|source| LogError::Chain { path: path.clone(), source })?;
        let file = File::options().create(true).append(true).open(&path).map_err(disk)?;
        if !torn.is_empty() {
            file.set_len(whole as u64).map_err(disk)?;
        }
        Ok(Self { path: path.clone(), file, length: whole as u64, chain: Chain::after(host, boot, verified) })
    }

    /// Appends one event and waits until it is on stable storage.
    pub fn append(&mut self, event: Event) -> Result<(), LogError> {
        let chain_error = |source| LogError::Chain { path: self.path.clone(), source };
        let next = self.chain.next(event, wall_micros()).map_err(chain_error)?;
        let line = format!("{}\n", next.line);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| {
            crash_point!(ChainWritten);
            self.file.sync_data()
        });
        if let Err(source) = written {
            // Half a line, or a whole one that may not be on the disk, must not stay: the next would follow it.
            if let Err(error) = self.file.set_len(self.length) {
                warn(format_args!("{} cannot be cut back to {} bytes: {error}", self.path.display(), self.length));
            }
            return Err(LogError::Disk { path: self.path.clone(), source });
        }
        self.length += line.len() as u64;
        self.chain.commit(&next);
        Ok(())
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.chain.number()
    }
}

fn read_or_empty(path: &PathBuf) -> io::Result<String> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
}

/// A line for the journal, through stderr as systemd takes it (sd-daemon(3): `<4>` is a warning).
pub fn warn(text: impl std::fmt::Display) {
    eprintln!("<4>{text}");
}

/// A line for the journal that nobody needs to act on.
pub fn note(text: impl std::fmt::Display) {
    eprintln!("<6>{text}");
}
