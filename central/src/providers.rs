//! Identity providers: discovery and keys, cached, fetched anew when a token names a key that is not known.
//!
//! What a token says can make central ask its provider, so that is bounded: a few fetches at once, then one each
//! ten seconds.

use crate::config::ProviderSettings;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tether_centrallink::{Http, SYSTEM_AUTHORITIES};
use tether_oauth::{JwkSet, Provider, Refusal, Standard, parse_json};

/// How long keys are used without asking again.
const FRESH: Duration = Duration::from_secs(300);
/// How long they are used when the provider does not answer.
const STALE_MAX: Duration = Duration::from_secs(3600);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);
/// How many fetches may come at once, and how often one more.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(10);

/// One provider.
#[derive(Debug)]
struct Known {
    provider: Provider,
    admin_audiences: Vec<String>,
    http: Http,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Cache {
    keys: Option<(JwkSet, Instant)>,
    fetches_left: u32,
    refilled: Instant,
}

/// All trusted providers.
#[derive(Debug)]
pub struct Providers(Vec<Known>);

impl Providers {
    /// From the settings; nothing is fetched before a token asks for it.
    pub fn new(settings: &[ProviderSettings], folder: &Path) -> Result<Self> {
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
            };
            let cache = Cache { keys: None, fetches_left: BURST, refilled: Instant::now() };
            let admin_audiences = one.admin_audiences.clone();
            Ok(Known { provider, admin_audiences, http, cache: Mutex::new(cache) })
        });
        known.collect::<Result<_>>().map(Self)
    }

    /// A provider by its issuer, and its keys: with the one that is named, if the provider has it.
    pub fn find(&self, issuer: &str, kid: Option<&str>) -> Result<(&Provider, JwkSet), Refusal> {
        let known = self.known(issuer)?;
        known.keys(kid).map(|keys| (&known.provider, keys))
    }

    /// The same for an admin's sign-in, which is for other clients than an agent's human's.
    pub fn find_for_admins(&self, issuer: &str, kid: Option<&str>) -> Result<(Provider, JwkSet), Refusal> {
        let known = self.known(issuer)?;
        let provider = Provider { audiences: known.admin_audiences.clone(), ..known.provider.clone() };
        known.keys(kid).map(|keys| (provider, keys))
    }

    fn known(&self, issuer: &str) -> Result<&Known, Refusal> {
        self.0.iter().find(|known| known.provider.issuer == issuer).ok_or_else(|| {
            let why = format!("the subject token is refused: {issuer:?} is no trusted provider");
            Refusal::new(Standard::InvalidRequest, "subject.unknown_issuer", why)
        })
    }
}

impl Known {
    fn keys(&self, kid: Option<&str>) -> Result<JwkSet, Refusal> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((keys, at)) = &cache.keys
            && at.elapsed() < FRESH
            && kid.is_none_or(|kid| keys.names(kid))
        {
            return Ok(keys.clone());
        }
        let fetched = if cache.may_fetch() { self.fetch() } else { Err(anyhow::anyhow!("it was asked too often")) };
        match (fetched, &cache.keys) {
            (Ok(keys), _) => {
                cache.keys = Some((keys.clone(), Instant::now()));
                Ok(keys)
            }
            (Err(_), Some((keys, at))) if at.elapsed() < STALE_MAX => Ok(keys.clone()),
            (Err(error), _) => {
                let why = format!("the keys of {} cannot be had: {error:#}", self.provider.issuer);
                Err(Refusal::new(Standard::TemporarilyUnavailable, "provider.unreachable", why))
            }
        }
    }

    fn fetch(&self) -> Result<JwkSet> {
        let issuer = &self.provider.issuer;
        let about = self.get(&format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/')))?;
        let about = parse_json(&about)?;
        let text = |name: &str| about.get(name).and_then(serde_json::Value::as_str);
        anyhow::ensure!(text("issuer") == Some(issuer), "it says that it is {:?}", text("issuer"));
        let keys = JwkSet::parse(&self.get(text("jwks_uri").context("it names no jwks_uri")?)?)?;
        anyhow::ensure!(!keys.is_empty(), "it has no key that can be used");
        Ok(keys)
    }

    fn get(&self, url: &str) -> Result<Vec<u8>> {
        let answer = self.http.get(url, &[("Accept", "application/json")])?;
        anyhow::ensure!(answer.status == 200, "{url} answered with the status {}", answer.status);
        Ok(answer.body)
    }
}

impl Cache {
    fn may_fetch(&mut self) -> bool {
        let passed = self.refilled.elapsed().as_secs() / REFILL.as_secs();
        if passed > 0 {
            self.fetches_left = self.fetches_left.saturating_add(u32::try_from(passed).unwrap_or(BURST)).min(BURST);
            self.refilled = Instant::now();
        }
        let may = self.fetches_left > 0;
        self.fetches_left = self.fetches_left.saturating_sub(1);
        may
    }
}
