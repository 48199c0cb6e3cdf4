//! Bundles: the security team signs them, an admin brings them, central says which one a name means. What is in
//! them central cannot change: it has no key for that.

use super::resign::all_can_read_on;
use super::{Admin, App, Failed, META_KEYS, fault};
use crate::audit::Record;
use crate::clock;
use crate::store::BundleText;
use serde_json::json;
use std::sync::{Arc, PoisonError};
use tether_audit::Ids;
use tether_bundle::Bundle;
use tether_oauth::{Refusal, Standard};
use tether_statement::{Body, BundleConfirmation, BundlePin, TrustedKeys, Typ, digest};

fn refuse(code: &str, why: impl std::fmt::Display) -> Failed {
    Refusal::new(Standard::InvalidRequest, code, why).into()
}

impl App {
    /// Takes a signed bundle, and says on every host that its name means it.
    pub fn publish(&self, admin: &Admin, text: &str) -> Result<(), Refusal> {
        let done = self.act(|act| {
            let bundle: Bundle = self
                .trusted()
                .verify_statement(text, Typ::Bundle)
                .map_err(|error| refuse("bundle.refused", format_args!("the bundle is refused: {error}")))?;
            let known = act.bundles()?.into_iter().find(|known| known.name == bundle.name);
            if known.is_some_and(|known| known.version >= bundle.version) {
                return Err(refuse("bundle.old", "the bundle's version is not above the one in force"));
            }
            let (name, version, sha256) = (bundle.name.clone(), bundle.version, digest(text));
            let record = BundleText {
                name: name.clone(),
                version,
                sha256: sha256.clone(),
                text: text.to_owned(),
                confirmation: None,
                confirmed_at: 0,
            };
            act.put_bundle(&record)?;
            let now = clock::now();
            for host in act.hosts()?.iter().filter(|host| host.key.is_some()) {
                let pin = BundlePin { name: name.clone(), version, sha256: sha256.clone() };
                self.say(act, &host.id, &Body::Pin(pin), now)?;
            }
            let about = json!({"by": admin.name, "bundle": name.as_str(), "version": version, "sha256": sha256});
            self.write(act, &Record::done("bundle.published", Ids::unknown("an admin's act"), about))?;
            Ok(())
        });
        self.told(admin, "bundle.published", done)
    }

    /// Takes the security team's word that a bundle holds.
    pub fn confirm(&self, admin: &Admin, text: &str) -> Result<(), Refusal> {
        let done = self.act(|act| {
            let word: BundleConfirmation = self
                .trusted()
                .verify_statement(text, Typ::Confirmation)
                .map_err(|error| refuse("confirmation.refused", format_args!("it is refused: {error}")))?;
            let known = act.bundles()?.into_iter().find(|known| known.name == word.name && known.sha256 == word.sha256);
            let mut known = known.ok_or_else(|| refuse("confirmation.other", "it is about a bundle not in force"))?;
            if known.confirmed_at >= word.time {
                return Err(refuse("confirmation.old", "a newer confirmation is known"));
            }
            known.confirmed_at = word.time;
            known.confirmation = Some(text.to_owned());
            act.put_bundle(&known)?;
            let about =
                json!({"by": admin.name, "bundle": word.name.as_str(), "version": word.version, "time": word.time});
            self.write(act, &Record::done("bundle.confirmed", Ids::unknown("an admin's act"), about))?;
            Ok(())
        });
        self.told(admin, "bundle.confirmed", done)
    }

    /// Takes a newer key set that the root has signed. It must still name our keys.
    pub fn take_keys(&self, admin: &Admin, text: &str) -> Result<(), Refusal> {
        let done = self.act(|act| {
            let new = TrustedKeys::verify(text, &self.settings.roots)
                .map_err(|error| refuse("keys.refused", format_args!("the key set is refused: {error}")))?;
            // The one that is stored: what is in force here follows only after the act.
            let stored = act.meta(META_KEYS)?.ok_or_else(|| fault("keys.missing", "no key set is stored"))?;
            let stored =
                TrustedKeys::verify(&stored, &self.settings.roots).map_err(|error| fault("keys.stored", error))?;
            if new.set().version <= stored.set().version {
                return Err(refuse("keys.old", "the key set's version is not above the one in force"));
            }
            self.keys.check(&new, &self.settings.url).map_err(|error| refuse("keys.not_ours", error))?;
            all_can_read_on(act, &new)?;
            act.set_meta(META_KEYS, text)?;
            act.put_key_set(new.set().version, text)?;
            let about = json!({"by": admin.name, "version": new.set().version, "expires_at": new.set().expires_at});
            self.write(act, &Record::done("keys.taken", Ids::unknown("an admin's act"), about))?;
            Ok(new)
        });
        let done = done.map(|new| self.trust(new));
        self.told(admin, "keys.taken", done)
    }

    /// Two sets that were taken one after the other may get here the other way round.
    fn trust(&self, new: TrustedKeys) {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if trusted.set().version < new.set().version {
            *trusted = Arc::new(new);
        }
    }

    /// All hosts are told of what was done; what was refused is on record.
    fn told(&self, admin: &Admin, event: &'static str, done: Result<(), Failed>) -> Result<(), Refusal> {
        match done {
            Ok(()) => {
                self.hub.tell_all();
                Ok(())
            }
            Err(failed) => {
                let about = json!({"by": admin.name, "wanted": event});
                Err(self.refuse("admin.refused", Ids::unknown("an admin's act"), failed, about))
            }
        }
    }
}
