//! Hosts' recordings come in, piece by piece. A piece is taken if it is the one that the host's own audit chain tells
//! of, in a record that a signed head covers; so whoever is root on the host, or is its courier, can bring nothing else
//! than what agentd had on record. What differs is kept aside once, with an alarm, and replaces nothing.

use super::{App, Failed, fault};
use crate::audit::{self, KnownIds, Record};
use crate::clock;
use crate::shelf::digest;
use crate::store::{Act, Aside, Delegation, Entry, Place, Recording};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tether_audit::{Link, SignedHead};
use tether_centrallink::wire::Shipped;
use tether_identity::{HostId, SessionId};
use tether_oauth::{Refusal, Standard};
use tether_recording::{PIECE, Told, is_name};
use tether_statement::{Receipt, Typ};

/// The most records that one recording's digests are looked for in, and that are read at a time of all.
pub(super) const RECORDS_MAX: usize = 20_000;
const MIB: u64 = 1 << 20;

/// Which recording.
#[derive(Debug, Clone)]
pub struct Which {
    /// The session.
    pub session: SessionId,
    /// Its name there.
    pub name: String,
}

impl Which {
    /// From a path's parts.
    pub fn parse(session: &str, name: &str) -> Result<Self, Refusal> {
        let unknown = |why: String| Refusal::new(Standard::InvalidRequest, "recording.name", why);
        let session = session.parse().map_err(|error: tether_identity::Malformed| unknown(error.to_string()))?;
        if !is_name(name) {
            return Err(unknown("a recording is named by its kind and its number, such as sudo-1".to_owned()));
        }
        Ok(Self { session, name: name.to_owned() })
    }

    /// Where it goes.
    pub fn path(&self) -> String {
        format!("/v1/host/recording/{}/{}", self.session, self.name)
    }
}

/// Hosts that bring a piece now: each brings one at a time.
#[derive(Debug, Default)]
pub struct Bringing(Mutex<HashSet<HostId>>);

/// One of them.
#[derive(Debug)]
pub struct Brings<'b>(&'b Bringing, HostId);

impl Bringing {
    /// None if the host does so already.
    pub fn begin(&self, host: &HostId) -> Option<Brings<'_>> {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.insert(host.clone()).then(|| Brings(self, host.clone()))
    }
}

impl Drop for Brings<'_> {
    fn drop(&mut self) {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// All that is known of a recording before a piece is looked at.
struct Known {
    delegation: Delegation,
    told: Told,
    kept: Recording,
}

fn disk(error: io::Error) -> Failed {
    if error.kind() == io::ErrorKind::StorageFull {
        return full("recording.disk_full", "central's disk is full");
    }
    fault("recording.disk", error).into()
}

fn full(code: &str, why: &str) -> Failed {
    Refusal::new(Standard::TemporarilyUnavailable, code, why).into()
}

impl App {
    /// How much central has of a recording, and what it asks for.
    pub fn look_at_recording(&self, host: &HostId, which: &Which) -> Result<Shipped, Refusal> {
        self.in_turn(host, which, |known| self.has(known))
    }

    /// Takes the piece that begins there. What is answered as had is on stable storage.
    pub fn take_piece(&self, host: &HostId, which: &Which, offset: u64, bytes: &[u8]) -> Result<Shipped, Refusal> {
        self.in_turn(host, which, |mut known| {
            // An answer was lost, or another one was here: where to go on is the answer.
            let fits = known.kept.bytes == offset && known.kept.receipt.is_none() && known.kept.removed.is_none();
            let Some(piece) = known.told.piece_at(offset).filter(|_| fits).cloned() else {
                return self.has(known);
            };
            let found = digest(bytes);
            if bytes.len() as u64 != piece.length || found != piece.sha256 {
                let about = json!({
                    "offset": offset, "length": piece.length, "sha256": piece.sha256, "found": found,
                    "found_length": bytes.len(),
                });
                return Err(self.differs(&mut known, offset, bytes, about)?);
            }
            self.has_room(host, piece.length)?;
            self.shelf.put(&which.session, &which.name, offset, bytes).map_err(disk)?;
            known.kept.bytes = offset + piece.length;
            known.kept.taken = clock::now();
            self.keep_recording(&known.kept)?;
            self.has(known)
        })
    }

    fn in_turn(
        &self,
        host: &HostId,
        which: &Which,
        work: impl FnOnce(Known) -> Result<Shipped, Failed>,
    ) -> Result<Shipped, Refusal> {
        let done = self.known(host, which).and_then(work);
        done.map_err(|failed| match failed {
            Failed::Refused(refusal) => self.note_refused(host, which, refusal),
            Failed::Store(error) => fault("store.failed", error),
        })
    }

    fn known(&self, host: &HostId, which: &Which) -> Result<Known, Failed> {
        if !self.settings.recordings.on {
            return Err(full("recording.off", "this central takes no recordings"));
        }
        let (delegation, told, kept) = self.look(|act| {
            let delegation = act.delegation_of(&which.session)?;
            let told = told_of(act, host, which)?;
            Ok((delegation, told, act.recording(&which.session, &which.name)?))
        })?;
        let Some(delegation) = delegation.filter(|delegation| delegation.host == *host) else {
            let why = format!("{} is no session of {host}", which.session);
            return Err(Refusal::new(Standard::InvalidRequest, "recording.other_host", why).into());
        };
        let new = || Recording {
            host: host.clone(),
            session: which.session.clone(),
            name: which.name.clone(),
            bytes: 0,
            taken: clock::now(),
            receipt: None,
            aside: None,
            removed: None,
        };
        let mut kept = kept.unwrap_or_else(new);
        // A store that was put back from a copy, without its files: what is not here is asked for again.
        if kept.removed.is_none() && self.shelf.length(&which.session, &which.name).map_err(disk)? < kept.bytes {
            (kept.bytes, kept.receipt) = (0, None);
        }
        Ok(Known { delegation, told, kept })
    }

    /// What is to be said of a recording; that all of it is here, if it is.
    fn has(&self, mut known: Known) -> Result<Shipped, Failed> {
        let whole = known.told.whole().map(str::to_owned);
        let all = known.kept.bytes > 0 && known.kept.bytes == known.told.length();
        if let (Some(sha256), true, None, None) = (whole, all, &known.kept.receipt, known.kept.removed) {
            self.finish(&mut known, &sha256)?;
        }
        let Known { told, kept, .. } = known;
        let next = told.piece_at(kept.bytes).filter(|_| kept.receipt.is_none() && kept.removed.is_none());
        Ok(Shipped {
            bytes: kept.bytes,
            whole: kept.receipt.is_some(),
            next: next.map(|piece| piece.length),
            receipt: kept.receipt,
        })
    }

    /// All pieces are here: their digest is that of the end's record, or the chain contradicts itself.
    fn finish(&self, known: &mut Known, sha256: &str) -> Result<(), Failed> {
        let Recording { session, name, bytes, host, .. } = known.kept.clone();
        // Once is enough to know it.
        if known.kept.aside.as_ref().is_some_and(|aside| aside.offset == bytes) {
            return Ok(());
        }
        let found = self.shelf.digest(&session, &name, bytes).map_err(disk)?;
        if found != sha256 {
            let about = json!({"offset": bytes, "length": bytes, "sha256": sha256, "found": found});
            return Err(self.differs(known, bytes, b"", about)?);
        }
        let said = Receipt { host, session, recording: name, bytes, sha256: found, time: clock::now() };
        let signed = self.keys.audit.sign(Typ::Receipt, &said).map_err(|error| fault("recording.sign", error))?;
        known.kept.receipt = Some(signed);
        self.keep_recording(&known.kept)
    }

    fn keep_recording(&self, kept: &Recording) -> Result<(), Failed> {
        let total = self.act(|act| {
            act.put_recording(kept)?;
            Ok(act.recordings_use(Some(&kept.host))?.total)
        })?;
        self.metrics.recordings_have(total);
        Ok(())
    }

    fn has_room(&self, host: &HostId, more: u64) -> Result<(), Failed> {
        let settings = &self.settings.recordings;
        let used = self.look(|act| Ok(act.recordings_use(Some(host))?))?;
        if used.host.saturating_add(more) > settings.host_mib.saturating_mul(MIB) {
            return Err(full("recording.host_quota", "this host's recordings have as much room as they may have here"));
        }
        if used.total.saturating_add(more) > settings.total_mib.saturating_mul(MIB) {
            return Err(full("recording.quota", "recordings have as much room as they may have here"));
        }
        if self.shelf.free().map_err(disk)?.saturating_sub(more) < settings.free_mib.saturating_mul(MIB) {
            return Err(full("recording.disk_full", "central's disk has less free than it is to keep"));
        }
        Ok(())
    }

    /// Bytes that are not those of the chain: on record, and kept aside, once for each recording.
    fn differs(
        &self,
        known: &mut Known,
        offset: u64,
        bytes: &[u8],
        about: serde_json::Value,
    ) -> Result<Failed, Failed> {
        let Recording { session, name, host, .. } = known.kept.clone();
        let why = format!("{name} of {session} is not what the audit chain says of it, from byte {offset} on");
        let refusal = Refusal::new(Standard::InvalidRequest, "recording.digest", why);
        if known.kept.aside.is_some() {
            return Ok(refusal.into());
        }
        // Evidence is good to have; without room for it the alarm is what matters.
        let small = bytes.len() as u64 <= PIECE && !bytes.is_empty() && self.has_room(&host, PIECE).is_ok();
        let file = small.then(|| self.shelf.put_aside(&session, &name, offset, bytes));
        let file = file.and_then(|kept| kept.inspect_err(|error| eprintln!("tether-central: {error}")).ok());
        known.kept.aside = Some(Aside { offset, sha256: digest(bytes), time: clock::now(), file: file.clone() });
        let mut about = about;
        if let Some(members) = about.as_object_mut() {
            members.insert("host".to_owned(), host.as_str().into());
            members.insert("recording".to_owned(), name.into());
            members.insert("kept_aside".to_owned(), file.into());
        }
        let ids = audit::ids_of(&known.delegation);
        let record = Record::refused("recording.alarm", "recording.digest", ids, about);
        self.act(|act| {
            act.put_recording(&known.kept)?;
            self.write(act, &record)?;
            Ok(())
        })?;
        self.metrics.count_alarm("recording");
        Ok(refusal.into())
    }

    /// A host that names another's session is lying: on record, once a minute at most.
    fn note_refused(&self, host: &HostId, which: &Which, refusal: Refusal) -> Refusal {
        if refusal.code != "recording.other_host" {
            return refusal;
        }
        if let Some(count) = self.strangers.count("recording.refused", Instant::now()) {
            let about = json!({
                "host": host.as_str(), "session": which.session.as_str(), "recording": which.name, "count": count,
                "why": refusal.description,
            });
            let ids = KnownIds::default().or("of a host");
            if let Err(error) = self.record(&Record::refused("recording.refused", &refusal.code, ids, about)) {
                return fault("store.failed", error);
            }
        }
        refusal
    }
}

/// What a host's chain tells of one recording, as far as it is signed.
pub(super) fn told_of(act: &dyn Act, host: &HostId, which: &Which) -> Result<Told, Failed> {
    let mut told = Told::default();
    let mut signed = Signed::default();
    for entry in act.told_of_recordings(host, &which.session, Some(&which.name), 0, RECORDS_MAX)? {
        if signed.covers(act, host, &entry)?
            && let Some(link) = link_of(&entry)
        {
            told.take(&link.event.event, &link.event.details);
        }
    }
    Ok(told)
}

/// Up to where heads reach, of each of a host's chains.
#[derive(Debug, Default)]
pub(super) struct Signed(BTreeMap<u64, u64>);

impl Signed {
    /// Whether that is a record of this host, and one that a head covers. One that none covers yet is the courier's word.
    pub(super) fn covers(&mut self, act: &dyn Act, host: &HostId, entry: &Entry) -> Result<bool, Failed> {
        if entry.chain != host.as_str() {
            return Ok(false);
        }
        if let Some(number) = self.0.get(&entry.generation) {
            return Ok(entry.number <= *number);
        }
        let end = Place { number: u64::MAX, marks: 0 };
        let head = act.head_before(host.as_str(), entry.generation, end)?;
        let head: Option<SignedHead> = head.and_then(|line| serde_json::from_str(&line).ok());
        let number = head.map_or(0, |signed| signed.head.number);
        self.0.insert(entry.generation, number);
        Ok(entry.number <= number)
    }
}

/// A record that was checked when it came in.
pub(super) fn link_of(entry: &Entry) -> Option<Link> {
    #[derive(serde::Deserialize)]
    struct Read {
        record: Link,
    }
    serde_json::from_str(&entry.line).ok().map(|read: Read| read.record)
}
