//! Policies and providers read anew while central runs. What was decided before is not touched: that is what
//! revocation is for.

use super::App;
use crate::audit::Record;
use crate::config::Settings;
use crate::rules::Rules;
use crate::store::StoreError;
use serde_json::json;
use std::path::Path;
use std::sync::PoisonError;
use tether_audit::Ids;

/// The code of files that are not taken.
const REFUSED: &str = "policies.refused";

impl App {
    /// Reads the files of a folder anew. What cannot be used changes nothing; either way it is on record, in the log
    /// and counted. Whether the new ones are in force.
    pub fn reload(&self, folder: &Path) -> bool {
        let done = Settings::load(folder).and_then(|settings| Ok((Rules::read(folder, &settings)?, settings)));
        let done = done.and_then(|(rules, settings)| {
            // First on record, then in force: nothing is decided by policies that the trail does not name.
            self.rules_loaded(&rules)?;
            *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
            Ok(settings)
        });
        match done {
            Ok(settings) => {
                let force = self.rules().digest.clone();
                eprintln!("tether-central: reloaded: policies {force}, {} providers", settings.providers.len());
                if self.needs_restart(&settings) {
                    eprintln!("tether-central: central.toml says more that is new: it takes a restart");
                }
                true
            }
            Err(error) => {
                self.rules_refused(&format!("{error:#}"));
                false
            }
        }
    }

    pub(super) fn rules_loaded(&self, rules: &Rules) -> Result<(), StoreError> {
        let about = json!({"policies": rules.digest, "providers": rules.issuers});
        self.record(&Record::done("policies.loaded", Ids::unknown("of central itself"), about))?;
        self.metrics.count_policies(true);
        Ok(())
    }

    fn rules_refused(&self, why: &str) {
        let force = self.rules().digest.clone();
        eprintln!("tether-central: NOT RELOADED [{REFUSED}]: {why}");
        eprintln!("tether-central: the policies {force} and the providers of before stay in force");
        self.metrics.count_policies(false);
        let about = json!({"why": why, "in_force": force});
        let record = Record::refused(REFUSED, REFUSED, Ids::unknown("of central itself"), about);
        if let Err(error) = self.record(&record) {
            eprintln!("tether-central: store.failed: {error}");
        }
    }

    fn needs_restart(&self, new: &Settings) -> bool {
        let providers = self.settings.providers.clone();
        Settings { providers, ..new.clone() } != self.settings
    }
}
