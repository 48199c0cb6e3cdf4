//! The central log: hosts' chains as they came, all records as leaves of one tree, its tiles and checkpoints.

use super::StoreError;
use serde::{Deserialize, Serialize};
use tether_audit::{Link, Reached};
use tether_centrallink::wire::ChainStart;
use tether_identity::{HostId, SessionId};
use tether_statement::UnixTime;

/// How far a host's chain has come in, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostChain {
    /// Which of its chains: a host that was made anew begins another, and the older one stays as it is.
    pub generation: u64,
    /// What was committed to at enrolment; none if nothing was.
    pub start: Option<ChainStart>,
    /// The last record, and the key of the next head.
    pub reached: Reached,
    /// How many lines that are no records came after the last record.
    pub marks: u64,
    /// When a new head was last taken, by our clock.
    pub heard: UnixTime,
    /// Our word about its last head, as it was signed then.
    pub countersignature: Option<String>,
    /// What is wrong with it.
    pub trouble: Option<Trouble>,
    /// Since when no head came, if that is on record.
    pub silent: Option<UnixTime>,
    /// How many bytes of it are kept aside.
    pub evidence: u64,
    /// How many of its generations began after a gap, since the host enrolled.
    #[serde(default)]
    pub gaps: u64,
    /// How many alarms there were of it, since the host enrolled.
    #[serde(default)]
    pub alarms: u64,
    /// What was wrong with the first that ended in a gap, since the host enrolled.
    #[serde(default)]
    pub damaged: Option<Trouble>,
    /// The day, counted from 1970, of which `bytes` are.
    #[serde(default)]
    pub day: u64,
    /// How many bytes of lines were taken on that day.
    #[serde(default)]
    pub bytes: u64,
    /// Since when it has had a day's share, if that is on record.
    #[serde(default)]
    pub over: Option<UnixTime>,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// In one word.
    pub kind: TroubleKind,
    /// Since when.
    pub since: UnixTime,
    /// The stable code.
    pub code: String,
    /// The first bad record.
    pub number: u64,
    /// In words.
    pub why: String,
}

/// In one word. A worse one comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// A line that does not hold, or lines that are missing.
    Broken,
    /// The host has less than it has sent.
    Rewound,
    /// The host has other records than those that it has sent.
    Forked,
}

impl TroubleKind {
    /// As text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Broken => "broken",
            Self::Rewound => "rewound",
            Self::Forked => "forked",
        }
    }
}

/// By what a record is found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The session.
    pub session: Option<String>,
    /// The human.
    pub human: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The host: whose record it is, or which one central's record is about.
    pub host: Option<String>,
    /// The program.
    pub program: Option<String>,
    /// The event.
    pub event: String,
    /// `allowed`, `refused`, `error`.
    pub outcome: String,
    /// Microseconds since 1970, as the record has it.
    pub time_us: u64,
}

impl Found {
    /// Of a record.
    pub fn of(link: &Link) -> Self {
        let ids = &link.event.ids;
        let id = |known: &tether_audit::Known| known.id().map(str::to_owned);
        let detail = |name: &str| link.event.details.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        let outcome = serde_json::to_value(link.event.outcome).ok();
        Self {
            session: id(&ids.session),
            human: id(&ids.human),
            agent: id(&ids.agent),
            host: if link.host == crate::audit::HOST { detail("host") } else { Some(link.host.clone()) },
            program: detail("program"),
            event: link.event.event.clone(),
            outcome: outcome.as_ref().and_then(|one| one.as_str()).unwrap_or_default().to_owned(),
            time_us: link.time_us,
        }
    }

    /// Of a line of central's own.
    pub fn of_line(line: &str) -> Self {
        #[derive(Deserialize)]
        struct Read {
            record: Link,
        }
        serde_json::from_str(line).map(|read: Read| Self::of(&read.record)).unwrap_or_default()
    }
}

/// A record that is to be added to the log.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// The host's id, or `central`.
    pub chain: &'a str,
    /// Which of its chains.
    pub generation: u64,
    /// Its number there.
    pub number: u64,
    /// Its hash.
    pub hash: &'a str,
    /// By what it is found.
    pub found: &'a Found,
    /// The line, which is the leaf.
    pub line: &'a str,
}

/// A record in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The host's id, or `central`.
    pub chain: String,
    /// Which of its chains.
    pub generation: u64,
    /// Its number there.
    pub number: u64,
    /// The line.
    pub line: String,
}

/// A place in a chain: after a record, and after so many lines that follow it and are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The record; 0 at the beginning.
    pub number: u64,
    /// How many lines after it.
    pub marks: u64,
}

/// Records to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Search {
    /// Of this session.
    pub session: Option<String>,
    /// Of this human.
    pub human: Option<String>,
    /// Of this agent.
    pub agent: Option<String>,
    /// Of or about this host.
    pub host: Option<String>,
    /// Of this program, by its whole path.
    pub program: Option<String>,
    /// Of this event.
    pub event: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Not before that second.
    pub from: Option<UnixTime>,
    /// Before that second.
    pub to: Option<UnixTime>,
    /// From that place in the log on.
    pub after: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hits {
    /// The records, in the log's order.
    pub lines: Vec<Entry>,
    /// Where to go on; none if all was looked at.
    pub next: Option<u64>,
}

/// The log's part of a transaction.
pub trait Trail {
    /// How a host's chain stands; none if nothing was heard of it.
    fn host_chain(&self, host: &HostId) -> Result<Option<HostChain>, StoreError>;
    /// All that were heard of.
    fn host_chains(&self) -> Result<Vec<(HostId, HostChain)>, StoreError>;
    /// Writes it.
    fn put_host_chain(&mut self, host: &HostId, chain: &HostChain) -> Result<(), StoreError>;

    /// Adds a record to the log; its place there, from 0. A number of a chain has one record.
    fn append_entry(&mut self, entry: &NewEntry<'_>) -> Result<u64, StoreError>;
    /// Adds a line that is no record: the next after `place`. Whether it is a head.
    fn append_mark(
        &mut self,
        chain: &str,
        generation: u64,
        place: Place,
        head: bool,
        line: &str,
    ) -> Result<(), StoreError>;
    /// The lines of a chain after a place, in their order, at most `most`; with each the number of its record, if it is
    /// one.
    fn lines(
        &self,
        chain: &str,
        generation: u64,
        after: Place,
        most: usize,
    ) -> Result<Vec<(Option<u64>, String)>, StoreError>;
    /// The last head before a place.
    fn head_before(&self, chain: &str, generation: u64, place: Place) -> Result<Option<String>, StoreError>;
    /// The hash of a record.
    fn record_hash(&self, chain: &str, generation: u64, number: u64) -> Result<Option<String>, StoreError>;
    /// Number of central's own first record of a session with this event.
    fn own_record(&self, session: &SessionId, event: &str) -> Result<Option<u64>, StoreError>;

    /// Keeps lines aside that a chain has no place for.
    fn put_evidence(&mut self, host: &HostId, generation: u64, time: UnixTime, text: &str) -> Result<(), StoreError>;
    /// What was kept aside: host, generation, time, lines.
    fn evidence(&self) -> Result<Vec<(String, u64, UnixTime, String)>, StoreError>;

    /// How many records the log has.
    fn log_end(&self) -> Result<u64, StoreError>;
    /// The records from a place on, at most `most`.
    fn entries(&self, from: u64, most: usize) -> Result<Vec<Entry>, StoreError>;
    /// Records that are looked for, at most `most`.
    fn search(&self, search: &Search, most: usize) -> Result<Hits, StoreError>;
    /// The hashes of a tile, one after another.
    fn tile(&self, level: u8, index: u64) -> Result<Option<Vec<u8>>, StoreError>;
    /// Writes a tile, which has more than before.
    fn put_tile(&mut self, level: u8, index: u64, hashes: &[u8]) -> Result<(), StoreError>;
    /// The newest checkpoint of a log: its size and text.
    fn checkpoint(&self, origin: &str) -> Result<Option<(u64, String)>, StoreError>;
    /// Keeps a checkpoint. A size has one.
    fn put_checkpoint(&mut self, origin: &str, size: u64, text: &str) -> Result<(), StoreError>;

    /// All key sets that ever were in force, by version.
    fn key_sets(&self) -> Result<Vec<(u64, String)>, StoreError>;
    /// Keeps one.
    fn put_key_set(&mut self, version: u64, text: &str) -> Result<(), StoreError>;
}
