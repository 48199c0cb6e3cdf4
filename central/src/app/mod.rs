//! The acts. Each is one transaction with its audit record; what a caller is told was done is on disk.

mod admin;
mod asking;
mod bundles;
mod certificate;
mod chains;
mod exchange;
mod host;
mod limits;
mod log;
mod owed;
mod people;
mod reach;
mod recorded;
mod recordings;
mod reload;
mod resign;
mod revoke;
mod scim;
mod signals;
mod standing;
mod strangers;

pub use admin::{Admin, Standing, is_name};
pub use certificate::{CERTIFICATE_PATH, Prepared};
pub use chains::{AUDIT_PATH, ChainStanding, Lines};
pub use exchange::TOKEN_PATH;
pub use host::{Batch, Common, ENROL_PATH, FEED_PATH, REPORT_PATH, Wanted, hash};
pub use limits::Attempt;
pub use log::{META_LOG, Served};
pub use recorded::{OpenRecording, RecordingStanding};
pub use recordings::Which as WhichRecording;
pub use revoke::REVOKE_PATH;
pub use scim::Directory;
pub use signals::{SIGNALS_PATH, standard_error};

use crate::access::Access;
use crate::audit::{self, Record};
use crate::config::Settings;
use crate::group::Group;
use crate::hub::Hub;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::metrics::{Metrics, Timed};
use crate::nonces::Nonces;
use crate::providers::Providers;
use crate::rules::Rules;
use crate::shelf::Shelf;
use crate::store::{self, Act, Store, StoreError};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use strangers::Strangers;
use tether_audit::Ids;
use tether_centrallink::wire::Reported;
use tether_identity::HostId;
use tether_oauth::{Proof, ProofRequest, Refusal, Standard};
use tether_statement::issue::{FeedWriter, Signing};
use tether_statement::{Body, ResumeRequest, TrustedKeys, Typ};

/// The name under which the newest key set is kept.
pub const META_KEYS: &str = "keys";
/// The name under which the break-glass token's hash is kept.
pub const META_BREAK_GLASS: &str = "break_glass";

/// The name under which it is kept when this store was last put back from a copy.
pub const META_RESTORED: &str = "restored";

/// How many batches of hosts' chains are judged at a time: after an outage all come at once, and others have work too.
const JUDGING_MAX: usize = 2;

/// How many questions of auditors are answered at a time: one place to look at the store is left for feeds and proofs.
const AUDITING_MAX: usize = 3;

/// How many hosts bring a piece of a recording at a time.
const BRINGING_MAX: usize = 64;

/// Central.
#[derive(Debug)]
pub struct App {
    /// The settings.
    pub settings: Settings,
    /// Hosts that listen.
    pub hub: Hub,
    /// Nonces for proofs.
    pub nonces: Nonces,
    /// The authority that signed our TLS certificate, in PEM: hosts are told.
    pub authority: String,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How much one caller may ask for.
    pub limits: Limits,
    /// Batches of hosts' chains that are judged at a time.
    pub judging: tokio::sync::Semaphore,
    /// Questions of auditors that are answered at a time.
    pub auditing: tokio::sync::Semaphore,
    /// Pieces of recordings that come in at a time.
    pub bringing_places: tokio::sync::Semaphore,
    /// Hosts that bring one.
    pub bringing: recordings::Bringing,
    /// When this central began to listen.
    begun: std::sync::atomic::AtomicU64,
    feeds: Group<Wanted, Result<Batch, Failed>>,
    reporting: Group<(HostId, ResumeRequest), Result<Reported, Refusal>>,
    strangers: Strangers,
    shelf: Shelf,
    keys: Keys,
    rules: RwLock<Rules>,
    trusted: Mutex<Arc<TrustedKeys>>,
    store: Arc<dyn Store>,
    instance: String,
}

impl std::fmt::Debug for dyn Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Store")
    }
}

/// Why an act did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// A rule.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What central is made of.
#[derive(Debug)]
pub struct Parts {
    /// The settings.
    pub settings: Settings,
    /// Its keys.
    pub keys: Keys,
    /// Policies and identity providers.
    pub rules: Rules,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where recordings are.
    pub shelf: Shelf,
    /// The authority that signed our TLS certificate, in PEM.
    pub authority: String,
}

/// Our own fault, told without details.
pub(crate) fn fault(code: &str, why: impl std::fmt::Display) -> Refusal {
    eprintln!("tether-central: {code}: {why}");
    Refusal::new(Standard::ServerError, code, "central cannot do this now; its log says why")
}

/// When the store was put back from a copy; 0 if it never was. What was taken back or used up after the copy was made is
/// not known any more, so nothing counts that was signed or issued until then.
fn restored_at(act: &dyn Act) -> Result<u64, Failed> {
    Ok(act.meta(META_RESTORED)?.and_then(|time| time.parse().ok()).unwrap_or(0))
}

/// What a store of before the log does not have: the log's name, and the key set among those that ever were.
fn furnish(store: &dyn Store, url: &str, keys: &str, version: u64) -> anyhow::Result<()> {
    let random = tether_centrallink::random::name(8)?;
    Ok(store::act(store, |act| -> Result<(), StoreError> {
        act.put_key_set(version, keys)?;
        if act.meta(META_LOG)?.is_none() {
            let name = url.trim_start_matches("https://");
            act.set_meta(META_LOG, &format!("{name}/log/{random}"))?;
        }
        Ok(())
    })?)
}

impl App {
    /// Begins: the keys must be those that the root has signed.
    pub fn new(parts: Parts) -> anyhow::Result<Self> {
        use anyhow::Context;
        let Parts { settings, keys, rules, store, shelf, authority } = parts;
        let kept: Option<String> = store::look(&*store, |act| act.meta(META_KEYS))?;
        let kept = kept.context("the store holds no key set; `tether-central init` makes one")?;
        let trusted = TrustedKeys::verify(&kept, &settings.roots).context("the stored key set")?;
        keys.check(&trusted, &settings.url)?;
        let instance = tether_centrallink::random::name(16)?;
        let (metrics, limits) = (Arc::new(Metrics::new()), Limits::new(&settings.limits));
        let store: Arc<dyn Store> = Arc::new(Timed::new(store, Arc::clone(&metrics)));
        let nonces = Nonces::new(tether_centrallink::random::seed()?);
        furnish(&*store, &settings.url, &kept, trusted.set().version)?;
        let recordings = store::look(&*store, |act| -> Result<_, StoreError> { act.recordings_use(None) })?;
        metrics.recordings_have(recordings.total);
        let app = Self {
            settings,
            hub: Hub::default(),
            nonces,
            authority,
            limits,
            metrics,
            judging: tokio::sync::Semaphore::new(JUDGING_MAX),
            auditing: tokio::sync::Semaphore::new(AUDITING_MAX),
            bringing_places: tokio::sync::Semaphore::new(BRINGING_MAX),
            bringing: recordings::Bringing::default(),
            shelf,
            begun: crate::clock::now().into(),
            strangers: Strangers::default(),
            feeds: Group::default(),
            reporting: Group::default(),
            keys,
            rules: RwLock::new(rules.clone()),
            trusted: Mutex::new(Arc::new(trusted)),
            store,
            instance,
        };
        let about = serde_json::json!({"version": env!("CARGO_PKG_VERSION")});
        app.record(&Record::done("central.started", Ids::unknown("of central itself"), about))?;
        app.rules_loaded(&rules)?;
        Ok(app)
    }

    /// The store itself.
    #[cfg(test)]
    pub(crate) fn store_for_tests(&self) -> &dyn Store {
        &*self.store
    }

    /// As if this central had begun so much earlier.
    #[cfg(test)]
    pub(crate) fn begin_earlier(&self, seconds: u64) {
        self.begun.fetch_sub(seconds, std::sync::atomic::Ordering::SeqCst);
    }

    /// Whether certificates are good through a gateway alone.
    fn has_gateway(&self) -> bool {
        !self.settings.gateway.addresses.is_empty()
    }

    /// The policies in force.
    pub fn access(&self) -> Arc<Access> {
        Arc::clone(&self.rules().access)
    }

    fn providers(&self) -> Arc<Providers> {
        Arc::clone(&self.rules().providers)
    }

    fn rules(&self) -> RwLockReadGuard<'_, Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The newest key set.
    fn trusted(&self) -> Arc<TrustedKeys> {
        self.trusted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys of our delegation tokens, as others may check them (RFC 7517): while keys are rotated, old and new.
    pub fn jwks(&self) -> serde_json::Value {
        let trusted = self.trusted();
        let kids = trusted.issuer(&self.settings.url).map(|issuer| issuer.kids.as_slice()).unwrap_or_default();
        let jwk = |kid: &String| {
            let key = trusted.key(Typ::Delegation, kid)?;
            Some(serde_json::json!({
                "kty": "OKP", "crv": "Ed25519", "x": key.to_string(), "kid": kid, "use": "sig", "alg": "EdDSA",
            }))
        };
        serde_json::json!({"keys": kids.iter().filter_map(jwk).collect::<Vec<_>>()})
    }

    /// Looks whether the store answers.
    pub fn healthy(&self) -> Result<(), StoreError> {
        store::look(&*self.store, |act| act.audit_end().map(drop))
    }

    /// Writes a record that belongs to no other act: a refusal, above all.
    pub fn record(&self, record: &Record) -> Result<(), StoreError> {
        store::act(&*self.store, |act| audit::write(act, &self.instance, record).map(drop))
    }

    /// One transaction.
    fn act<T>(&self, work: impl FnMut(&mut dyn Act) -> Result<T, Failed>) -> Result<T, Failed> {
        store::act(&*self.store, work)
    }

    /// Looks.
    fn look<T>(&self, work: impl FnMut(&dyn Act) -> Result<T, Failed>) -> Result<T, Failed> {
        store::look(&*self.store, work)
    }

    fn write(&self, act: &mut dyn Act, record: &Record) -> Result<u64, StoreError> {
        audit::write(act, &self.instance, record)
    }

    /// The refusal that a caller gets; it is on record first.
    fn refuse(&self, event: &'static str, ids: Ids, failed: Failed, details: serde_json::Value) -> Refusal {
        let refusal = match failed {
            Failed::Refused(refusal) => refusal,
            Failed::Store(error) => return fault("store.failed", error),
        };
        let mut details = details;
        if let Some(members) = details.as_object_mut() {
            members.insert("why".to_owned(), refusal.description.clone().into());
        }
        match self.record(&Record::refused(event, &refusal.code, ids, details)) {
            Ok(()) => refusal,
            Err(error) => fault("store.failed", error),
        }
    }

    /// The same for somebody who has not shown who they are: a flood of them costs one record, not a flush each.
    fn refuse_stranger(
        &self,
        event: &'static str,
        ids: Ids,
        failed: Failed,
        details: serde_json::Value,
        peer: &str,
    ) -> Refusal {
        match failed {
            Failed::Refused(refusal) if !self.is_worth_a_record(peer) => refusal,
            failed => self.refuse(event, ids, failed, details),
        }
    }

    /// Checks the proof of a key for a request to a path. Whether it is used for the first time is asked, with
    /// [`Nonces::take`], when it is known whose key it is: keys that are nobody's take no place among the proofs that are
    /// remembered, else whoever makes keys could fill them, and nobody would be heard.
    pub fn prove(&self, proof: Option<&str>, method: &str, path: &str, token: Option<&str>) -> Result<Proof, Refusal> {
        let proof = self.read_proof(proof, method, path, token)?;
        self.nonces.check(&proof, crate::clock::now())?;
        Ok(proof)
    }

    /// The host that proves its key, once.
    pub fn prove_host(&self, proof: Option<&str>, method: &str, path: &str) -> Result<HostId, Refusal> {
        let proof = self.read_proof(proof, method, path, None)?;
        let host = self.host_of(&proof)?;
        self.nonces.take(&proof, crate::clock::now())?;
        Ok(host)
    }

    fn read_proof(&self, proof: Option<&str>, method: &str, path: &str, token: Option<&str>) -> Result<Proof, Refusal> {
        let text = proof.ok_or_else(|| {
            Refusal::new(Standard::InvalidDpopProof, "proof.none", "the request has no proof of a key (DPoP)")
        })?;
        let url = format!("{}{path}", self.settings.url);
        Proof::verify(text, ProofRequest { method, url: &url, access_token: token })
    }

    /// Signs the next statement of a host's feed and keeps it. The caller tells the hub once the act stands.
    fn say(&self, act: &mut dyn Act, host: &HostId, body: &Body, now: u64) -> Result<u64, Failed> {
        let mut feed = FeedWriter::after(host.clone(), act.position(host)?);
        let (number, text) =
            feed.append(self.key_for(body), body, now).map_err(|error| fault("statement.sign", error))?;
        act.append(host, feed.position(), &text)?;
        Ok(number)
    }

    /// The key of a statement's role.
    fn key_for(&self, body: &Body) -> &Signing {
        match body {
            Body::Grant(_) | Body::Pin(_) => &self.keys.grant,
            Body::Revocation(_) => &self.keys.revocation,
        }
    }
}
