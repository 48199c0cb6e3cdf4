//! The audit chain on disk, and words for the journal.
//!
//! One thread writes: whoever has an event gets its number and hash under a lock, and a [`Ticket`]; what came meanwhile
//! is written and flushed at once ([`writer`]). Heads are signed with keys that evolve ([`key`]); the chain lies in
//! segments that are begun anew and in time removed ([`segments`]); at start it is taken up where it was ([`start`]).

mod bounded;
mod countersigned;
mod disk;
mod journal;
mod key;
mod left;
mod read;
mod segments;
mod start;
mod ticket;
mod writer;

#[cfg(test)]
mod forgetful;
#[cfg(test)]
mod tests;

pub use countersigned::Uncountersigned;
pub use disk::{Access, Disk, DiskFile, Folder, of_this_host};
pub use journal::{JOURNAL_SOCKET, Journal};
pub use key::{Committed, START_FILE, make_key};
pub use left::{Begun, Left};
pub use ticket::Ticket;

use crate::config::Audit;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tether_audit::{ChainError, Event};
use tether_statement::Countersignature;
use writer::Shared;

/// Where the chain is.
pub const AUDIT_FOLDER: &str = "/var/lib/tether/audit";

/// Why a record could not be written. What cannot be recorded does not run.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The disk.
    #[error("{path}: {source}")]
    Disk {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The record has no canonical form.
    #[error("{0}")]
    Event(ChainError),
    /// Nothing may be added to the chain that is here.
    #[error("{0}")]
    Closed(Closed),
    /// The disk does not keep up.
    #[error("more records wait for the disk than are kept in memory")]
    Behind,
    /// Nobody writes any more.
    #[error("the audit chain's writer is gone")]
    Gone,
}

/// Why agents are shut out, whatever else holds: people notice nothing of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Closed {
    /// `audit.cut`, `audit.broken` or `audit.full`.
    pub code: &'static str,
    /// In words.
    pub why: String,
}

/// How the chain stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many records there are.
    pub records: u64,
    /// Up to which one a signed head goes.
    pub signed: u64,
    /// Up to which one central has countersigned.
    pub countersigned: u64,
    /// How many bytes it has on disk.
    pub bytes: u64,
}

/// The host's chain, open for appending.
#[derive(Debug)]
pub struct AuditLog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl AuditLog {
    /// Opens the chain and checks it. A last line that a crash cut short is set aside, not lost. A chain that does not
    /// hold, or was cut, is opened closed: nothing is added to it, and agents are refused.
    pub fn open(disk: Arc<dyn Disk>, settings: Audit, host: &str, boot: &str) -> Result<Self, LogError> {
        let (shared, writer) = start::open(disk, settings, host, boot)?;
        let spawned = writer.map(|writer| std::thread::Builder::new().name("audit".to_owned()).spawn(|| writer.run()));
        let thread = spawned.transpose().map_err(|source| LogError::disk("a thread", source))?;
        Ok(Self { shared, thread })
    }

    /// Copies each record into the journal from now on, once it is durable.
    pub fn copy_to(&self, journal: Journal) {
        // A second one is dropped, and its thread ends.
        drop(self.shared.journal.set(journal));
    }

    /// Gives the event its place in the chain. It is on stable storage once the ticket says so.
    pub fn append(&self, event: &Event) -> Result<Ticket, LogError> {
        self.shared.append(event, None)
    }

    /// The same for what nobody has to wait for: that it could not be written is told in the journal.
    pub fn append_best(&self, event: &Event) -> Result<Ticket, LogError> {
        self.shared.append(event, Some(format!("{} [{}]", event.event, event.code)))
    }

    /// Takes central's countersignature, whose signature was checked: it must name a head that this chain has.
    pub fn countersign(&self, jws: &str, found: &Countersignature) -> Result<(), Uncountersigned> {
        countersigned::take(&self.shared, jws, found)
    }

    /// Why agents must be refused; none if the chain may grow.
    pub fn closed(&self) -> Option<Closed> {
        self.shared.lock().closed.clone()
    }

    /// How many bytes a crash had cut short at the last start.
    pub fn torn(&self) -> usize {
        self.shared.torn
    }

    /// What was not over when the chain was taken up.
    pub fn left(&self) -> &Left {
        &self.shared.left
    }

    /// How the chain stands.
    pub fn standing(&self) -> Standing {
        self.shared.lock().standing.clone()
    }

    /// How many records there are.
    pub fn records(&self) -> u64 {
        self.standing().records
    }

    /// Writes what waits, signs a last head, and writes nothing from then on.
    pub fn stop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            warn("the audit chain's writer panicked");
        }
    }
}

impl Drop for AuditLog {
    fn drop(&mut self) {
        self.stop();
    }
}

impl LogError {
    pub(crate) fn disk(what: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Disk { path: what.into(), source: Arc::new(source) }
    }

    /// The stable code of what is refused for it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Closed(closed) => closed.code,
            Self::Disk { .. } | Self::Event(_) | Self::Behind | Self::Gone => "host.disk",
        }
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
