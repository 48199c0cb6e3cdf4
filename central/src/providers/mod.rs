//! Identity providers: discovery and keys, cached, fetched anew when a token names a key that is not known. The same
//! for whoever sends signals for them.
//!
//! What a token says can make central ask its provider, so that is bounded ([`cache`]).

mod cache;

use crate::config::{ProviderSettings, SignalSettings};
use crate::delegating::MayDelegate;
use anyhow::{Context, Result};
use cache::Cache;
use std::path::Path;
use std::time::{Duration, Instant};
use tether_centrallink::{Http, SYSTEM_AUTHORITIES};
use tether_oauth::{JwkSet, Provider, Refusal, Standard, Transmitter, parse_json};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// One provider.
#[derive(Debug)]
struct Known {
    provider: Provider,
    admin_audiences: Vec<String>,
    keys: Keys,
    may_delegate: Option<MayDelegate>,
    signals: Option<Signals>,
}

/// Who sends events about a provider's humans.
#[derive(Debug)]
struct Signals {
    transmitter: Transmitter,
    authorization: Option<String>,
    keys: Keys,
}

/// Whom an event is from, as far as is known before its signature is checked.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'p> {
    /// What its events have to say.
    pub transmitter: &'p Transmitter,
    /// The hash of the header that it has to send, if it has to.
    pub authorization: Option<&'p str>,
    /// The provider whose humans it may speak of.
    pub provider: &'p Provider,
    signals: &'p Signals,
}

impl Sender<'_> {
    /// Its keys, with the one that is named, if it has it. An event is not sent again once it was refused, so whether it
    /// has it must be its own word of now: else strangers who use up what may be asked could have one lost.
    pub fn keys(&self, kid: Option<&str>) -> Result<JwkSet, Refusal> {
        let begun = Instant::now();
        let keys = self.signals.keys.get(kid)?;
        if kid.is_none_or(|kid| keys.names(kid)) || self.signals.keys.cache.is_of(begun) {
            return Ok(keys);
        }
        let why = "the sender could not be asked for this key now";
        Err(Refusal::new(Standard::TemporarilyUnavailable, "provider.keys", why))
    }
}

/// All trusted providers.
#[derive(Debug)]
pub struct Providers(Vec<Known>);

impl Providers {
    /// From the settings; nothing is fetched before a token asks for it. `url` is central's own.
    pub fn new(settings: &[ProviderSettings], folder: &Path, url: &str) -> Result<Self> {
        let known = settings.iter().map(|one| {
            let path = one.authority.as_ref().map_or_else(|| SYSTEM_AUTHORITIES.into(), |path| folder.join(path));
            let pem = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let http = Http::new(&pem, LIMIT).with_context(|| format!("{}", path.display()))?;
            let provider = Provider {
                issuer: one.issuer.clone(),
                audiences: one.audiences.clone(),
                human_claim: one.human_claim.clone(),
                groups_claim: one.groups_claim.clone(),
                namespaces: one.namespaces.clone(),
                acr: one.acr.clone(),
                amr: one.amr.clone(),
            };
            let keys = Keys::new(&one.issuer, Source::OpenId, &http);
            let signals = one.signals.as_ref().map(|signals| Signals::new(signals, &one.issuer, url, &http));
            let admin_audiences = one.admin_audiences.clone();
            Ok(Known { provider, admin_audiences, keys, may_delegate: MayDelegate::of(one), signals })
        });
        known.collect::<Result<_>>().map(Self)
    }

    /// A provider by its issuer, and its keys: with the one that is named, if the provider has it.
    pub fn find(&self, issuer: &str, kid: Option<&str>) -> Result<(&Provider, JwkSet), Refusal> {
        let known = self.known(issuer)?;
        known.keys.get(kid).map(|keys| (&known.provider, keys))
    }

    /// The same for an admin's sign-in, which is for other clients than an agent's human's.
    pub fn find_for_admins(&self, issuer: &str, kid: Option<&str>) -> Result<(Provider, JwkSet), Refusal> {
        let known = self.known(issuer)?;
        let provider = Provider { audiences: known.admin_audiences.clone(), ..known.provider.clone() };
        known.keys.get(kid).map(|keys| (provider, keys))
    }

    fn known(&self, issuer: &str) -> Result<&Known, Refusal> {
        self.0.iter().find(|known| known.provider.issuer == issuer).ok_or_else(|| {
            let why = format!("the subject token is refused: {issuer:?} is no trusted provider");
            Refusal::new(Standard::InvalidRequest, "subject.unknown_issuer", why)
        })
    }

    /// How a provider's own delegations are checked, if it may make any.
    pub fn may_delegate(&self, issuer: &str) -> Option<&MayDelegate> {
        self.known(issuer).ok()?.may_delegate.as_ref()
    }

    /// A provider by its issuer.
    pub fn named(&self, issuer: &str) -> Option<&Provider> {
        self.0.iter().map(|known| &known.provider).find(|provider| provider.issuer == issuer)
    }

    /// Who sends events under this issuer.
    pub fn sender(&self, issuer: &str) -> Option<Sender<'_>> {
        self.0.iter().find_map(|known| {
            let signals = known.signals.as_ref().filter(|signals| signals.transmitter.issuer == issuer)?;
            let authorization = signals.authorization.as_deref();
            Some(Sender { transmitter: &signals.transmitter, authorization, provider: &known.provider, signals })
        })
    }
}

impl Signals {
    fn new(settings: &SignalSettings, provider: &str, url: &str, http: &Http) -> Self {
        let issuer = settings.issuer.clone().unwrap_or_else(|| provider.to_owned());
        let source = settings.jwks_uri.clone().map_or(Source::SharedSignals, Source::At);
        Self {
            keys: Keys::new(&issuer, source, http),
            authorization: settings.authorization_sha256.clone(),
            transmitter: Transmitter { issuer, audience: settings.audience.clone().unwrap_or_else(|| url.to_owned()) },
        }
    }
}

/// Where keys are found.
#[derive(Debug, Clone)]
enum Source {
    /// By OpenID Connect Discovery.
    OpenId,
    /// By the discovery of Shared Signals.
    SharedSignals,
    /// There.
    At(String),
}

/// An issuer's keys.
#[derive(Debug)]
struct Keys {
    issuer: String,
    source: Source,
    http: Http,
    cache: Cache,
}

impl Keys {
    fn new(issuer: &str, source: Source, http: &Http) -> Self {
        Self { issuer: issuer.to_owned(), source, http: http.clone(), cache: Cache::new() }
    }

    fn get(&self, kid: Option<&str>) -> Result<JwkSet, Refusal> {
        self.cache.get(kid, || self.fetch()).map_err(|error| {
            let why = format!("the keys of {} cannot be had: {error}", self.issuer);
            Refusal::new(Standard::TemporarilyUnavailable, "provider.unreachable", why)
        })
    }

    fn fetch(&self) -> Result<JwkSet> {
        let about = match &self.source {
            Source::At(url) => return self.fetch_keys(url),
            Source::OpenId => format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/')),
            Source::SharedSignals => shared_signals(&self.issuer),
        };
        let about = parse_json(&self.read(&about)?)?;
        let text = |name: &str| about.get(name).and_then(serde_json::Value::as_str);
        anyhow::ensure!(text("issuer") == Some(&self.issuer), "it says that it is {:?}", text("issuer"));
        self.fetch_keys(text("jwks_uri").context("it names no jwks_uri")?)
    }

    fn fetch_keys(&self, url: &str) -> Result<JwkSet> {
        let keys = JwkSet::parse(&self.read(url)?)?;
        anyhow::ensure!(!keys.is_empty(), "it has no key that can be used");
        Ok(keys)
    }

    fn read(&self, url: &str) -> Result<Vec<u8>> {
        let answer = self.http.get(url, &[("Accept", "application/json")])?;
        anyhow::ensure!(answer.status == 200, "{url} answered with the status {}", answer.status);
        Ok(answer.body)
    }
}

/// The well-known part comes between host and path (Shared Signals 1.0, 7.2).
fn shared_signals(issuer: &str) -> String {
    let issuer = issuer.trim_end_matches('/');
    let path = issuer
        .find("://")
        .and_then(|at| issuer.get(at + 3..))
        .and_then(|rest| rest.find('/').map(|at| rest.len() - at));
    let (host, path) = issuer.split_at(issuer.len() - path.unwrap_or(0));
    format!("{host}/.well-known/ssf-configuration{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_signals_is_between_host_and_path() {
        for (issuer, wanted) in [
            ("https://idp.example.org", "https://idp.example.org/.well-known/ssf-configuration"),
            ("https://idp.example.org/", "https://idp.example.org/.well-known/ssf-configuration"),
            ("https://idp.example.org:8443/a/b", "https://idp.example.org:8443/.well-known/ssf-configuration/a/b"),
        ] {
            assert_eq!(shared_signals(issuer), wanted);
        }
    }
}
