//! The state of trust, moved forward by what arrives.

use super::bundles::{BundleRefused, Bundles, NoBundle};
use super::freshness::{Anchor, Freshness};
use super::passed::Passed;
use crate::clock::Moment;
use crate::config;
use serde::{Deserialize, Serialize};
use tether_bundle::Policy;
use tether_hostlink::{BundleSummary, SESSIONS_PAGE};
use tether_identity::{HostId, Name};
use tether_statement::{
    Body, BundleConfirmation, BundlePin, FeedError, FeedStatement, Head, JwsError, Position, Resume, ResumeRequest,
    Role, TrustedKeys, UnixTime,
};

/// What is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The newest key set, compact.
    pub keys: Option<String>,
    /// How far the feed was read.
    pub position: Position,
    /// The greatest time ever seen signed.
    pub floor: UnixTime,
    /// What bundle names mean.
    pub pins: Vec<BundlePin>,
    /// When which bundle was confirmed.
    pub confirmed: Vec<BundleConfirmation>,
}

impl Default for Kept {
    fn default() -> Self {
        Self { keys: None, position: Position::start(), floor: 0, pins: Vec::new(), confirmed: Vec::new() }
    }
}

/// Why something that arrived is not taken.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The key set.
    #[error("the key set is refused: {0}")]
    Keys(JwsError),
    /// An older key set than the one in use.
    #[error("the key set has version {found}, version {known} is in use")]
    OldKeys {
        /// Its version.
        found: u64,
        /// The version in use.
        known: u64,
    },
    /// There is no valid key set yet.
    #[error("no valid key set has come yet")]
    NoKeys,
    /// Nothing is taken from the feed before central answered this start.
    #[error("central has not answered this start yet")]
    NotResumed,
    /// A statement, head or resume.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The answer is to another start.
    #[error("the resume answers another start than this one")]
    OtherNonce,
    /// The feed that central knows and this host's differ.
    #[error("at number {0} central's feed and this host's differ")]
    Fork(u64),
    /// A signed time before one that was seen already.
    #[error("it was signed at {found}, but {floor} was seen signed already")]
    BeforeFloor {
        /// Its time.
        found: UnixTime,
        /// The greatest seen.
        floor: UnixTime,
    },
    /// A bundle.
    #[error(transparent)]
    Bundle(#[from] BundleRefused),
}

impl TrustError {
    /// The stable code of the refusal.
    pub fn code(&self) -> String {
        match self {
            Self::Keys(error) => format!("keys.{}", error.code()),
            Self::OldKeys { .. } => "keys.old".to_owned(),
            Self::NoKeys => "keys.none".to_owned(),
            Self::NotResumed => "feed.not_resumed".to_owned(),
            Self::Feed(error) => error.code(),
            Self::OtherNonce => "resume.other_start".to_owned(),
            Self::Fork(_) => "feed.fork".to_owned(),
            Self::BeforeFloor { .. } => "feed.before_floor".to_owned(),
            Self::Bundle(refused) => refused.code().to_owned(),
        }
    }
}

/// What a statement that was taken asks for.
#[derive(Debug)]
pub struct Taken {
    /// Its number.
    pub number: u64,
    /// What it says.
    pub body: Body,
    /// Central saw this host read it before: the disk was put back since.
    pub replayed: bool,
    /// It names a bundle, and the name keeps the meaning that it has.
    pub unheeded: Option<BundleRefused>,
}

/// What this host believes.
#[derive(Debug)]
pub struct Trust {
    host: HostId,
    roots: std::collections::BTreeMap<String, tether_statement::PublicKey>,
    compact_keys: Option<String>,
    keys: Option<TrustedKeys>,
    position: Position,
    floor: UnixTime,
    /// What bundle names mean, and the bundles.
    pub bundles: Bundles,
    nonce: String,
    started: Moment,
    asked: Moment,
    resumed: Option<Anchor>,
    head: Option<Head>,
    complete: Option<UnixTime>,
    seen: u64,
    passed: Passed,
}

/// Whether a key has the role in both.
fn share_a_key(role: Role, old: &TrustedKeys, new: &TrustedKeys) -> bool {
    let of = |keys: &TrustedKeys| -> Vec<String> {
        keys.set().keys.iter().filter(|key| key.role == role).map(|key| key.x.to_string()).collect()
    };
    let (old, new) = (of(old), of(new));
    old.iter().any(|key| new.contains(key))
}

impl Trust {
    /// At start: `nonce` is new, and was made at `asked`.
    /// `bundles` are the texts of those that were here.
    pub fn restore(config: &config::Host, kept: Kept, bundles: Vec<String>, nonce: String, asked: Moment) -> Self {
        let keys = kept.keys.as_ref().and_then(|compact| TrustedKeys::verify(compact, &config.roots).ok());
        Self {
            host: config.host.clone(),
            roots: config.roots.clone(),
            bundles: Bundles::restore((kept.pins, kept.confirmed), bundles, keys.as_ref()),
            compact_keys: kept.keys,
            keys,
            position: kept.position,
            floor: kept.floor,
            nonce,
            started: asked,
            asked,
            resumed: None,
            head: None,
            complete: None,
            seen: 0,
            passed: Passed::default(),
        }
    }

    /// What to keep on disk.
    pub fn keep(&self) -> Kept {
        let (pins, confirmed) = self.bundles.keep();
        Kept { keys: self.compact_keys.clone(), position: self.position.clone(), floor: self.floor, pins, confirmed }
    }

    /// Asks anew: the last question was not answered while its answer would still have been young. `nonce` is
    /// new, and was made `now`.
    pub fn ask_again(&mut self, nonce: String, now: Moment) {
        self.nonce = nonce;
        self.asked = now;
    }

    /// How long central has not answered; none once it has.
    pub fn unanswered(&self, now: Moment) -> Option<std::time::Duration> {
        self.resumed.is_none().then(|| now.since(self.asked))
    }

    /// What to ask central at start.
    pub fn resume_request(&self, boot_id: &str, uid_mark: u32) -> ResumeRequest {
        ResumeRequest {
            host: self.host.clone(),
            nonce: self.nonce.clone(),
            boot_id: boot_id.to_owned(),
            position: self.position.clone(),
            uid_mark,
        }
    }

    /// A key set arrived. `true` if it is newer than the one in use. Bundles whose key it no longer names go.
    pub fn take_keys(&mut self, compact: &str) -> Result<bool, TrustError> {
        if self.compact_keys.as_deref() == Some(compact) && self.keys.is_some() {
            return Ok(false);
        }
        let keys = TrustedKeys::verify(compact, &self.roots).map_err(TrustError::Keys)?;
        if let Some(known) = self.keys.as_ref().map(|known| known.set().version)
            && keys.set().version <= known
        {
            return Err(TrustError::OldKeys { found: keys.set().version, known });
        }
        let replaced = |role| self.keys.as_ref().is_some_and(|old| !share_a_key(role, old, &keys));
        let (feed, grants) = (replaced(Role::Feed), replaced(Role::Grant));
        if feed {
            // The feed's keys were replaced, as after a theft. What they signed as seen from the future must not
            // shut out what the new ones sign; those have signed nothing before the root named them.
            self.floor = self.floor.min(keys.set().issued_at);
        }
        self.bundles = Bundles::restore(self.bundles.keep(), self.bundles.texts(), Some(&keys));
        if grants {
            // In the same way: a version that a thief gave to a name must not stand above all that come.
            self.bundles.forget_pins();
        }
        self.compact_keys = Some(compact.to_owned());
        self.keys = Some(keys);
        Ok(true)
    }

    /// Central's answer to this start arrived. The uid mark that it knows of.
    pub fn take_resume(&mut self, compact: &str) -> Result<u32, TrustError> {
        let keys = self.any_keys()?;
        let resume = Resume::verify(compact, keys, &self.host)?;
        if resume.nonce != self.nonce {
            return Err(TrustError::OtherNonce);
        }
        // Only of the first answer is it known that it was signed soon after the question.
        if self.resumed.is_some() {
            return Ok(resume.uid_mark);
        }
        if !keys.is_valid_at(resume.time) {
            return Err(TrustError::NoKeys);
        }
        self.check_floor(resume.time)?;
        self.check_fork(&resume.position)?;
        self.floor = resume.time;
        self.seen = resume.seen;
        self.resumed = Some(Anchor::new(resume.time, self.asked));
        self.head = Some(Head { host: resume.host, position: resume.position, time: resume.time });
        self.note_complete();
        Ok(resume.uid_mark)
    }

    /// A head arrived. `true` if it is newer than the one known.
    pub fn take_head(&mut self, compact: &str, now: Moment) -> Result<bool, TrustError> {
        let anchor = self.resumed.ok_or(TrustError::NotResumed)?;
        let keys = self.keys(now)?;
        let head = Head::verify(compact, keys, &self.host)?;
        if !keys.is_valid_at(head.time) {
            return Err(TrustError::NoKeys);
        }
        if self.head.as_ref().is_some_and(|known| known.time >= head.time) {
            return Ok(false);
        }
        self.check_floor(head.time)?;
        if !self.passed.covers(&head, anchor.at(now)) {
            self.check_fork(&head.position)?;
        }
        self.floor = head.time;
        self.resumed = Some(anchor.seen(head.time, now));
        self.head = Some(head);
        self.note_complete();
        Ok(true)
    }

    /// A feed statement arrived. Expired keys will do: a revocation must come through, and a grant is worth
    /// nothing while no head makes the feed fresh.
    pub fn take_statement(&mut self, compact: &str) -> Result<Taken, TrustError> {
        if self.resumed.is_none() {
            return Err(TrustError::NotResumed);
        }
        let statement = FeedStatement::verify(compact, self.any_keys()?, &self.host, &self.position)?;
        let promised = self.head.as_ref().map(|head| &head.position);
        if promised.is_some_and(|head| head.number == statement.position.number && *head != statement.position) {
            return Err(TrustError::Fork(statement.position.number));
        }
        self.passed.add(std::mem::replace(&mut self.position, statement.position), statement.issued_at);
        self.note_complete();
        let unheeded = match &statement.body {
            Body::Pin(pin) => self.bundles.pin(pin.clone()).err(),
            Body::Grant(_) | Body::Revocation(_) => None,
        };
        let number = self.position.number;
        Ok(Taken { number, body: statement.body, replayed: number <= self.seen, unheeded })
    }

    /// A bundle arrived. `true` if it was not here before.
    pub fn take_bundle(&mut self, compact: &str) -> Result<bool, TrustError> {
        if self.bundles.has(&tether_statement::digest(compact)) {
            return Ok(false);
        }
        // The statement that names it may wait for central's answer: until then it is not known to be unwanted.
        if self.resumed.is_none() {
            return Err(TrustError::NotResumed);
        }
        let keys = self.keys.as_ref().ok_or(TrustError::NoKeys)?;
        self.bundles.take(compact, keys)?;
        Ok(true)
    }

    /// The security team's word that a bundle holds arrived. `true` if it is newer than the one known.
    pub fn take_confirmation(&mut self, compact: &str, now: Moment) -> Result<bool, TrustError> {
        let time = self.time(now).ok_or(TrustError::NotResumed)?;
        let keys = self.keys.as_ref().ok_or(TrustError::NoKeys)?;
        Ok(self.bundles.confirm(compact, keys, time)?)
    }

    /// The bundle that a name means, if it may be used now.
    pub fn bundle(&self, name: &Name, now: Moment) -> Result<&Policy, NoBundle> {
        // Without central's time nothing is known to be young; no command is decided then anyway.
        self.bundles.usable(name, self.time(now).unwrap_or(UnixTime::MAX))
    }

    /// How every bundle that the feed names stands.
    pub fn bundle_summaries(&self, now: Moment) -> Vec<BundleSummary> {
        let summary = |(name, named): (&Name, u64)| BundleSummary {
            name: name.to_string(),
            version: self.bundles.version(name),
            named,
            state: self.bundle(name, now).map_or_else(|error| error.code(), |_| "usable").to_owned(),
        };
        self.bundles.named().map(summary).take(SESSIONS_PAGE).collect()
    }

    /// The greatest time ever seen signed.
    pub fn floor(&self) -> UnixTime {
        self.floor
    }

    /// How far the feed was read.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// The newest key set, valid or not: for sshd, which is asked about nothing that agentd does not check too.
    pub fn any_key_set(&self) -> Option<&tether_statement::KeySet> {
        self.keys.as_ref().map(TrustedKeys::set)
    }

    /// The keys, if they are still valid at central's time.
    pub fn keys(&self, now: Moment) -> Result<&TrustedKeys, TrustError> {
        let time = self.time(now).ok_or(TrustError::NotResumed)?;
        self.keys.as_ref().filter(|keys| keys.is_valid_at(time)).ok_or(TrustError::NoKeys)
    }

    /// Central's time, as far as it is known; what expiry is measured by.
    pub fn time(&self, now: Moment) -> Option<UnixTime> {
        self.resumed.map(|anchor| anchor.at(now))
    }

    /// How this host stands towards central. Only a head of which every statement was read counts: one that
    /// names statements that are withheld does not make the feed any younger.
    pub fn freshness(&self, now: Moment) -> Freshness {
        match (self.resumed, self.complete) {
            (Some(anchor), Some(complete)) => {
                Freshness::Age(std::time::Duration::from_secs(anchor.at(now).saturating_sub(complete)))
            }
            _ => Freshness::NotResumed,
        }
    }

    /// How long ago the feed was last known to be whole; since agentd's start, if it never was.
    pub fn silence(&self, now: Moment) -> std::time::Duration {
        match self.freshness(now) {
            Freshness::Age(age) => age,
            Freshness::NotResumed => now.since(self.started),
        }
    }

    fn note_complete(&mut self) {
        if let Some(head) = self.head.as_ref().filter(|head| head.position.number <= self.position.number) {
            self.complete = Some(head.time);
        }
    }

    fn any_keys(&self) -> Result<&TrustedKeys, TrustError> {
        self.keys.as_ref().ok_or(TrustError::NoKeys)
    }

    fn check_floor(&self, found: UnixTime) -> Result<(), TrustError> {
        if found < self.floor { Err(TrustError::BeforeFloor { found, floor: self.floor }) } else { Ok(()) }
    }

    /// Equal numbers with unequal hashes, or a central that knows less than this host: not one feed.
    fn check_fork(&self, theirs: &Position) -> Result<(), TrustError> {
        let differs = theirs.number == self.position.number && theirs.hash != self.position.hash;
        if differs || theirs.number < self.position.number {
            return Err(TrustError::Fork(theirs.number));
        }
        Ok(())
    }
}
