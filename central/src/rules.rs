//! What central decides by and what can be read anew while it runs: access policies and identity providers. Both
//! or neither: a file that cannot be used leaves all as it was.

use crate::access::Access;
use crate::app::hash;
use crate::config::Settings;
use crate::providers::Providers;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;

/// The policies' file in central's folder.
pub const POLICIES: &str = "policies.cedar";

/// Policies and providers, checked.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The policies.
    pub access: Arc<Access>,
    /// The providers.
    pub providers: Arc<Providers>,
    /// SHA-256 of the policies' text, base64url.
    pub digest: String,
    /// The providers' names.
    pub issuers: Vec<String>,
}

impl Rules {
    /// Reads the policies of a folder, and takes the providers of its settings.
    pub fn read(folder: &Path, settings: &Settings) -> Result<Self> {
        let path = folder.join(POLICIES);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let access = Access::parse(&text).with_context(|| format!("{}", path.display()))?;
        Ok(Self {
            access: Arc::new(access),
            providers: Arc::new(Providers::new(&settings.providers, folder, &settings.url)?),
            digest: hash(&text),
            issuers: settings.providers.iter().map(|provider| provider.issuer.clone()).collect(),
        })
    }
}
