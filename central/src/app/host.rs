//! Hosts: enrolment, what is pushed to them, what they report.

use super::admin::ENROL_SECONDS;
use super::{App, Failed, META_KEYS, fault, restored_at};
use crate::audit::Record;
use crate::clock;
use crate::store::{Act, Host, HostKey, Seen};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tether_accountfile::{UID_FIRST, UID_LAST};
use tether_audit::Ids;
use tether_centrallink::wire::{EnrolRequest, Enrolled, Reported};
use tether_identity::HostId;
use tether_oauth::{Proof, Refusal, Standard};
use tether_statement::{Body, BundlePin, Head, Position, Resume, ResumeRequest, Typ};

/// Where a host enrols.
pub const ENROL_PATH: &str = "/v1/host/enrol";
/// What is pushed to a host.
pub const FEED_PATH: &str = "/v1/host/feed";
/// What a host reports: how far it has read, and its question at start.
pub const REPORT_PATH: &str = "/v1/host/report";
/// The most statements that are sent before a host is heard again.
const BATCH_MAX: usize = 256;
/// How many pairs of uids a host may have passed over: 3 in 100 of all that it has.
const MARK_PAIRS_MARGIN: u64 = 512;

/// What one feed wants to know.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Whose.
    pub host: HostId,
    /// The last statement that it has been sent.
    pub after: u64,
    /// Keys and bundles too.
    pub common: bool,
    /// And a head.
    pub head: bool,
}

/// What a host is to be sent now.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What concerns all hosts, if it was wanted.
    pub common: Option<Arc<Common>>,
    /// Statements: number and text.
    pub statements: Vec<(u64, String)>,
    /// Whether these are all that there are.
    pub whole: bool,
    /// The newest head, if it was wanted; none while statements are left that do not fit this batch.
    pub head: Option<String>,
}

/// What every host has.
#[derive(Debug, Clone)]
pub struct Common {
    /// The key set.
    pub keys: String,
    /// Bundles: digest and text.
    pub bundles: Vec<(String, String)>,
    /// Confirmations: the bundle's name and text.
    pub confirmations: Vec<(String, String)>,
}

fn unknown_host() -> Refusal {
    Refusal::new(Standard::InvalidClient, "host.unknown_key", "no host has enrolled with this key")
}

/// SHA-256, base64url: how secrets are kept.
pub fn hash(secret: &str) -> String {
    Base64UrlUnpadded::encode_string(&Sha256::digest(secret.as_bytes()))
}

/// The greatest uid mark that a host may have: each grant takes two uids, and some are passed over because somebody
/// else has them. A courier reports the mark and may lie; what it claims the host never gives out.
pub(super) fn most_mark(seen: &Seen) -> u32 {
    let base = seen.accepted_mark.max(UID_FIRST - 1);
    let pairs = seen.granted.saturating_sub(seen.accepted_at).saturating_add(MARK_PAIRS_MARGIN);
    let rise = u32::try_from(pairs.saturating_mul(2)).unwrap_or(u32::MAX);
    base.saturating_add(rise).min(UID_LAST)
}

impl App {
    /// A host enrols with a one-time token; from then on its courier's key is its name.
    pub fn enrol(&self, request: &EnrolRequest, proof: &Proof, peer: &str) -> Result<Enrolled, Refusal> {
        let unknown = || Ids::unknown("a host enrols");
        let mut named = None;
        let done = self.act(|act| {
            let refuse = |code: &str, why: &str| Refusal::new(Standard::InvalidRequest, code, why);
            let now = clock::now();
            let enrolment = act.enrolment(&hash(&request.secret))?;
            let mut enrolment = enrolment.ok_or_else(|| refuse("enrol.unknown", "the token is not known"))?;
            named = Some(enrolment.host.to_string());
            if enrolment.used {
                return Err(refuse("enrol.used", "the token was used before").into());
            }
            if now >= enrolment.expires_at {
                return Err(refuse("enrol.expired", "the token has expired").into());
            }
            if act.host_of_key(&proof.jkt)?.is_some() {
                return Err(refuse("enrol.key_in_use", "a host has this key already").into());
            }
            let revoked_at = act.host(&enrolment.host)?.map_or(0, |host| host.revoked_at);
            if enrolment.expires_at < revoked_at.saturating_add(ENROL_SECONDS) {
                return Err(refuse("enrol.revoked", "the host was revoked after the token was made").into());
            }
            let restored = restored_at(act)?;
            if restored > 0 && enrolment.expires_at <= restored.saturating_add(ENROL_SECONDS) {
                return Err(refuse("enrol.revoked", "the token is of before central's store was restored").into());
            }
            enrolment.used = true;
            act.put_enrolment(&enrolment)?;
            let host = Host {
                id: enrolment.host.clone(),
                address: enrolment.address.clone(),
                labels: enrolment.labels.clone(),
                key: Some(HostKey { jkt: proof.jkt.clone() }),
                active: true,
                enrolled_at: now,
                revoked_at,
            };
            act.put_host(&host)?;
            self.resign(act, &host.id)?;
            self.pin_all(act, &host.id, now)?;
            let about = json!({"host": host.id.as_str(), "jkt": proof.jkt.as_str(), "peer": peer});
            self.write(act, &Record::done("host.enrolled", unknown(), about))?;
            self.begin_chain(act, &host.id, request.audit.clone(), now)?;
            let keys = act.meta(META_KEYS)?.ok_or_else(|| fault("keys.missing", "no key set is stored"))?;
            Ok(Enrolled { host: host.id, keys })
        });
        done.map_err(|failed| self.refuse("enrol.refused", unknown(), failed, json!({"peer": peer, "host": named})))
    }

    /// A new host's feed begins with the meaning of every bundle's name.
    fn pin_all(&self, act: &mut dyn Act, host: &HostId, now: u64) -> Result<(), Failed> {
        for bundle in act.bundles()? {
            let pin = BundlePin { name: bundle.name, version: bundle.version, sha256: bundle.sha256 };
            self.say(act, host, &Body::Pin(pin), now)?;
        }
        Ok(())
    }

    /// Which host a proof is of.
    pub fn host_of(&self, proof: &Proof) -> Result<HostId, Refusal> {
        let found = self.look(|act| Ok(act.host_of_key(&proof.jkt)?));
        match found {
            Ok(host) => host.map(|host| host.id).ok_or_else(unknown_host),
            Err(Failed::Refused(refusal)) => Err(refusal),
            Err(Failed::Store(error)) => Err(fault("store.failed", error)),
        }
    }

    /// What hosts are to be sent that have read so far; all in one look.
    pub fn batches(&self, wanted: &[Wanted]) -> Vec<Result<Batch, Failed>> {
        let mut common = None;
        // Before anything is seen: whatever is not seen is younger than the heads.
        let now = clock::now();
        let looked = self.look(|act| Ok(wanted.iter().map(|one| self.batch(act, one, now, &mut common)).collect()));
        looked.unwrap_or_else(|failed: Failed| {
            let refusal = fault("store.failed", failed);
            wanted.iter().map(|_| Err(refusal.clone().into())).collect()
        })
    }

    /// A head is of the same moment as the statements: one that is younger than a statement that it does not name would
    /// hide that statement.
    fn batch(
        &self,
        act: &dyn Act,
        wanted: &Wanted,
        now: u64,
        common: &mut Option<Arc<Common>>,
    ) -> Result<Batch, Failed> {
        let Wanted { host, after, .. } = wanted;
        let statements = act.statements(host, *after, BATCH_MAX)?;
        let whole = statements.len() < BATCH_MAX;
        let head = if wanted.head && whole { Some(self.head(host, act.position(host)?, now)?) } else { None };
        if wanted.common && common.is_none() {
            *common = Some(Arc::new(all_have(act)?));
        }
        Ok(Batch { common: common.clone().filter(|_| wanted.common), statements, whole, head })
    }

    fn head(&self, host: &HostId, position: Position, time: u64) -> Result<String, Failed> {
        let head = Head { host: host.clone(), position, time };
        self.keys.feed.sign(Typ::Head, &head).map_err(|error| fault("head.sign", error).into())
    }

    /// The same for one, with those that ask meanwhile. None if it cannot be had; the log says why.
    pub async fn news(self: &Arc<Self>, wanted: Wanted) -> Option<Batch> {
        let app = Arc::clone(self);
        let batch = self.feeds.ask(wanted, move |wanted| app.batches(&wanted)).await?;
        // A fault is in the log already.
        batch.ok()
    }

    /// A host reports, together with those that do meanwhile.
    pub async fn report(self: &Arc<Self>, host: HostId, report: ResumeRequest) -> Result<Reported, Refusal> {
        let app = Arc::clone(self);
        let done = self.reporting.ask((host, report), move |asked| app.reports(&asked)).await;
        done.unwrap_or_else(|| Err(fault("act.died", "reports")))
    }

    /// Hosts report: each is told what its question at start is answered with, once that stands. All in one act.
    pub fn reports(&self, asked: &[(HostId, ResumeRequest)]) -> Vec<Result<Reported, Refusal>> {
        let taken = self.act(|act| {
            let each = asked.iter().map(|(host, report)| match take_report(act, host, report) {
                Err(Failed::Store(error)) => Err(Failed::Store(error)),
                told => Ok(told),
            });
            each.collect::<Result<Vec<_>, Failed>>()
        });
        match taken {
            Ok(taken) => asked.iter().zip(taken).map(|(asked, taken)| self.reported(asked, taken)).collect(),
            Err(failed) => {
                let refusal = fault("store.failed", failed);
                asked.iter().map(|_| Err(refusal.clone())).collect()
            }
        }
    }

    /// What was taken stands: who waits for the host is told.
    fn reported(
        &self,
        (host, report): &(HostId, ResumeRequest),
        taken: Result<Resume, Failed>,
    ) -> Result<Reported, Refusal> {
        let signed = taken.and_then(|resume| {
            self.hub.note_read(host, report.position.number);
            self.keys.feed.sign(Typ::Resume, &resume).map_err(|error| fault("resume.sign", error).into())
        });
        signed.map(|resume| Reported { resume }).map_err(|failed| {
            let about = json!({"host": host.as_str(), "number": report.position.number, "uid_mark": report.uid_mark});
            match failed {
                Failed::Refused(refusal) if !self.is_report_worth_a_record(host) => refusal,
                failed => self.refuse("report.refused", Ids::unknown("of a host"), failed, about),
            }
        })
    }
}

fn all_have(act: &dyn Act) -> Result<Common, Failed> {
    let keys = act.meta(META_KEYS)?.ok_or_else(|| fault("keys.missing", "no key set is stored"))?;
    let bundles = act.bundles()?;
    let confirmed =
        bundles.iter().filter_map(|bundle| Some((bundle.name.to_string(), bundle.confirmation.clone()?))).collect();
    let bundles = bundles.into_iter().map(|bundle| (bundle.sha256, bundle.text)).collect();
    Ok(Common { keys, bundles, confirmations: confirmed })
}

/// Takes a report, or refuses it and changes nothing: others are in the same act.
fn take_report(act: &mut dyn Act, host: &HostId, report: &ResumeRequest) -> Result<Resume, Failed> {
    let refuse = |code: &str, why: &str| Failed::from(Refusal::new(Standard::InvalidRequest, code, why));
    if report.host != *host {
        return Err(refuse("report.other_host", "the report names another host than the key's"));
    }
    let number = report.position.number;
    let ours = if number == 0 { Some(String::new()) } else { act.hash_at(host, number)? };
    if ours.as_deref() != Some(report.position.hash.as_str()) {
        let why = "the host has read statements that are not ours: a feed that is not this one, or a lie";
        return Err(refuse("report.fork", why));
    }
    let position = act.position(host)?;
    let mut seen = act.seen(host)?;
    let before = seen.clone();
    let most = most_mark(&seen);
    if report.uid_mark > most {
        let why = format!(
            "the host says that its uids go up to {}; by what was granted they go up to {most} at most: a courier that \
             lies, or a ledger of before. What agentd itself says is in /run/tether/resume-request.json; `tether hosts \
             accept-mark` accepts it",
            report.uid_mark
        );
        return Err(refuse("report.uid_mark", &why));
    }
    seen.number = seen.number.max(number);
    seen.uid_mark = seen.uid_mark.max(report.uid_mark);
    seen.time = clock::now();
    // A report that says nothing new is not worth a flush; the time is for people.
    if (seen.number, seen.uid_mark) != (before.number, before.uid_mark) || seen.time > before.time + 60 {
        act.put_seen(host, &seen)?;
    }
    Ok(Resume {
        host: host.clone(),
        nonce: report.nonce.clone(),
        position,
        seen: seen.number,
        uid_mark: seen.uid_mark,
        time: seen.time,
    })
}
