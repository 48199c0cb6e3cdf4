//! `central.toml`: read strictly. Providers are read anew at a reload, all else at start.

use crate::delegating::DelegationSettings;
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How much one caller may ask for.
    #[serde(default)]
    pub limits: Limits,
    /// Metrics.
    #[serde(default)]
    pub metrics: Metrics,
    /// Gateways.
    #[serde(default)]
    pub gateway: Gateway,
    /// Hosts' feeds.
    #[serde(default)]
    pub feed: Feed,
    /// The log.
    #[serde(default)]
    pub audit: Audit,
    /// Hosts' recordings.
    #[serde(default)]
    pub recordings: Recordings,
    /// Identity providers. An empty list is not written: `[[providers]]` could not be added below it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderSettings>,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// After how many seconds without a new head of its chain a host counts as silent.
    pub silent_seconds: u64,
    /// Whether a host whose chain has forked still gets new sessions.
    pub grants_to_forked: bool,
    /// Whether everybody may read the log, and not its auditors alone.
    pub public_log: bool,
    /// So many MiB of the disk stay free of hosts' chains: what central itself has to put on record comes first.
    pub free_mib: u64,
    /// The most MiB of lines that one host may bring in a day. It is many times what a host writes, and above what it keeps
    /// while central is away.
    pub host_mib: u64,
}

impl Default for Audit {
    fn default() -> Self {
        Self { silent_seconds: 90, grants_to_forked: false, public_log: false, free_mib: 512, host_mib: 4096 }
    }
}

/// `[recordings]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recordings {
    /// Whether hosts may bring theirs.
    pub on: bool,
    /// The most MiB of one host.
    pub host_mib: u64,
    /// The most MiB of all.
    pub total_mib: u64,
    /// So many MiB of the disk stay free: the store is on it too.
    pub free_mib: u64,
    /// After so many days they are removed.
    pub keep_days: u64,
}

impl Default for Recordings {
    fn default() -> Self {
        Self { on: true, host_mib: 20_480, total_mib: 204_800, free_mib: 2048, keep_days: 365 }
    }
}

/// `[feed]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// `[metrics]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where they can be read, in plain HTTP.
    pub listen: Listen,
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Listen::At(SocketAddr::from(([127, 0, 0, 1], 9464))) }
    }
}

/// An address to listen at, or the word `off`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl TryFrom<String> for Listen {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "off" => Ok(Self::Off),
            _ => text.parse().map(Self::At).map_err(|_| format!("{text:?} is neither ADDRESS:PORT nor \"off\"")),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        match listen {
            Listen::Off => "off".to_owned(),
            Listen::At(address) => address.to_string(),
        }
    }
}

/// `[limits]`: how much one caller may ask for. In each case `burst` at once, then `per_minute`; 0 a minute means
/// without a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections from one address at a time; 0 for as many as there are places.
    pub connections_per_address: usize,
    /// Requests for tokens and certificates from one address.
    pub address: Rate,
    /// Tokens and certificates of one agent.
    pub agent: Rate,
    /// The same of one agent for one human.
    pub pair: Rate,
    /// Attempts to enrol from one address.
    pub enrol: Rate,
    /// Feed connections of one host.
    pub feed: Rate,
}

/// A burst, and how fast it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How many a minute after that.
    pub per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let rate = |burst, per_minute| Rate { burst, per_minute };
        Self {
            connections_per_address: 1000,
            address: rate(300, 1200),
            agent: rate(120, 600),
            pair: rate(60, 120),
            enrol: rate(20, 30),
            feed: rate(20, 60),
        }
    }
}

/// `[gateway]`: where agents' connections come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gateway {
    /// Networks (`192.0.2.7`, `2001:db8::/64`): a certificate is good from nowhere else. Any address, if empty.
    pub addresses: Vec<String>,
}

/// `[[providers]]`: an identity provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// Its `iss`, `https://…`.
    pub issuer: String,
    /// The client ids that humans sign in to.
    pub audiences: Vec<String>,
    /// The client ids that admins sign in to; by none of its tokens may anybody administer if empty. Not one of
    /// `audiences`: an admin's agent is given their sign-in, and must not become an admin by it.
    #[serde(default)]
    pub admin_audiences: Vec<String>,
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
    /// Its own words for factors, and those of RFC 8176: `{ password = "pwd" }`.
    #[serde(default)]
    pub amr: BTreeMap<String, String>,
    /// The authority that signed its TLS certificate, a PEM file; the machine's own if left out.
    #[serde(default)]
    pub authority: Option<PathBuf>,
    /// Its own delegations, if it does the exchange itself.
    #[serde(default)]
    pub delegation: Option<DelegationSettings>,
    /// Its events, such as a session that was ended there (Shared Signals).
    #[serde(default)]
    pub signals: Option<SignalSettings>,
}

/// `[providers.signals]`: who sends events about a provider's humans, and how they are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl Limits {
    fn rates(&self) -> [(&'static str, Rate); 5] {
        let Self { address, agent, pair, enrol, feed, .. } = *self;
        [("address", address), ("agent", agent), ("pair", pair), ("enrol", enrol), ("feed", feed)]
    }
}

/// An address, or a network that begins with its own address: what sshd(8) takes for `source-address`.
fn is_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<std::net::IpAddr>() else { return false };
    let (bytes, most): (u128, u32) = match address {
        std::net::IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        std::net::IpAddr::V6(address) => (u128::from(address), 128),
    };
    match bits.map(str::parse::<u32>) {
        None => true,
        Some(Ok(bits)) if bits <= most => bytes.checked_shl(bits).unwrap_or(0) == 0,
        Some(_) => false,
    }
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
        for (name, rate) in self.limits.rates() {
            ensure!(rate.burst > 0 || rate.per_minute == 0, "[limits] {name}: with a burst of 0 nobody gets anything");
        }
        for network in &self.gateway.addresses {
            ensure!(is_network(network), "[gateway] {network:?} is no address and no ADDRESS/BITS");
        }
        // A courier takes 30 s without a word for a dead connection.
        ensure!((1..=20).contains(&self.feed.head_seconds), "[feed]: head_seconds must be from 1 to 20");
        ensure!(self.audit.silent_seconds >= 10, "[audit]: silent_seconds must be at least 10");
        ensure!(self.audit.host_mib > 0, "[audit]: host_mib must be above 0");
        let Recordings { host_mib, total_mib, keep_days, .. } = self.recordings;
        let above = [host_mib, total_mib, keep_days].iter().all(|value| *value > 0);
        ensure!(above, "[recordings]: host_mib, total_mib and keep_days must be above 0");
        let mut owners: BTreeMap<String, &str> = BTreeMap::new();
        let mut senders: Vec<&str> = Vec::new();
        for provider in &self.providers {
            ensure!(provider.issuer.starts_with("https://"), "{}: an issuer begins with https://", provider.issuer);
            ensure!(provider.issuer != self.url, "{} is central itself", provider.issuer);
            ensure!(!provider.audiences.is_empty(), "{}: audiences is empty", provider.issuer);
            if let Some(both) = provider.admin_audiences.iter().find(|one| provider.audiences.contains(one)) {
                bail!(
                    "{}: {both:?} is in audiences and admin_audiences: an agent could act as its admin",
                    provider.issuer
                );
            }
            ensure!(!provider.namespaces.is_empty(), "{}: namespaces is empty", provider.issuer);
            if let Some(delegation) = &provider.delegation {
                delegation.check(provider)?;
            }
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
