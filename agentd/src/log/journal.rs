//! A copy of each durable record in the host's journal, for who looks there. The chain is the evidence; the journal is a
//! convenience, so nothing ever waits for it: what it does not take in time is left out, and how much is said there.

use super::warn;
use serde::Deserialize;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tether_audit::Link;
use tether_outward::{Record, journal};

/// The journal's socket (systemd-journald.service(8)).
pub const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";
/// How many bytes of lines may wait for it, and in how many parts.
const BYTES_MAX: usize = 4 << 20;
const PARTS_MAX: usize = 1024;
/// How long one record may take.
const TAKES: Duration = Duration::from_secs(1);

/// Where durable lines go.
#[derive(Debug)]
pub struct Journal {
    sender: SyncSender<String>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    waiting: AtomicUsize,
    left_out: AtomicU64,
}

#[derive(Deserialize)]
struct Stored {
    hash: String,
    record: Link,
}

impl Journal {
    /// Begins a thread of its own, which ends with this. None if there can be none: that is said, and hinders nothing.
    pub fn start(socket: &Path, chain: &str) -> Option<Self> {
        Self::try_start(socket, chain)
            .inspect_err(|error| warn(format_args!("records are not copied into the journal: {error}")))
            .ok()
    }

    fn try_start(socket: &Path, chain: &str) -> io::Result<Self> {
        let (sender, lines) = sync_channel(PARTS_MAX);
        let counts = Arc::new(Counts::default());
        let from = UnixDatagram::unbound()?;
        from.set_write_timeout(Some(TAKES))?;
        let copier = Copier { socket: socket.to_owned(), chain: chain.to_owned(), counts: Arc::clone(&counts), from };
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || copier.run(&lines))?;
        Ok(Self { sender, counts })
    }

    /// Takes lines that are on stable storage.
    pub fn take(&self, lines: String) {
        let bytes = lines.len();
        if self.counts.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes <= BYTES_MAX {
            match self.sender.try_send(lines) {
                Ok(()) => return,
                Err(error) => {
                    let (std::sync::mpsc::TrySendError::Full(lines)
                    | std::sync::mpsc::TrySendError::Disconnected(lines)) = error;
                    self.counts.leave_out(&lines);
                }
            }
        } else {
            self.counts.leave_out(&lines);
        }
        self.counts.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Counts {
    fn leave_out(&self, lines: &str) {
        self.left_out.fetch_add(lines.lines().count() as u64, Ordering::Relaxed);
    }
}

struct Copier {
    socket: PathBuf,
    chain: String,
    counts: Arc<Counts>,
    from: UnixDatagram,
}

impl Copier {
    fn run(self, lines: &Receiver<String>) {
        while let Ok(part) = lines.recv() {
            part.lines().for_each(|line| self.copy(line));
            self.counts.waiting.fetch_sub(part.len(), Ordering::Relaxed);
            let left_out = self.counts.left_out.swap(0, Ordering::Relaxed);
            if left_out > 0 {
                warn(format_args!("{left_out} lines of the audit chain are not in the journal, which was too slow"));
            }
        }
    }

    /// Heads and countersignatures are not records, and are left to the chain.
    fn copy(&self, line: &str) {
        let Ok(Stored { hash, record }) = serde_json::from_str(line) else { return };
        let datagram = journal(&Record { chain: &self.chain, hash: &hash, link: &record });
        if self.from.send_to(datagram.as_bytes(), &self.socket).is_err() {
            self.counts.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tether_audit::{Chain, Event, Ids, Outcome, Verified};

    fn lines(count: u64) -> String {
        let mut chain = Chain::after("web-01", "boot", Verified { records: 0, head: String::new() });
        let mut text = String::new();
        for _ in 0..count {
            let event = Event {
                event: "session.reserved".into(),
                outcome: Outcome::Allowed,
                code: String::new(),
                ids: Ids::unknown("a test"),
                parent: None,
                details: serde_json::Map::new(),
            };
            let next = chain.next(event, 1).unwrap();
            chain.commit(&next);
            text.push_str(&next.line);
            text.push('\n');
        }
        text
    }

    #[test]
    fn each_record_is_a_datagram_and_a_head_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::start(&path, "web-01").unwrap();
        journal.take(format!("{}{{\"head\":{{}}}}\n{}", lines(1), lines(2)));
        let mut numbers = Vec::new();
        for _ in 0..3 {
            let mut buffer = vec![0; 65536];
            let count = journald.recv(&mut buffer).unwrap();
            let text = String::from_utf8(buffer[..count].to_vec()).unwrap();
            let number = text.lines().find_map(|line| line.strip_prefix("TETHER_NUMBER=")).unwrap().to_owned();
            numbers.push(number);
        }
        assert_eq!(numbers, ["1", "1", "2"]);
    }

    /// A journald that takes nothing: whoever writes the chain is not held up, memory is bounded, and what was left out
    /// is counted.
    #[test]
    fn a_journal_that_hangs_holds_up_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _hangs = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::start(&path, "web-01").unwrap();
        let part = lines(1000);
        let parts = 4 * BYTES_MAX / part.len();
        for _ in 0..parts {
            journal.take(part.clone());
        }
        assert!(journal.counts.waiting.load(Ordering::Relaxed) <= BYTES_MAX);
        assert!(journal.counts.left_out.load(Ordering::Relaxed) >= 1000);
    }
}
