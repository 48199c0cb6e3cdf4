//! Hosts: enrolment, what is pushed to them, what they report.

use super::admin::ENROL_SECONDS;
use super::{App, Failed, META_KEYS, fault};
use crate::audit::Record;
use crate::clock;
use crate::store::{Host, HostKey, Seen};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::json;
use sha2::{Digest, Sha256};
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

/// What a host is to be sent now.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The key set.
    pub keys: String,
    /// Statements: number and text.
    pub statements: Vec<(u64, String)>,
    /// Bundles: digest and text.
    pub bundles: Vec<(String, String)>,
    /// Confirmations: the bundle's name and text.
    pub confirmations: Vec<(String, String)>,
    /// The newest head; none while statements are left that do not fit this batch.
    pub head: Option<String>,
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
    fn pin_all(&self, act: &mut dyn crate::store::Act, host: &HostId, now: u64) -> Result<(), Failed> {
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

    /// What a host that has read up to `after` is to be sent. The head is of the same moment as the statements: a
    /// head that is younger than a statement that it does not name would hide that statement.
    pub fn batch(&self, host: &HostId, after: u64) -> Result<Batch, Failed> {
        self.look(|act| {
            let keys = act.meta(META_KEYS)?.ok_or_else(|| fault("keys.missing", "no key set is stored"))?;
            let statements = act.statements(host, after, BATCH_MAX)?;
            let position = act.position(host)?;
            let sent = statements.last().map_or(after, |(number, _)| *number);
            let head = (sent >= position.number).then(|| self.head(host, position)).transpose()?;
            let bundles = act.bundles()?;
            Ok(Batch {
                keys,
                statements,
                confirmations: bundles
                    .iter()
                    .filter_map(|bundle| Some((bundle.name.to_string(), bundle.confirmation.clone()?)))
                    .collect(),
                bundles: bundles.into_iter().map(|bundle| (bundle.sha256, bundle.text)).collect(),
                head,
            })
        })
    }

    fn head(&self, host: &HostId, position: Position) -> Result<String, Failed> {
        let head = Head { host: host.clone(), position, time: clock::now() };
        self.keys.feed.sign(Typ::Head, &head).map_err(|error| fault("head.sign", error).into())
    }

    /// A host reports: it is told what its question at start is answered with.
    pub fn report(&self, host: &HostId, report: &ResumeRequest) -> Result<Reported, Refusal> {
        let about = || json!({"host": host.as_str(), "number": report.position.number, "uid_mark": report.uid_mark});
        self.try_report(host, report)
            .map_err(|failed| self.refuse("report.refused", Ids::unknown("of a host"), failed, about()))
    }

    fn try_report(&self, host: &HostId, report: &ResumeRequest) -> Result<Reported, Failed> {
        let refuse = |code: &str, why: &str| Failed::from(Refusal::new(Standard::InvalidRequest, code, why));
        if report.host != *host {
            return Err(refuse("report.other_host", "the report names another host than the key's"));
        }
        let (reported, number) = self.act(|act| {
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
                    "the host says that its uids go up to {}; by what was granted they go up to {most} at most: a \
                     courier that lies, or a ledger of before. What agentd itself says is in \
                     /run/tether/resume-request.json; `tether hosts accept-mark` accepts it",
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
            let resume = Resume {
                host: host.clone(),
                nonce: report.nonce.clone(),
                position,
                seen: seen.number,
                uid_mark: seen.uid_mark,
                time: seen.time,
            };
            let resume = self.keys.feed.sign(Typ::Resume, &resume).map_err(|error| fault("resume.sign", error))?;
            Ok((Reported { resume }, number))
        })?;
        self.hub.note_read(host, number);
        Ok(reported)
    }
}
