//! Bundles: central's feed says which one a name means, the security team's key says what is in it and that it
//! still holds.
//!
//! A name keeps its last good bundle until the one that the feed names is here and good: a bundle that does not
//! arrive, or is damaged, changes nothing. That is bounded by the confirmation, which nobody but the security team
//! can sign: what was not confirmed for [`MAX_STALE`] (or [`MAX_STALE_WRITE`]) is used no more.

use std::collections::BTreeMap;
use std::time::Duration;
use tether_bundle::{Bundle, Mode, Policy};
use tether_identity::Name;
use tether_statement::{BundleConfirmation, BundlePin, JwsError, TrustedKeys, Typ, UnixTime, digest};

/// How long after its last confirmation a bundle may be used.
pub const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
/// The same for a bundle that has a rule by which something may be written.
pub const MAX_STALE_WRITE: Duration = Duration::from_secs(3600);
/// By how much the security team's clock may be ahead of central's, in seconds.
const AHEAD: u64 = 60;

/// Why a bundle or a confirmation is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BundleRefused {
    /// Its form, key or signature.
    #[error("the bundle is refused: {0}")]
    Jws(#[from] JwsError),
    /// No name of this host means it.
    #[error("no name in this host's feed means the bundle with the digest {0}")]
    NotPinned(String),
    /// Name or version are not those that the feed gives for this digest.
    #[error("the feed means version {wanted} of {name}, the bundle is version {found}")]
    OtherVersion {
        /// The name.
        name: Name,
        /// The feed's.
        wanted: u64,
        /// The bundle's.
        found: u64,
    },
    /// Its rules.
    #[error("the bundle is refused: {0}")]
    Rules(#[from] tether_bundle::BundleError),
    /// A name was to mean something older than it means, or something else under the same version.
    #[error("the feed names version {found} of {name}, version {known} was named before; a name never goes back")]
    OldPin {
        /// The name.
        name: Name,
        /// The version that it means.
        known: u64,
        /// The one that it was to mean.
        found: u64,
    },
    /// Confirmed at a time that has not come.
    #[error("{name} was confirmed at {found}, which is ahead of central's {now}")]
    ConfirmedAhead {
        /// The bundle's name.
        name: Name,
        /// The confirmation's time.
        found: UnixTime,
        /// Central's time.
        now: UnixTime,
    },
}

impl BundleRefused {
    /// The stable code of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotPinned(_) => "bundle.not_pinned",
            Self::OldPin { .. } => "bundle.old_pin",
            Self::ConfirmedAhead { .. } => "bundle.confirmed_ahead",
            Self::Jws(_) | Self::OtherVersion { .. } | Self::Rules(_) => "bundle.refused",
        }
    }
}

/// Why a name's bundle cannot be used now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBundle {
    /// None was ever taken.
    #[error("the bundle {0} is not on this host")]
    None(Name),
    /// The security team has not said that it holds.
    #[error("the bundle {name}, version {version}, was never confirmed by the security team")]
    Unconfirmed {
        /// Its name.
        name: Name,
        /// Its version.
        version: u64,
    },
    /// It said so too long ago.
    #[error("the bundle {name}, version {version}, was last confirmed {age} s ago, at most {most} s are allowed")]
    Stale {
        /// Its name.
        name: Name,
        /// Its version.
        version: u64,
        /// Seconds since.
        age: u64,
        /// The most.
        most: u64,
    },
}

impl NoBundle {
    /// The stable code of the refusal.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::None(_) => "bundle.none",
            Self::Unconfirmed { .. } => "bundle.unconfirmed",
            Self::Stale { .. } => "bundle.stale",
        }
    }
}

/// A good bundle.
#[derive(Debug)]
struct Held {
    digest: String,
    text: String,
    policy: Policy,
}

/// The meanings of names, the last good bundle of each, and when it was confirmed.
#[derive(Debug, Default)]
pub struct Bundles {
    pins: BTreeMap<Name, BundlePin>,
    held: BTreeMap<Name, Held>,
    /// By name and version: that of the bundle which is here, and of the one that is to come.
    confirmed: BTreeMap<(Name, u64), BundleConfirmation>,
}

/// The persisted form, without the bundles themselves.
pub type KeptNames = (Vec<BundlePin>, Vec<BundleConfirmation>);

impl Bundles {
    /// From the persisted form. What the keys no longer vouch for is dropped.
    pub fn restore((pins, confirmed): KeptNames, texts: Vec<String>, keys: Option<&TrustedKeys>) -> Self {
        let mut bundles = Self {
            pins: pins.into_iter().map(|pin| (pin.name.clone(), pin)).collect(),
            held: BTreeMap::new(),
            confirmed: confirmed.into_iter().map(|word| ((word.name.clone(), word.version), word)).collect(),
        };
        for text in texts {
            // It was pinned when it was taken; the name may have moved on since.
            match keys.map(|keys| read(&text, keys)) {
                Some(Ok(held)) => bundles.hold(held),
                Some(Err(error)) => crate::log::warn(format!("a stored bundle is dropped: {error}")),
                None => {}
            }
        }
        bundles
    }

    /// The persisted form.
    pub fn keep(&self) -> KeptNames {
        (self.pins.values().cloned().collect(), self.confirmed.values().cloned().collect())
    }

    /// The bundles' texts.
    pub fn texts(&self) -> Vec<String> {
        self.held.values().map(|held| held.text.clone()).collect()
    }

    /// A name gets a meaning; a newer one than it has, or the one that it has.
    pub fn pin(&mut self, pin: BundlePin) -> Result<(), BundleRefused> {
        match self.pins.get(&pin.name) {
            Some(old) if *old == pin => return Ok(()),
            Some(old) if old.version >= pin.version => {
                return Err(BundleRefused::OldPin { name: pin.name, known: old.version, found: pin.version });
            }
            _ => {}
        }
        self.pins.insert(pin.name.clone(), pin);
        Ok(())
    }

    /// Whoever named bundles so far is not believed any more: names mean what is here, signed by the security team.
    pub fn forget_pins(&mut self) {
        let pin = |(name, held): (&Name, &Held)| {
            let version = held.policy.bundle().version;
            (name.clone(), BundlePin { name: name.clone(), version, sha256: held.digest.clone() })
        };
        self.pins = self.held.iter().map(pin).collect();
    }

    /// Takes a bundle that some name means.
    pub fn take(&mut self, compact: &str, keys: &TrustedKeys) -> Result<(), BundleRefused> {
        let digest = digest(compact);
        let pins: Vec<&BundlePin> = self.pins.values().filter(|pin| pin.sha256 == digest).collect();
        let first = pins.first().ok_or_else(|| BundleRefused::NotPinned(digest.clone()))?;
        let held = read(compact, keys)?;
        // Central may pin any digest under any name; the name inside is the security team's word.
        let bundle = held.policy.bundle();
        if !pins.iter().any(|pin| pin.name == bundle.name && pin.version == bundle.version) {
            let (name, wanted) = (first.name.clone(), first.version);
            return Err(BundleRefused::OtherVersion { name, wanted, found: bundle.version });
        }
        self.hold(held);
        Ok(())
    }

    fn hold(&mut self, held: Held) {
        let bundle = held.policy.bundle();
        let older = |known: &Held| known.policy.bundle().version <= bundle.version;
        if self.held.get(&bundle.name).is_none_or(older) {
            let (name, version) = (bundle.name.clone(), bundle.version);
            self.confirmed.retain(|(other, confirmed), _| *other != name || *confirmed >= version);
            self.held.insert(name, held);
        }
    }

    /// Takes the security team's word that a bundle holds. `false` if a newer one is known.
    pub fn confirm(&mut self, compact: &str, keys: &TrustedKeys, now: UnixTime) -> Result<bool, BundleRefused> {
        let word: BundleConfirmation = keys.verify_statement(compact, Typ::Confirmation)?;
        if word.time > now.saturating_add(AHEAD) {
            return Err(BundleRefused::ConfirmedAhead { name: word.name, found: word.time, now });
        }
        let key = (word.name.clone(), word.version);
        if self.confirmed.get(&key).is_some_and(|known| known.time >= word.time) {
            return Ok(false);
        }
        let pinned = self.pins.get(&word.name).is_some_and(|pin| pin.sha256 == word.sha256);
        let held = self.held.get(&word.name).is_some_and(|held| held.digest == word.sha256);
        if !pinned && !held {
            return Err(BundleRefused::NotPinned(word.sha256));
        }
        self.confirmed.insert(key, word);
        Ok(true)
    }

    /// The bundle that a name means, if it may be used at that time of central's.
    pub fn usable(&self, name: &Name, now: UnixTime) -> Result<&Policy, NoBundle> {
        let held = self.held.get(name).ok_or_else(|| NoBundle::None(name.clone()))?;
        let version = held.policy.bundle().version;
        let word = self.confirmed.get(&(name.clone(), version)).filter(|word| word.sha256 == held.digest);
        let word = word.ok_or_else(|| NoBundle::Unconfirmed { name: name.clone(), version })?;
        let (age, most) = (now.saturating_sub(word.time), most_stale(held.policy.bundle()).as_secs());
        if age > most {
            return Err(NoBundle::Stale { name: name.clone(), version, age, most });
        }
        Ok(&held.policy)
    }

    /// Whether the bundle with this digest is here already.
    pub fn has(&self, digest: &str) -> bool {
        self.held.values().any(|held| held.digest == digest)
    }

    /// Which version of a name is here.
    pub fn version(&self, name: &Name) -> Option<u64> {
        self.held.get(name).map(|held| held.policy.bundle().version)
    }

    /// The names that the feed gave a meaning, and the version of each.
    pub fn named(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.pins.iter().map(|(name, pin)| (name, pin.version))
    }
}

fn read(compact: &str, keys: &TrustedKeys) -> Result<Held, BundleRefused> {
    let bundle: Bundle = keys.verify_statement(compact, Typ::Bundle)?;
    Ok(Held { digest: digest(compact), text: compact.to_owned(), policy: Policy::new(bundle)? })
}

fn most_stale(bundle: &Bundle) -> Duration {
    let writes = bundle.rules.iter().any(|rule| matches!(rule.run.mode, Mode::Write { .. }));
    if writes { MAX_STALE_WRITE } else { MAX_STALE }
}
