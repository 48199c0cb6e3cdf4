//! Hosts' audit chains come in: each line is checked against what came before it, and what stands is countersigned.
//!
//! What a host has sent once is never replaced. Lines that say something else than those that are there, or that do not
//! hold, are kept aside, and the host is in trouble: on record once, and seen in `tether hosts list`. The feed goes on.

mod alarm;
mod begin;
mod judge;
mod read;
mod standing;

pub use standing::ChainStanding;

use super::{App, Failed, fault};
use crate::audit::{self, Record};
use crate::clock;
use crate::store::{Act, HostChain, NewEntry, Place};
use judge::Judged;
use read::New;
use serde_json::json;
use tether_audit::{HeadKey, Ids, Reached, SignedHead};
use tether_centrallink::wire::{ChainStart, ChainTrouble, Taken};
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};
use tether_statement::{Countersignature, Typ};

/// Where a host's chain goes.
pub const AUDIT_PATH: &str = "/v1/host/audit";
/// The most lines of one batch: none that holds is shorter than 256 bytes.
const LINES_MAX: usize = 16 * 1024;
/// The code of what is beyond a day's share.
const OVER: &str = "audit.host_quota";
const DAY: u64 = 24 * 3600;
/// How often a batch is judged anew because another one of the same host came between.
const TURNS: usize = 4;

/// Lines of a host's chain.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'b> {
    /// What they follow.
    pub after: Place,
    /// Whether the host says that it has nothing beyond these.
    pub end: bool,
    /// Whether the host says that what is before them is damaged or missing there.
    pub gap: bool,
    /// The lines, each with its newline.
    pub text: &'b [u8],
}

impl App {
    /// Takes what a host sends of its chain. What is answered as taken is on disk.
    pub fn take_lines(&self, host: &HostId, lines: Lines<'_>) -> Result<Taken, Refusal> {
        let mut text: Vec<&[u8]> = lines.text.split(|byte| *byte == b'\n').collect();
        // Its lines would be central's own.
        if host.as_str() == audit::HOST {
            return Err(Refusal::new(Standard::InvalidRequest, "host.name", "this is no host's name"));
        }
        // As many of those that are there are read to compare.
        if text.len() > LINES_MAX {
            let why = format!("a batch has {LINES_MAX} lines at most");
            return Err(Refusal::new(Standard::InvalidRequest, "audit.too_many", why));
        }
        if text.pop().is_some_and(|rest| !rest.is_empty()) {
            return Err(Refusal::new(Standard::InvalidRequest, "audit.torn", "the last line has no newline"));
        }
        if !text.is_empty() {
            self.has_room_for_chains()?;
        }
        for _ in 0..TURNS {
            let judged = self.judge(host, &lines, &text).and_then(|judged| self.within_share(host, judged));
            let taken = judged.and_then(|judged| judged.map_or(Ok(None), |judged| self.enter(host, judged)));
            match taken {
                Ok(Some(taken)) => return Ok(taken),
                Ok(None) => {}
                Err(Failed::Refused(refusal)) => return Err(refusal),
                Err(Failed::Store(error)) => return Err(fault("store.failed", error)),
            }
        }
        let why = "others send lines of this host at the same time";
        Err(Refusal::new(Standard::TemporarilyUnavailable, "audit.busy", why))
    }

    /// A host that fills central's disk must not keep central from recording a revocation. The host keeps what it has,
    /// and its agents are refused when that is too much.
    fn has_room_for_chains(&self) -> Result<(), Refusal> {
        let free = self.shelf.free().map_err(|error| fault("audit.disk", error))?;
        if free >= self.settings.audit.free_mib.saturating_mul(1 << 20) {
            return Ok(());
        }
        let why = "central's disk has less free than it keeps for its own records";
        Err(Refusal::new(Standard::TemporarilyUnavailable, "audit.disk_full", why))
    }

    /// Whoever is root on one host writes what they like into its chain, as fast as they can: other hosts' records, and
    /// central's own, are to have room all the same. None if another batch of the host came between.
    fn within_share(&self, host: &HostId, judged: Judged) -> Result<Option<Judged>, Failed> {
        let (day, bytes) = judged.share(clock::now());
        if judged.new.is_empty() || bytes <= self.settings.audit.host_mib.saturating_mul(1 << 20) {
            return Ok(Some(judged));
        }
        let why = format!("this host has brought {} MiB of its chain today, its share", self.settings.audit.host_mib);
        let refusal = Refusal::new(Standard::TemporarilyUnavailable, OVER, why);
        if judged.before.over.is_some() && judged.before.day == day {
            return Err(refusal.into());
        }
        let told = self.act(|act| {
            let now_kept = act.host_chain(host)?.unwrap_or_default();
            if now_kept != judged.before {
                return Ok(false);
            }
            let now = clock::now();
            let about = json!({
                "host": host.as_str(), "state": "over", "number": now_kept.reached.number, "why": refusal.description,
                "generation": now_kept.generation,
            });
            let bytes = if now_kept.day == day { now_kept.bytes } else { 0 };
            act.put_host_chain(host, &HostChain { over: Some(now), day, bytes, ..now_kept })?;
            self.write(act, &Record::refused("audit.alarm", OVER, Ids::unknown("of a host"), about))?;
            self.metrics.count_alarm("over");
            Ok::<_, Failed>(true)
        })?;
        if told { Err(refusal.into()) } else { Ok(None) }
    }

    /// Writes what was judged, if nothing came between.
    fn enter(&self, host: &HostId, judged: Judged) -> Result<Option<Taken>, Failed> {
        let changes = !judged.new.is_empty() || judged.bad.is_some() || !judged.known;
        if !changes {
            return Ok(Some(taken(&judged.before)));
        }
        self.act(|act| {
            let now_kept = act.host_chain(host)?;
            if now_kept.is_some() != judged.known || now_kept.unwrap_or_default() != judged.before {
                return Ok(None);
            }
            let mut chain = judged.before.clone();
            if let Some(marks) = judged.after_gap {
                let before = Place { number: judged.start.number, marks };
                self.begin_after_gap(act, host, &mut chain, before)?;
            }
            let generation = chain.generation;
            let mut place = Place { number: judged.start.number, marks: chain.marks };
            let mut head = None;
            for (new, line) in &judged.new {
                place = enter_line(act, host.as_str(), generation, place, new, line)?;
                if let New::Head(signed) = new {
                    head = Some(signed);
                }
            }
            chain.reached = judged.reached.clone();
            chain.marks = place.marks;
            let now = clock::now();
            (chain.day, chain.bytes) = judged.share(now);
            if !judged.known {
                chain.heard = now;
            }
            if let Some(head) = head {
                chain.heard = now;
                chain.countersignature = Some(self.countersign(host, head, now)?);
                self.hears_again(act, host, &mut chain)?;
            }
            if let Some(bad) = &judged.bad {
                self.raise(act, host, &mut chain, bad, &judged.aside, now)?;
            }
            act.put_host_chain(host, &chain)?;
            Ok(Some(taken(&chain)))
        })
    }

    /// What came before stays as it is, with what is wrong with it on record; this is another chain of the host's, which
    /// nobody has committed to.
    fn begin_after_gap(
        &self,
        act: &mut dyn Act,
        host: &HostId,
        chain: &mut HostChain,
        before: Place,
    ) -> Result<(), Failed> {
        let missing = json!({"from": chain.reached.number + 1, "to": before.number});
        chain.generation += 1;
        chain.gaps += 1;
        chain.damaged = chain.damaged.take().or_else(|| chain.trouble.clone());
        chain.start = None;
        chain.marks = before.marks;
        let about = json!({
            "host": host.as_str(), "generation": chain.generation, "anchored": false, "number": before.number,
            "missing": missing,
        });
        self.write(act, &Record::done("audit.begun", Ids::unknown("after a gap"), about))?;
        Ok(())
    }

    fn countersign(&self, host: &HostId, head: &SignedHead, now: u64) -> Result<String, Failed> {
        let said = Countersignature {
            host: host.clone(),
            number: head.head.number,
            hash: head.head.hash.clone(),
            head: head.head.digest().map_err(|error| fault("audit.head", error))?,
            time: now,
        };
        let signed = self.keys.audit.sign(Typ::Countersignature, &said);
        signed.map_err(|error| fault("audit.sign", error).into())
    }
}

/// Where a chain begins that was committed to.
fn reached_at(start: Option<&ChainStart>) -> Reached {
    start.map_or_else(Reached::default, |start| Reached {
        number: start.number,
        hash: start.hash.clone(),
        signed: start.number,
        key: Some((start.key, HeadKey(start.public.clone()))),
        ..Reached::default()
    })
}

fn place_of(chain: &HostChain) -> Place {
    Place { number: chain.reached.number, marks: chain.marks }
}

fn enter_line(
    act: &mut dyn Act,
    chain: &str,
    generation: u64,
    place: Place,
    new: &New,
    line: &str,
) -> Result<Place, Failed> {
    if let New::Record { number, hash, found } = new {
        act.append_entry(&NewEntry { chain, generation, number: *number, hash, found, line })?;
        return Ok(Place { number: *number, marks: 0 });
    }
    act.append_mark(chain, generation, place, matches!(new, New::Head(_)), line)?;
    Ok(Place { marks: place.marks + 1, ..place })
}

fn taken(chain: &HostChain) -> Taken {
    Taken {
        number: chain.reached.number,
        lines: chain.marks,
        countersignature: chain.countersignature.clone(),
        trouble: chain.trouble.as_ref().map(|trouble| ChainTrouble {
            state: trouble.kind.as_str().to_owned(),
            code: trouble.code.clone(),
            number: trouble.number,
            why: trouble.why.clone(),
        }),
    }
}
