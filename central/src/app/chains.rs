//! Hosts' audit chains come in: each line is checked against what came before it, and what stands is countersigned.
//!
//! What a host has sent once is never replaced. Lines that say something else than those that are there, or that do not
//! hold, are kept aside, and the host is in trouble: on record once, and seen in `tether hosts list`. The feed goes on.

use super::{App, Failed, fault};
use crate::audit::{self, Record};
use crate::clock;
use crate::store::{Act, Found, HostChain, NewEntry, Place, Trouble, TroubleKind};
use serde_json::json;
use std::cell::OnceCell;
use tether_audit::log::ENTRY_MAX;
use tether_audit::{ChainError, HeadKey, Ids, Line, Reached, SignedHead, Verifier};
use tether_centrallink::wire::{ChainStart, ChainTrouble, Taken};
use tether_identity::HostId;
use tether_oauth::{Refusal, Standard};
use tether_statement::{Countersignature, FeedError, JwsError, TrustedKeys, Typ};

/// Where a host's chain goes.
pub const AUDIT_PATH: &str = "/v1/host/audit";
/// The most lines of one batch: none that holds is shorter than 256 bytes.
const LINES_MAX: usize = 16 * 1024;
/// The most bytes that are kept aside for one host.
const EVIDENCE_MAX: u64 = 1024 * 1024;
/// How often a host's chain may go on after a gap, until it is enrolled anew: each makes two records.
const GAPS_MAX: u64 = 64;
/// The code of what is beyond a day's share.
const OVER: &str = "audit.host_quota";
const DAY: u64 = 24 * 3600;
/// How many alarms of one host's chain end with its next head, until it is enrolled anew: each makes two records of ours.
const ALARMS_MAX: u64 = 256;
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

/// A line that follows what is there.
#[derive(Debug)]
enum New {
    Record { number: u64, hash: String, found: Found },
    Head(Box<SignedHead>),
    Mark,
}

/// Why a chain does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Bad {
    kind: TroubleKind,
    code: &'static str,
    number: u64,
    why: String,
}

/// What a batch means for the chain as it was.
#[derive(Debug)]
struct Judged {
    /// The chain before. Another one by now, and all this is void.
    before: HostChain,
    /// Whether there was one at all.
    known: bool,
    /// Where the first new line goes.
    start: Reached,
    new: Vec<(New, String)>,
    reached: Reached,
    bad: Option<Bad>,
    /// Lines that are to be kept aside.
    aside: String,
    /// The lines begin another chain, after a gap, with so many lines that are no records before them.
    after_gap: Option<u64>,
}

impl Judged {
    /// The day that it is, and how many bytes of lines it has with these.
    fn share(&self, now: u64) -> (u64, u64) {
        let day = now / DAY;
        let before = if self.before.day == day { self.before.bytes } else { 0 };
        let more = self.new.iter().map(|(_, line)| line.len() as u64 + 1).sum::<u64>();
        (day, before.saturating_add(more))
    }
}

fn broken(code: &'static str, number: u64, why: impl ToString) -> Bad {
    Bad { kind: TroubleKind::Broken, code, number, why: why.to_string() }
}

fn code_of(error: &ChainError) -> &'static str {
    match error {
        ChainError::Malformed { .. } | ChainError::NotCanonical(_) => "audit.malformed",
        ChainError::Changed(_) => "audit.changed",
        ChainError::Broken(_) => "audit.broken",
        ChainError::HeadBroken(_) => "audit.head_broken",
        ChainError::HeadKey(_) => "audit.head_key",
    }
}

/// Where lines begin that follow a gap: at a signed head, which says itself where it is. Only after trouble that is on
/// record, and never beside another past.
fn after_gap(before: &HostChain, lines: &Lines<'_>, text: &[&[u8]]) -> Option<Reached> {
    let is_broken = before.trouble.as_ref().is_some_and(|trouble| trouble.kind == TroubleKind::Broken);
    if !lines.gap || !is_broken || lines.after <= place_of(before) || before.gaps >= GAPS_MAX {
        return None;
    }
    let SignedHead { head, .. } = serde_json::from_slice(text.first()?).ok()?;
    (head.number == lines.after.number).then_some(Reached {
        number: head.number,
        hash: head.hash,
        signed: head.number,
        key: Some((head.key, head.public)),
        head: head.previous,
        head_time_us: 0,
    })
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

    /// Everything that takes time: nobody waits for the store meanwhile.
    fn judge(&self, host: &HostId, lines: &Lines<'_>, text: &[&[u8]]) -> Result<Judged, Failed> {
        let (kept, known) = self.look(|act| {
            let kept = act.host_chain(host)?;
            let chain = kept.clone().unwrap_or_default();
            Ok((kept, act.lines(host.as_str(), chain.generation, lines.after, text.len())?))
        })?;
        let was_known = kept.is_some();
        let before = kept.unwrap_or_default();
        let start = before.reached.clone();
        let judged = |bad, aside| Judged {
            known: was_known,
            start: start.clone(),
            reached: start.clone(),
            new: Vec::new(),
            before: before.clone(),
            bad,
            aside,
            after_gap: None,
        };
        if let Some(start) = after_gap(&before, lines, text) {
            let (new, reached, bad) = self.read(host, start.clone(), text);
            let aside = if bad.is_some() { lossy(text.get(new.len()..).unwrap_or_default()) } else { String::new() };
            // What does not even hold at its own beginning begins nothing.
            if !new.is_empty() {
                return Ok(Judged {
                    before,
                    known: was_known,
                    start,
                    new,
                    reached,
                    bad,
                    aside,
                    after_gap: Some(lines.after.marks),
                });
            }
        }
        if lines.after > place_of(&before) {
            return self.judge_gap(host, &before, was_known, lines, text);
        }
        let same = known.iter().zip(text).position(|((_, known), line)| known.as_bytes() != *line);
        if let Some(at) = same {
            let (bad, aside) = self.judge_other(host, &before, lines.after, &known, text, at)?;
            return Ok(judged(Some(bad), aside));
        }
        let fresh = text.get(known.len()..).unwrap_or_default();
        let ends = known.len() == text.len() && self.ends_before(&before, lines.after, &known);
        if lines.end && ends {
            let number = before.reached.number;
            let why = format!("the host says that it has less than record {number}, which it has sent");
            return Ok(judged(
                Some(Bad { kind: TroubleKind::Rewound, code: "audit.rewound", number, why }),
                String::new(),
            ));
        }
        let (new, reached, bad) = self.read(host, start.clone(), fresh);
        let rest = fresh.get(new.len()..).unwrap_or_default();
        let aside = if bad.is_some() { lossy(rest) } else { String::new() };
        Ok(Judged { known: was_known, start, new, reached, bad, aside, before, after_gap: None })
    }

    /// Whether what the host has ends before what it has sent.
    fn ends_before(&self, before: &HostChain, after: Place, known: &[(Option<u64>, String)]) -> bool {
        let mut end = after;
        for (record, _) in known {
            end = match record {
                Some(number) => Place { number: *number, marks: 0 },
                None => Place { marks: end.marks + 1, ..end },
            };
        }
        end < place_of(before)
    }

    /// Lines that do not follow what is there: the first of a chain that nobody has committed to, or some are missing.
    fn judge_gap(
        &self,
        host: &HostId,
        before: &HostChain,
        known: bool,
        lines: &Lines<'_>,
        text: &[&[u8]],
    ) -> Result<Judged, Failed> {
        let mut start = before.reached.clone();
        let begins = before.start.is_none() && before.reached == Reached::default() && lines.after.marks == 0;
        let first = text.first().and_then(|line| std::str::from_utf8(line).ok()).map(previous_of);
        let (mut new, mut reached, mut bad) = (Vec::new(), start.clone(), None);
        if let (true, Some(Some(previous))) = (begins, first) {
            start = Reached { number: lines.after.number, hash: previous, signed: lines.after.number, ..start };
            (new, reached, bad) = self.read(host, start.clone(), text);
        } else if !text.is_empty() {
            let next = before.reached.number + 1;
            let why = format!("records {next} to {} did not come", lines.after.number);
            bad = Some(broken("audit.gap", next, why));
        }
        let aside = if bad.is_some() { lossy(text.get(new.len()..).unwrap_or_default()) } else { String::new() };
        Ok(Judged { before: before.clone(), known, start, new, reached, bad, aside, after_gap: None })
    }

    /// Another line than the one that is there. If it holds in that place the host has two pasts.
    fn judge_other(
        &self,
        host: &HostId,
        before: &HostChain,
        after: Place,
        known: &[(Option<u64>, String)],
        text: &[&[u8]],
        at: usize,
    ) -> Result<(Bad, String), Failed> {
        let mut place = after;
        for (record, _) in known.iter().take(at) {
            place = match record {
                Some(number) => Place { number: *number, marks: 0 },
                None => Place { marks: place.marks + 1, ..place },
            };
        }
        let state = self.look(|act| state_at(act, host, before, place))?;
        let rest = text.get(at..).unwrap_or_default();
        let aside = lossy(rest);
        let first = rest.get(..1).unwrap_or_default();
        let (_, _, bad) = self.read(host, state, first);
        let number = if matches!(known.get(at), Some((Some(_), _))) { place.number + 1 } else { place.number };
        Ok(match bad {
            Some(bad) => (bad, aside),
            None => {
                let why = format!("after record {} the host says now what it had not said before", place.number);
                (Bad { kind: TroubleKind::Forked, code: "audit.forked", number: number.max(1), why }, aside)
            }
        })
    }

    /// Reads lines that follow `start`, up to the first that does not hold.
    fn read(&self, host: &HostId, start: Reached, lines: &[&[u8]]) -> (Vec<(New, String)>, Reached, Option<Bad>) {
        let mut verifier = Verifier::from(start);
        let older = OnceCell::new();
        let mut new = Vec::with_capacity(lines.len());
        for line in lines {
            let reached = verifier.reached().clone();
            match self.read_one(host, &mut verifier, &older, line) {
                Ok(one) => new.push(one),
                Err(bad) => return (new, reached, Some(bad)),
            }
        }
        (new, verifier.reached().clone(), None)
    }

    fn read_one(
        &self,
        host: &HostId,
        verifier: &mut Verifier,
        older: &OnceCell<Vec<TrustedKeys>>,
        line: &[u8],
    ) -> Result<(New, String), Bad> {
        let next = verifier.reached().number + 1;
        if line.len() > ENTRY_MAX {
            return Err(broken("audit.too_long", next, format!("a line has {} bytes", line.len())));
        }
        let text = std::str::from_utf8(line).map_err(|_| broken("audit.malformed", next, "a line is not UTF-8"))?;
        let read = verifier.take(text).map_err(|error| broken(code_of(&error), next, words(&error)))?;
        let other = |found: &str| broken("audit.other_host", next, format!("a line is of {found:?}"));
        let one = match read {
            Line::Record { link, .. } if link.host != host.as_str() => return Err(other(&link.host)),
            Line::Record { hash, link } => New::Record { number: link.number, hash, found: Found::of(&link) },
            Line::Head(head) if head.head.host != host.as_str() => return Err(other(&head.head.host)),
            Line::Head(head) => New::Head(head),
            Line::Countersigned(jws) => {
                if !self.has_signed(&jws, host, older) {
                    return Err(broken("audit.countersignature", next, "a countersignature that is not ours"));
                }
                New::Mark
            }
        };
        Ok((one, text.to_owned()))
    }

    /// Whether we have signed that, with a key of now or of before. One of a key that never was ours says nothing here:
    /// a host that moved to us brings what another central has said.
    /// Keys of before are read once for all lines: thousands of them may name a key that never was.
    fn has_signed(&self, jws: &str, host: &HostId, older: &OnceCell<Vec<TrustedKeys>>) -> bool {
        let of = |keys: &TrustedKeys| match Countersignature::verify(jws, keys, host) {
            Ok(_) => Some(true),
            Err(FeedError::Jws(JwsError::UnknownKey { .. })) => None,
            Err(_) => Some(false),
        };
        if let Some(known) = of(&self.trusted()) {
            return known;
        }
        let older = older.get_or_init(|| {
            let sets = self.look(|act| Ok(act.key_sets()?)).unwrap_or_default();
            let sets = sets.iter().rev().filter_map(|(_, text)| TrustedKeys::verify(text, &self.settings.roots).ok());
            sets.collect()
        });
        older.iter().find_map(of).unwrap_or(true)
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

    /// A signed head came: whatever was missing is here. Two pasts stay two.
    fn hears_again(&self, act: &mut dyn Act, host: &HostId, chain: &mut HostChain) -> Result<(), Failed> {
        let heals = chain.alarms < ALARMS_MAX;
        let healed = chain.trouble.take_if(|trouble| heals && trouble.kind != TroubleKind::Forked);
        let silent = chain.silent.take();
        let over = chain.over.take();
        for (state, since) in healed
            .map(|trouble| (trouble.kind.as_str(), trouble.since))
            .into_iter()
            .chain(silent.map(|since| ("silent", since)))
            .chain(over.map(|since| ("over", since)))
        {
            let about = json!({"host": host.as_str(), "state": state, "since": since});
            self.write(act, &Record::done("audit.recovered", Ids::unknown("of a host"), about))?;
        }
        Ok(())
    }

    /// The host is in trouble: on record unless it was so before.
    fn raise(
        &self,
        act: &mut dyn Act,
        host: &HostId,
        chain: &mut HostChain,
        bad: &Bad,
        aside: &str,
        now: u64,
    ) -> Result<(), Failed> {
        let known = chain.trouble.as_ref().map(|trouble| (trouble.kind, trouble.number));
        // Of one kind the first bad record counts; a fork hides no other, and nothing hides a fork.
        let news = known.is_none_or(|(kind, number)| bad.kind > kind || (bad.kind == kind && bad.number > number))
            && known.is_none_or(|(kind, _)| kind != TroubleKind::Forked);
        // A host that breaks its chain again and again is in trouble, and writes no more of ours.
        let often = chain.alarms >= ALARMS_MAX && known.is_some_and(|(kind, _)| kind == bad.kind);
        if !news || often {
            return Ok(());
        }
        chain.alarms += 1;
        let room = usize::try_from(EVIDENCE_MAX.saturating_sub(chain.evidence)).unwrap_or_default();
        let kept = audit::first_of(aside, room);
        if !kept.is_empty() {
            act.put_evidence(host, chain.generation, now, kept)?;
            chain.evidence += kept.len() as u64;
        }
        chain.trouble = Some(Trouble {
            kind: bad.kind,
            since: now,
            code: bad.code.to_owned(),
            number: bad.number,
            why: bad.why.clone(),
        });
        let about = json!({
            "host": host.as_str(), "state": bad.kind.as_str(), "number": bad.number, "generation": chain.generation,
            "why": bad.why, "kept_aside": kept.len(),
        });
        self.write(act, &Record::refused("audit.alarm", bad.code, Ids::unknown("of a host"), about))?;
        self.metrics.count_alarm(bad.kind.as_str());
        Ok(())
    }

    /// A host enrols: its chain begins as it commits to, or goes on if it is the same one.
    pub(super) fn begin_chain(
        &self,
        act: &mut dyn Act,
        host: &HostId,
        start: Option<ChainStart>,
        now: u64,
    ) -> Result<(), Failed> {
        let known = act.host_chain(host)?;
        if start.as_ref().is_some_and(|start| !is_start(start)) {
            let why = "the start of the chain is none: a hash and a key are 43 letters of base64url";
            return Err(Refusal::new(Standard::InvalidRequest, "audit.start", why).into());
        }
        let is_well = |chain: &HostChain| chain.trouble.is_none() && chain.damaged.is_none();
        let goes_on = |chain: &HostChain| is_well(chain) && chain.start == start;
        if start.is_none() && known.is_none() || known.as_ref().is_some_and(goes_on) {
            return Ok(());
        }
        let chain = HostChain {
            generation: known.map_or(0, |known| known.generation + 1),
            reached: reached_at(start.as_ref()),
            start,
            heard: now,
            ..HostChain::default()
        };
        let about = json!({
            "host": host.as_str(), "generation": chain.generation, "anchored": chain.start.is_some(),
            "number": chain.reached.number, "public": chain.start.as_ref().map(|start| start.public.clone()),
        });
        act.put_host_chain(host, &chain)?;
        self.write(act, &Record::done("audit.begun", Ids::unknown("a host enrols"), about))?;
        Ok(())
    }

    /// Puts on record which hosts have become silent. Asked once in a while.
    pub fn look_for_silence(&self) -> Result<(), Failed> {
        let limit = self.settings.audit.silent_seconds;
        let quiet: Vec<HostId> = self.look(|act| {
            let now = clock::now();
            let is_quiet = |chain: &HostChain| chain.silent.is_none() && self.unheard(chain, now) > limit;
            let chains = act.host_chains()?.into_iter().filter(|(_, chain)| is_quiet(chain));
            let mut quiet = Vec::new();
            for (host, _) in chains {
                if act.host(&host)?.is_some_and(|host| host.active && host.key.is_some()) {
                    quiet.push(host);
                }
            }
            Ok(quiet)
        })?;
        for host in quiet {
            self.act(|act| {
                let now = clock::now();
                let Some(mut chain) = act.host_chain(&host)? else { return Ok(()) };
                if chain.silent.is_some() || self.unheard(&chain, now) <= limit {
                    return Ok(());
                }
                chain.silent = Some(now);
                act.put_host_chain(&host, &chain)?;
                let about = json!({
                    "host": host.as_str(), "state": "silent", "number": chain.reached.number, "heard": chain.heard,
                });
                self.write(act, &Record::refused("audit.alarm", "audit.silent", Ids::unknown("of a host"), about))?;
                self.metrics.count_alarm("silent");
                Ok(())
            })?;
        }
        Ok(())
    }

    /// For how long no head came while we were there to hear it.
    fn unheard(&self, chain: &HostChain, now: u64) -> u64 {
        now.saturating_sub(chain.heard.max(self.begun.load(std::sync::atomic::Ordering::Relaxed)))
    }

    /// How a host's chain stands, for people.
    pub(super) fn chain_standing(&self, chain: Option<&HostChain>) -> ChainStanding {
        let Some(chain) = chain else { return ChainStanding::none() };
        let now = clock::now();
        let unheard = self.unheard(chain, now);
        let behind = now.saturating_sub(chain.reached.head_time_us / 1_000_000);
        let limit = self.settings.audit.silent_seconds;
        let never = chain.reached.head_time_us == 0;
        let (state, since) = match (&chain.trouble, chain.silent) {
            (Some(trouble), _) => (trouble.kind.as_str(), Some(trouble.since)),
            // Silent too, since nothing of it is taken.
            _ if chain.over.is_some() => ("over", chain.over),
            (None, Some(since)) => ("silent", Some(since)),
            (None, None) if unheard > limit => ("silent", Some(chain.heard)),
            (None, None) if unheard > limit / 2 || (!never && behind > limit) => ("late", Some(chain.heard)),
            (None, None) => match &chain.damaged {
                Some(damaged) => ("damaged", Some(damaged.since)),
                None => ("ok", None),
            },
        };
        let trouble = chain.trouble.as_ref().or(chain.damaged.as_ref());
        ChainStanding {
            state,
            since,
            anchored: chain.start.is_some(),
            generation: chain.generation,
            number: chain.reached.number,
            signed: chain.reached.signed,
            heard: chain.heard,
            code: trouble.map(|trouble| trouble.code.clone()).or_else(|| chain.over.map(|_| OVER.to_owned())),
            bad: trouble.map(|trouble| trouble.number),
            why: trouble.map(|trouble| trouble.why.clone()),
        }
    }

    /// Whether a host may have new sessions by how its chain stands.
    pub(super) fn check_chain(&self, act: &dyn Act, host: &HostId) -> Result<(), Failed> {
        if self.settings.audit.grants_to_forked {
            return Ok(());
        }
        let Some(chain) = act.host_chain(host)? else { return Ok(()) };
        let (code, why) = match chain.trouble.as_ref().map(|trouble| trouble.kind) {
            Some(TroubleKind::Forked) => {
                ("host.forked", "has forked; it has no new sessions until it is enrolled anew")
            }
            // Its disk was put back, or its chain was thrown away: what it now says of a session may be thrown away, too.
            Some(TroubleKind::Rewound) => ("host.rewound", "was put back; it has no new sessions until that is over"),
            Some(TroubleKind::Broken) => ("host.broken", "does not hold; it has no new sessions until it does"),
            // What it says since is signed by a key that nobody has committed to.
            None if chain.damaged.is_some() => {
                ("host.damaged", "was damaged; it has no new sessions until it is enrolled anew")
            }
            None => return Ok(()),
        };
        Err(Refusal::new(Standard::InvalidTarget, code, format!("the audit chain of {host} {why}")).into())
    }
}

/// How a host's chain stands.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ChainStanding {
    /// `ok`, `late`, `silent`, `over` (it has had its share of a day), `forked`, `rewound`, `broken`; `damaged`: it goes on after a gap; `none` if nothing came yet and nothing was committed to.
    pub state: &'static str,
    /// Since when, if it is not well.
    pub since: Option<u64>,
    /// Whether the host has committed to its first key when it enrolled.
    pub anchored: bool,
    /// Which of its chains this is.
    pub generation: u64,
    /// Its last record.
    pub number: u64,
    /// The last one that a signed head covers.
    pub signed: u64,
    /// When the last head came.
    pub heard: u64,
    /// The code of what is wrong.
    pub code: Option<String>,
    /// The first bad record.
    pub bad: Option<u64>,
    /// In words.
    pub why: Option<String>,
}

impl ChainStanding {
    fn none() -> Self {
        Self {
            state: "none",
            since: None,
            anchored: false,
            generation: 0,
            number: 0,
            signed: 0,
            heard: 0,
            code: None,
            bad: None,
            why: None,
        }
    }
}

/// The verifier's state at a place of a chain that is there: what the last head and record before it say.
fn state_at(act: &dyn Act, host: &HostId, chain: &HostChain, place: Place) -> Result<Reached, Failed> {
    let begin = reached_at(chain.start.as_ref());
    let hash = act.record_hash(host.as_str(), chain.generation, place.number)?;
    let hash = hash.unwrap_or_else(|| begin.hash.clone());
    let head = act.head_before(host.as_str(), chain.generation, place)?;
    let head: Option<SignedHead> = head.and_then(|line| serde_json::from_str(&line).ok());
    let digest = head.as_ref().and_then(|signed| signed.head.digest().ok());
    Ok(match head.zip(digest) {
        Some((SignedHead { head, .. }, digest)) => Reached {
            number: place.number,
            hash,
            signed: head.number,
            key: Some((head.key + 1, head.next)),
            head: digest,
            head_time_us: head.time_us,
        },
        None => Reached { number: place.number, hash, ..begin },
    })
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

/// What a record says of the one before it, before anything is believed.
fn previous_of(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    value.pointer("/record/previous")?.as_str().map(str::to_owned)
}

/// The text of an error, without its count of lines, which are the batch's.
fn words(error: &ChainError) -> String {
    match error {
        ChainError::Malformed { why, .. } => format!("a line is no record and no head: {why}"),
        ChainError::Changed(_) => "a line was changed: its hash is not that of its content".to_owned(),
        ChainError::Broken(_) => "a record does not follow the one before it".to_owned(),
        ChainError::HeadBroken(_) => "a head names another record or follows another head".to_owned(),
        ChainError::HeadKey(_) => "a head is not signed with the key whose turn it was".to_owned(),
        ChainError::NotCanonical(error) => error.to_string(),
    }
}

fn lossy(lines: &[&[u8]]) -> String {
    let most = usize::try_from(EVIDENCE_MAX).unwrap_or(usize::MAX);
    let mut out = String::new();
    for line in lines {
        if out.len() >= most {
            break;
        }
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out
}

fn is_start(start: &ChainStart) -> bool {
    let letters = |text: &str| {
        text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    letters(&start.public) && (if start.number == 0 { start.hash.is_empty() } else { letters(&start.hash) })
}

/// The parent of what comes of a session's token.
pub(super) fn came_of(
    act: &dyn Act,
    session: &tether_identity::SessionId,
    event: &str,
) -> Result<Option<tether_audit::Parent>, Failed> {
    let number = act.own_record(session, event)?;
    Ok(number.map(|number| tether_audit::Parent::record(audit::HOST, number)))
}
