//! `central.toml`: read once, strictly.

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tether_identity::Scheme;
use tether_statement::PublicKey;

/// The settings' file in central's folder.
pub const FILE: &str = "central.toml";

/// What the admin wrote down.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How central is reached, `https://…`; also the issuer of its tokens.
    pub url: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Scheme of workload principals.
    #[serde(default)]
    pub scheme: Scheme,
    /// The root's public keys by `kid`: they sign key sets. Central has no private half of them.
    pub roots: BTreeMap<String, PublicKey>,
    /// Sessions.
    #[serde(default)]
    pub sessions: Sessions,
    /// Hosts' feeds.
    #[serde(default)]
    pub feed: Feed,
    /// Identity providers.
    #[serde(default)]
    pub providers: Vec<ProviderSettings>,
}

/// `[feed]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feed {
    /// How often a head is signed, in seconds: hosts' `max_silence` has to be well above it.
    pub head_seconds: u64,
}

impl Default for Feed {
    fn default() -> Self {
        Self { head_seconds: 10 }
    }
}

/// `[sessions]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sessions {
    /// How long a certificate may be used to connect, in seconds.
    pub certificate_seconds: u64,
    /// How many connections one session may have.
    pub connections: u32,
    /// How many sessions one agent may have for one human at a time.
    pub per_pair: usize,
    /// How long to wait for a host's acknowledgement of a grant, in seconds.
    pub grant_wait_seconds: u64,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { certificate_seconds: 300, connections: 1, per_pair: 8, grant_wait_seconds: 5 }
    }
}

/// `[[providers]]`: an identity provider.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Its `iss`, `https://…`.
    pub issuer: String,
    /// The client ids that humans sign in to.
    pub audiences: Vec<String>,
    /// The namespaces that it speaks for, such as `@example.org`.
    pub namespaces: Vec<String>,
    /// The claim that holds the human's name.
    #[serde(default = "email")]
    pub human_claim: String,
    /// The claim that lists groups.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Values of `acr` that are taken; any if empty.
    #[serde(default)]
    pub acr: Vec<String>,
    /// The authority that signed its TLS certificate, a PEM file; the machine's own if left out.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// Its events, such as a session that was ended there (Shared Signals).
    #[serde(default)]
    pub signals: Option<SignalSettings>,
}

/// `[providers.signals]`: who sends events about a provider's humans, and how they are checked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignalSettings {
    /// The sender's `iss`; the provider's if left out.
    pub issuer: Option<String>,
    /// The `aud` of events that are for us; central's URL if left out.
    pub audience: Option<String>,
    /// Where its keys are; found by its discovery document (`/.well-known/ssf-configuration`) if left out.
    pub jwks_uri: Option<String>,
    /// SHA-256, base64url, of the `Authorization` header that it has to send; none is asked for if left out.
    pub authorization_sha256: Option<String>,
}

fn email() -> String {
    "email".to_owned()
}

impl Settings {
    /// Reads the settings of a folder.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let settings: Self = toml::from_str(&text).with_context(|| format!("{}", path.display()))?;
        settings.check().with_context(|| format!("{}", path.display()))?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        ensure!(self.url.starts_with("https://"), "url: {:?} does not begin with https://", self.url);
        ensure!(
            !self.url.ends_with('/') && !self.url.contains(['?', '#']),
            "url: it is a name, without '/' at its end"
        );
        ensure!(!self.roots.is_empty(), "[roots] names no key");
        let Sessions { certificate_seconds, connections, per_pair, grant_wait_seconds } = self.sessions;
        ensure!(
            certificate_seconds >= 30 && connections > 0 && per_pair > 0 && grant_wait_seconds > 0,
            "[sessions]: certificate_seconds must be at least 30, the others above 0"
        );
        // A courier takes 30 s without a word for a dead connection.
        ensure!((1..=20).contains(&self.feed.head_seconds), "[feed]: head_seconds must be from 1 to 20");
        let mut owners: BTreeMap<String, &str> = BTreeMap::new();
        let mut senders: Vec<&str> = Vec::new();
        for provider in &self.providers {
            ensure!(provider.issuer.starts_with("https://"), "{}: an issuer begins with https://", provider.issuer);
            ensure!(provider.issuer != self.url, "{} is central itself", provider.issuer);
            ensure!(!provider.audiences.is_empty(), "{}: audiences is empty", provider.issuer);
            ensure!(!provider.namespaces.is_empty(), "{}: namespaces is empty", provider.issuer);
            if let Some(signals) = &provider.signals {
                let sender = signals.issuer.as_deref().unwrap_or(&provider.issuer);
                let https = |url: &str| url.starts_with("https://");
                ensure!(https(sender), "{sender}: the issuer of signals begins with https://");
                ensure!(signals.jwks_uri.as_deref().is_none_or(https), "{sender}: jwks_uri begins with https://");
                ensure!(!senders.contains(&sender), "{sender} sends signals for two providers");
                senders.push(sender);
            }
            for namespace in &provider.namespaces {
                ensure!(namespace.starts_with('@') && namespace.len() > 1, "{namespace:?} does not begin with '@'");
                if let Some(other) = owners.insert(namespace.to_lowercase(), &provider.issuer) {
                    bail!("{other} and {} both own {namespace}", provider.issuer);
                }
            }
        }
        Ok(())
    }
}
