//! Checking one chain, line by line, with names for what is wrong. It stops at the first line that does not hold: what
//! follows is not trusted. Time and countersignatures are looked at besides, and do not stop it.

use super::diagnose::{Broken, diagnose};
use super::files::{Files, Lines, Place, Segment};
use super::finding::{Finding, What};
use super::keys::{Keys, Unbelieved};
use anyhow::Result;
use std::collections::HashMap;
use tether_audit::{Line, Link, Reached, SignedHead, Verifier};
use tether_statement::Countersignature;

/// Clocks are set by small steps; what runs back further is worth a look.
const STEP_US: u64 = 2_000_000;
/// A host whose clock is further ahead of central's than this.
const AHEAD_S: u64 = 120;

/// A record that holds.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Whose chain.
    pub chain: &'a str,
    /// Where it stands; none if it came over the network.
    pub place: Option<&'a Place>,
    /// Its hash.
    pub hash: &'a str,
    /// The record.
    pub link: &'a Link,
}

/// What is proven of one chain.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Whose chain.
    pub chain: String,
    /// Which copy, if there are two.
    pub whose: &'static str,
    /// Whether it was compared with central's copy.
    pub compared: bool,
    /// Its files.
    pub files: usize,
    /// The first record that is here; 0 if there is none.
    pub first: u64,
    /// The last one that holds; 0 if there is none.
    pub last: u64,
    /// Its hash.
    pub hash: String,
    /// Up to where a head has signed, when, and with which key.
    pub signed: Option<Mark>,
    /// Up to where central has countersigned, and when.
    pub countersigned: Option<Mark>,
    /// Countersignatures that were checked, and that could not be for want of keys.
    pub countersignatures: (u64, u64),
    /// What the first head's key rests on.
    pub start: StartedBy,
    /// Records before the first are not here, up to this one, and central had countersigned them; 0 if there are none.
    pub retired: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A mark in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The last record that it covers.
    pub number: u64,
    /// When, microseconds since 1970.
    pub time_us: u64,
    /// The number of the host's key; none for central's mark.
    pub key: Option<u64>,
}

/// What the first head's key rests on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartedBy {
    /// Nothing: the first head is believed about its own key.
    #[default]
    Nothing,
    /// `start.json` beside the segments.
    Beside,
    /// A start that whoever asks has named.
    Given,
}

/// Central's marks that lie elsewhere than in the chain: nobody on the host can have taken them away.
pub type Elsewhere = Vec<(String, Option<Place>)>;

struct Check<'c> {
    files: &'c Files,
    keys: &'c Keys,
    verifier: Verifier,
    sum: Summary,
    heads: HashMap<String, (u64, u64)>,
    waiting: Vec<(Countersignature, Option<Place>)>,
    latest_us: u64,
    begun: bool,
    /// Whether what is here is believed about what was before it.
    part: bool,
    /// What is missing before the first file.
    missing: Option<Missing>,
}

/// Records before the first that is here: retired, if central had them.
struct Missing {
    from: u64,
    to: u64,
    place: Place,
}

/// Reads a chain from its files. `each` gets every record that holds, in order.
pub fn check(files: &Files, keys: &Keys, elsewhere: &Elsewhere, each: &mut dyn FnMut(Seen<'_>)) -> Result<Summary> {
    let mut check = Check::new(files, keys);
    if check.whole_from_start() {
        for segment in &files.segments {
            if !check.segment(segment, each)? {
                break;
            }
        }
    }
    for (compact, place) in elsewhere {
        check.countersigned(compact, place.clone());
    }
    check.settle();
    check.retired();
    Ok(check.sum)
}

impl<'c> Check<'c> {
    fn new(files: &'c Files, keys: &'c Keys) -> Self {
        let start = files.start.as_ref().map(|(start, _)| start);
        let reached = start.map_or_else(Reached::default, |start| Reached {
            number: start.number,
            hash: start.hash.clone(),
            signed: start.number,
            key: Some((start.key, start.public.clone())),
            head: start.head.clone().unwrap_or_default(),
            head_time_us: 0,
        });
        let sum = Summary {
            chain: files.chain.clone().or_else(|| files.claimed()).unwrap_or_default(),
            files: files.segments.len(),
            last: reached.number,
            hash: reached.hash.clone(),
            start: if start.is_some() { StartedBy::Beside } else { StartedBy::Nothing },
            ..Summary::default()
        };
        let verifier = Verifier::from(reached);
        let (heads, waiting, part) = (HashMap::new(), Vec::new(), !files.whole);
        Self { files, keys, verifier, sum, heads, waiting, latest_us: 0, begun: false, part, missing: None }
    }

    /// Whether the first segment is where the start says.
    fn whole_from_start(&mut self) -> bool {
        let Some(first) = self.files.segments.first() else { return true };
        let begins = first.first.unwrap_or(1);
        let expected = self.verifier.reached().number + 1;
        if !self.files.whole || begins <= expected {
            return true;
        }
        let place = Place { file: first.path.clone(), line: 1 };
        if self.files.retires {
            self.missing = Some(Missing { from: expected, to: begins - 1, place });
            (self.part, self.sum.start) = (true, StartedBy::Nothing);
            self.verifier = Verifier::from(Reached::default());
            return true;
        }
        // What follows damage nobody has committed to: central keeps it as another chain, and it is read as one.
        let after_damage = self.files.start.is_none();
        self.part |= after_damage;
        let why = if after_damage {
            let last = begins - 1;
            format!("records {expected} to {last} are not in this chain, and nobody has committed to how it begins")
        } else {
            format!("the first file begins with record {begins}, and record {expected} should be the first")
        };
        self.find(What::Segment, Some(expected), Some(place), why);
        after_damage
    }

    /// Whether to go on.
    fn segment(&mut self, segment: &Segment, each: &mut dyn FnMut(Seen<'_>)) -> Result<bool> {
        let expected = self.verifier.reached().number + 1;
        if let Some(first) = segment.first.filter(|first| self.begun && *first > expected) {
            let why = format!("records {expected} to {} are missing: their file is not there", first - 1);
            self.find(What::Segment, Some(expected), Some(Place { file: segment.path.clone(), line: 1 }), why);
            return Ok(false);
        }
        let mut lines = Lines::open(&segment.path)?;
        let mut named = segment.first;
        while let Some((place, text)) = lines.next()? {
            let text = match text {
                Ok(text) => text,
                Err(why) => {
                    let what = if why.contains("cut") { What::Cut } else { What::Malformed };
                    self.find(what, Some(self.verifier.reached().number + 1), Some(place), why.to_owned());
                    return Ok(false);
                }
            };
            if !self.line(&place, text, &mut named, each)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn line(
        &mut self,
        at: &Place,
        text: &str,
        named: &mut Option<u64>,
        each: &mut dyn FnMut(Seen<'_>),
    ) -> Result<bool> {
        self.begin_in_the_middle(text);
        let before = self.verifier.reached().clone();
        match self.verifier.take(text) {
            Ok(Line::Record { hash, link }) => Ok(self.record(at, &hash, &link, named, each)),
            Ok(Line::Head(head)) => {
                self.head(at, &head);
                Ok(true)
            }
            Ok(Line::Countersigned(compact)) => {
                self.countersigned(&compact, Some(at.clone()));
                Ok(true)
            }
            Err(error) => {
                let broken = Broken { place: at, text, error: &error, reached: &before, heads: &self.heads };
                let (what, number, why) = diagnose(self.files, &broken)?;
                self.find(what, number, Some(at.clone()), why);
                Ok(false)
            }
        }
    }

    /// A part of a chain is believed about what was before it; so is, after old segments were removed, the first head
    /// about the one before.
    fn begin_in_the_middle(&mut self, text: &str) {
        let reached = self.verifier.reached();
        let is_head = text.starts_with("{\"head\"");
        let headless = |(start, _): &(super::files::Start, _)| start.number > 0 && start.head.is_none();
        let unknown = self.part || self.files.start.as_ref().is_some_and(headless);
        let after_retention = is_head && self.heads.is_empty() && unknown;
        let part = self.part && !self.begun;
        self.begun = true;
        if !part && !after_retention {
            return;
        }
        let Ok(value) = serde_json::from_str::<serde_json::Value>(text) else { return };
        let body = if is_head { &value["head"] } else { &value["record"] };
        let text_of = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let number = body["number"].as_u64().unwrap_or_default();
        let mut from = reached.clone();
        if part && is_head {
            (from.number, from.hash) = (number, text_of("hash"));
        } else if part {
            (from.number, from.hash) = (number.saturating_sub(1), text_of("previous"));
        }
        if is_head {
            from.head = text_of("previous");
        }
        self.verifier = Verifier::from(from);
    }

    fn record(
        &mut self,
        place: &Place,
        hash: &str,
        link: &Link,
        named: &mut Option<u64>,
        each: &mut dyn FnMut(Seen<'_>),
    ) -> bool {
        if self.sum.chain.is_empty() {
            self.sum.chain.clone_from(&link.host);
        }
        if self.sum.chain != link.host {
            let why = format!("it says that it is a record of {}", link.host);
            self.find(What::OtherChain, Some(link.number), Some(place.clone()), why);
            return false;
        }
        if let Some(promised) = named.take().filter(|promised| *promised != link.number) {
            let why = format!("the file's name promises record {promised} as its first");
            self.find(What::Segment, Some(link.number), Some(place.clone()), why);
        }
        if self.sum.first == 0 {
            self.sum.first = link.number;
        }
        (self.sum.last, self.sum.hash) = (link.number, hash.to_owned());
        self.time(place, link.number, link.time_us);
        each(Seen { chain: &self.sum.chain, place: Some(place), hash, link });
        true
    }

    fn head(&mut self, place: &Place, head: &SignedHead) {
        let head = &head.head;
        if self.sum.chain.is_empty() {
            self.sum.chain.clone_from(&head.host);
        }
        if self.sum.chain != head.host {
            let why = format!("a head of {}", head.host);
            return self.find(What::OtherChain, Some(head.number), Some(place.clone()), why);
        }
        self.time(place, head.number, head.time_us);
        if let Ok(digest) = head.digest() {
            self.heads.insert(digest, (head.number, head.time_us));
        }
        self.sum.signed = Some(Mark { number: head.number, time_us: head.time_us, key: Some(head.key) });
    }

    fn time(&mut self, place: &Place, number: u64, time_us: u64) {
        if time_us.saturating_add(STEP_US) < self.latest_us {
            let back = (self.latest_us - time_us) / 1_000_000;
            let why =
                format!("the clock ran back by {back} s: it was {} before", crate::render::moment(self.latest_us));
            self.find(What::Clock, Some(number), Some(place.clone()), why);
            // Once for each step back.
            self.latest_us = time_us;
        }
        self.latest_us = self.latest_us.max(time_us);
    }

    fn countersigned(&mut self, compact: &str, place: Option<Place>) {
        if self.keys.is_empty() {
            self.sum.countersignatures.1 += 1;
            return;
        }
        let host = self.sum.chain.parse();
        let host = host.map_err(|error: tether_identity::Malformed| Unbelieved::Wrong(error.to_string()));
        match host.and_then(|host| self.keys.verify(compact, &host)) {
            Ok(found) => self.waiting.push((found, place)),
            Err(Unbelieved::Unchecked) => self.sum.countersignatures.1 += 1,
            Err(Unbelieved::Wrong(why)) => {
                let why = format!("a countersignature that does not hold: {why}");
                self.find(What::Countersignature, None, place, why);
            }
        }
    }

    /// Central's marks are compared once all heads are known: one may stand before its head's file was read to its end.
    fn settle(&mut self) {
        let broken = !self.sum.findings.iter().all(|finding| finding.what == What::Clock);
        for (mark, place) in std::mem::take(&mut self.waiting) {
            self.sum.countersignatures.0 += 1;
            match self.heads.get(&mark.head) {
                Some((number, time_us)) if *number == mark.number => self.hold(&mark, *time_us, place),
                _ if mark.number > self.sum.last && broken => {}
                _ if mark.number > self.sum.last => {
                    let why = format!(
                        "central has countersigned up to record {}, here the chain ends with {}",
                        mark.number, self.sum.last
                    );
                    self.find(What::Cut, Some(self.sum.last + 1), place, why);
                }
                _ if mark.number < self.sum.first || broken => {}
                _ => {
                    let why = "central has countersigned another head at this record: this is another history, or heads were cut off at the end";
                    self.find(What::Forked, Some(mark.number), place, why.to_owned());
                }
            }
        }
    }

    /// Central had what is missing before the first file, if it has countersigned a head that is here.
    fn retired(&mut self) {
        let Some(Missing { from, to, place }) = self.missing.take() else { return };
        if self.sum.countersigned.is_some() {
            self.sum.retired = to;
            return;
        }
        let why = if self.keys.is_empty() {
            "not here; whether central had them is told by its countersignatures, for which --keys and --root are needed"
        } else {
            "not here, and no countersignature of central's says that it had them"
        };
        let why = format!("records {from} to {to} are {why}");
        let chain = self.sum.chain.clone();
        let finding = Finding { what: What::Segment, chain, number: Some(from), place: Some(place), why };
        self.sum.findings.insert(0, finding);
    }

    fn hold(&mut self, mark: &Countersignature, head_us: u64, place: Option<Place>) {
        let time_us = mark.time.saturating_mul(1_000_000);
        if self.sum.countersigned.as_ref().is_none_or(|before| before.number <= mark.number) {
            self.sum.countersigned = Some(Mark { number: mark.number, time_us, key: None });
        }
        if head_us / 1_000_000 > mark.time.saturating_add(AHEAD_S) {
            let ahead = head_us / 1_000_000 - mark.time;
            let why = format!("the host's clock is {ahead} s ahead of central's, which countersigned its head");
            self.find(What::Clock, Some(mark.number), place, why);
        }
    }

    fn find(&mut self, what: What, number: Option<u64>, place: Option<Place>, why: String) {
        let chain = self.sum.chain.clone();
        self.sum.findings.push(Finding { what, chain, number, place, why });
    }
}
