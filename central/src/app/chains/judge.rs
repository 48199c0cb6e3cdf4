//! What a batch means for the chain as it was: nothing is changed here.

use super::alarm::EVIDENCE_MAX;
use super::read::{Bad, New, broken};
use super::{DAY, Lines, place_of, reached_at};
use crate::app::{App, Failed};
use crate::store::{Act, HostChain, Place, TroubleKind};
use tether_audit::{Reached, SignedHead};
use tether_identity::HostId;

/// How often a host's chain may go on after a gap, until it is enrolled anew: each makes two records.
const GAPS_MAX: u64 = 64;

/// What a batch means for the chain as it was.
#[derive(Debug)]
pub(super) struct Judged {
    /// The chain before. Another one by now, and all this is void.
    pub before: HostChain,
    /// Whether there was one at all.
    pub known: bool,
    /// Where the first new line goes.
    pub start: Reached,
    pub new: Vec<(New, String)>,
    pub reached: Reached,
    pub bad: Option<Bad>,
    /// Lines that are to be kept aside.
    pub aside: String,
    /// The lines begin another chain, after a gap, with so many lines that are no records before them.
    pub after_gap: Option<u64>,
}

impl Judged {
    /// The day that it is, and how many bytes of lines it has with these.
    pub fn share(&self, now: u64) -> (u64, u64) {
        let day = now / DAY;
        let before = if self.before.day == day { self.before.bytes } else { 0 };
        let more = self.new.iter().map(|(_, line)| line.len() as u64 + 1).sum::<u64>();
        (day, before.saturating_add(more))
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

impl App {
    /// Everything that takes time: nobody waits for the store meanwhile.
    pub(super) fn judge(&self, host: &HostId, lines: &Lines<'_>, text: &[&[u8]]) -> Result<Judged, Failed> {
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

/// What a record says of the one before it, before anything is believed.
fn previous_of(line: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    value.pointer("/record/previous")?.as_str().map(str::to_owned)
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
