//! Bundles: central's feed says which one a name means, the security team's key says what is in it.

use std::collections::BTreeMap;
use tether_bundle::{Bundle, Policy};
use tether_identity::Name;
use tether_statement::{BundlePin, JwsError, TrustedKeys, Typ, digest};

/// Why a bundle is not taken.
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
}

/// The meanings of names, and the bundles that are here.
#[derive(Debug, Clone, Default)]
pub struct Bundles {
    pins: BTreeMap<Name, BundlePin>,
    texts: BTreeMap<String, String>,
    read: BTreeMap<String, Policy>,
}

impl Bundles {
    /// From the persisted form.
    pub fn restore(pins: Vec<BundlePin>, texts: Vec<String>, keys: Option<&TrustedKeys>) -> Self {
        let pins = pins.into_iter().map(|pin| (pin.name.clone(), pin)).collect();
        let mut bundles = Self { pins, ..Self::default() };
        if let Some(keys) = keys {
            for text in texts {
                if let Err(error) = bundles.take(&text, keys) {
                    crate::log::warn(format!("a stored bundle is dropped: {error}"));
                }
            }
        }
        bundles
    }

    /// The persisted form: pins and texts.
    pub fn keep(&self) -> (Vec<BundlePin>, Vec<String>) {
        (self.pins.values().cloned().collect(), self.texts.values().cloned().collect())
    }

    /// A name gets a meaning. An older version than the one pinned is not taken: `false`.
    pub fn pin(&mut self, pin: BundlePin) -> bool {
        if self.pins.get(&pin.name).is_some_and(|old| old.version >= pin.version) {
            return false;
        }
        self.pins.insert(pin.name.clone(), pin);
        let wanted: Vec<&String> = self.pins.values().map(|pin| &pin.sha256).collect();
        self.texts.retain(|digest, _| wanted.contains(&digest));
        self.read.retain(|digest, _| wanted.contains(&digest));
        true
    }

    /// Takes a bundle that some name means.
    pub fn take(&mut self, compact: &str, keys: &TrustedKeys) -> Result<(), BundleRefused> {
        let digest = digest(compact);
        let pins: Vec<&BundlePin> = self.pins.values().filter(|pin| pin.sha256 == digest).collect();
        let first = pins.first().ok_or_else(|| BundleRefused::NotPinned(digest.clone()))?;
        let bundle: Bundle = keys.verify_statement(compact, Typ::Bundle)?;
        if !pins.iter().any(|pin| is_meant(pin, &bundle)) {
            let (name, wanted) = (first.name.clone(), first.version);
            return Err(BundleRefused::OtherVersion { name, wanted, found: bundle.version });
        }
        let policy = Policy::new(bundle)?;
        self.texts.insert(digest.clone(), compact.to_owned());
        self.read.insert(digest, policy);
        Ok(())
    }

    /// The bundle that a name means, if it is here.
    pub fn get(&self, name: &Name) -> Option<&Policy> {
        let pin = self.pins.get(name)?;
        self.read.get(&pin.sha256).filter(|policy| is_meant(pin, policy.bundle()))
    }

    /// Whether the bundle with this digest is here already.
    pub fn has(&self, digest: &str) -> bool {
        self.read.contains_key(digest)
    }
}

/// Central may pin any digest under any name; the name inside is the security team's word.
fn is_meant(pin: &BundlePin, bundle: &Bundle) -> bool {
    bundle.name == pin.name && bundle.version == pin.version
}
