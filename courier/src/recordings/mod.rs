//! Recordings go to central: each from where central says that it has it, by pieces, as far as the audit chain that is
//! there already tells of them. Nothing is kept here: what central has and what agentd has noted as shipped is all there
//! is to know.
//!
//! They wait for everything else. One piece is on its way at a time, and after it this one rests as long as it took.

mod folder;

use folder::{Folder, Found};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use tether_centrallink::LinkError;
use tether_centrallink::wire::Shipped;
use tether_recording::PIECE;

/// Where agentd keeps recordings.
pub const FOLDER: &str = "/var/lib/tether/recordings";

/// How many pieces of one recording go before another one has its turn.
const TURN: usize = 8;
/// When one that has nothing to give now is asked about again; twice as long each time.
const SOON: Duration = Duration::from_secs(1);
/// The longest pause for one recording.
const LATE: Duration = Duration::from_secs(600);
/// For how long nothing is brought to a central that takes none now.
const FULL: Duration = Duration::from_secs(60);

/// A recording: its session and its name.
pub type Key = (String, String);

/// What central is sent.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'b> {
    /// Which recording.
    pub key: &'b Key,
    /// A piece, and where it begins; none, to ask how much central has.
    pub piece: Option<(u64, &'b [u8])>,
}

impl Ask<'_> {
    /// The path to put it to.
    pub fn path(&self) -> String {
        let (session, name) = self.key;
        let at = self.piece.map(|(offset, _)| format!("?offset={offset}")).unwrap_or_default();
        format!("/v1/host/recording/{session}/{name}{at}")
    }
}

/// How central is asked.
pub type Send<'s> = dyn FnMut(&Ask<'_>) -> Result<Shipped, LinkError> + 's;

/// Ships what a folder has.
#[derive(Debug)]
pub struct Shipper {
    folder: Folder,
    waiting: BTreeMap<Key, Waiting>,
}

/// One that has nothing to give before a time.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    until: Instant,
    pause: Duration,
    /// How much of it central had.
    had: u64,
}

/// What came of a recording's turn.
enum Turn {
    /// There may be more at once.
    More,
    /// Nothing before some time.
    Later(u64),
    /// Central takes nothing now.
    Full(LinkError),
}

impl Shipper {
    /// Of a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: Folder::new(folder), waiting: BTreeMap::new() }
    }

    /// Gives each recording a turn that has something to give. `place` takes central's word that it has one. For how long
    /// nothing is to be done then.
    pub fn round(
        &mut self,
        now: Instant,
        send: &mut Send<'_>,
        place: &mut dyn FnMut(&Key, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Duration> {
        let found = self.folder.look()?;
        self.waiting.retain(|key, _| found.iter().any(|one| one.key == *key));
        let mut more = false;
        for one in &found {
            if !self.is_due(one, now) {
                continue;
            }
            match self.turn(one, send, place)? {
                Turn::More => more = true,
                Turn::Later(had) => self.wait(&one.key, now, had),
                Turn::Full(error) => {
                    eprintln!("tether-courier: recordings: {error}");
                    return Ok(FULL);
                }
            }
        }
        Ok(if more { Duration::ZERO } else { SOON })
    }

    /// Of an open one only whole pieces are on record: before there is another one nobody is asked.
    fn is_due(&self, one: &Found, now: Instant) -> bool {
        let Some(waiting) = self.waiting.get(&one.key) else { return !one.open || one.length >= PIECE };
        waiting.until <= now && (!one.open || one.length - waiting.had.min(one.length) >= PIECE)
    }

    fn wait(&mut self, key: &Key, now: Instant, had: u64) {
        let before = self.waiting.get(key).filter(|before| before.had == had).map(|before| before.pause * 2);
        let pause = before.unwrap_or(SOON).min(LATE);
        self.waiting.insert(key.clone(), Waiting { until: now + pause, pause, had });
    }

    fn turn(
        &mut self,
        one: &Found,
        send: &mut Send<'_>,
        place: &mut dyn FnMut(&Key, &str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Turn> {
        let mut shipped = match send(&Ask { key: &one.key, piece: None }) {
            Ok(shipped) => shipped,
            Err(error) => return refused(one, 0, error),
        };
        for _ in 0..TURN {
            if let Some(receipt) = &shipped.receipt {
                // It is asked for again, and the others do not wait for it.
                if let Err(error) = place(&one.key, receipt) {
                    eprintln!("<4>tether-courier: central's word about {} waits [courier.inbox]: {error:#}", one.key.1);
                }
                return Ok(Turn::Later(shipped.bytes));
            }
            let Some(length) = shipped.next else { return Ok(Turn::Later(shipped.bytes)) };
            let bytes = match self.folder.read(&one.key, shipped.bytes, length.min(PIECE)) {
                Ok(bytes) => bytes,
                Err(error) => {
                    eprintln!("<4>tether-courier: {error:#}");
                    return Ok(Turn::Later(shipped.bytes));
                }
            };
            let before = shipped.bytes;
            match send(&Ask { key: &one.key, piece: Some((before, &bytes)) }) {
                Ok(next) => shipped = next,
                Err(error) => return refused(one, before, error),
            }
            if shipped.bytes <= before && shipped.receipt.is_none() {
                return Ok(Turn::Later(shipped.bytes));
            }
        }
        Ok(Turn::More)
    }
}

/// What is wrong with one recording delays no other; without central all wait.
fn refused(one: &Found, had: u64, error: LinkError) -> anyhow::Result<Turn> {
    let LinkError::Refused { status, code, .. } = &error else { return Err(error.into()) };
    match (*status, code.as_str()) {
        // A central of before knows no recordings.
        (404 | 405, _)
        | (503, "recording.off" | "recording.host_quota" | "recording.quota" | "recording.disk_full") => {
            Ok(Turn::Full(error))
        }
        (400 | 413, _) => {
            let (session, name) = &one.key;
            eprintln!("tether-courier: recording {name} of {session}: {error}");
            Ok(Turn::Later(had))
        }
        _ => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
