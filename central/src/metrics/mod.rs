//! Metrics, in the text form of OpenMetrics. Labels are outcomes, codes and hosts; never a human's or an agent's name.

mod timed;

pub use timed::Timed;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use tether_oauth::{Refusal, Standard};

/// The most codes that are told apart: a code may name a claim, and claims are the provider's.
const CODES_MAX: usize = 300;

/// How something that was asked for went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Went {
    outcome: &'static str,
    code: String,
}

/// A word from a short list of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHost {
    host: String,
}

/// A host and how its audit chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfChain {
    host: String,
    state: &'static str,
}

/// What is counted by outcome and code.
#[derive(Debug, Clone, Copy)]
pub enum Asked {
    /// A token.
    Exchange,
    /// A certificate.
    Certificate,
    /// An enrolment.
    Enrolment,
    /// A host's report.
    Report,
    /// A batch of a host's audit chain.
    Audit,
    /// A piece of a recording, or a question for one.
    Recording,
}

/// How one host stands.
#[derive(Debug, Clone)]
pub struct HostStanding {
    /// Its id.
    pub host: String,
    /// When it was last heard, seconds since 1970.
    pub heard: u64,
    /// How many statements it has not acknowledged.
    pub behind: u64,
    /// Whether its feed is connected.
    pub listening: bool,
    /// How its audit chain stands.
    pub chain: &'static str,
}

#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
    }
}

/// All of them.
pub struct Metrics {
    registry: Registry,
    exchanges: Family<Went, Counter>,
    certificates: Family<Went, Counter>,
    enrolments: Family<Went, Counter>,
    reports: Family<Went, Counter>,
    revocations: Family<Kind, Counter>,
    sessions_revoked: Counter,
    limited: Family<Kind, Counter>,
    policies: Family<Kind, Counter>,
    alarms: Family<Kind, Counter>,
    audit_batches: Family<Went, Counter>,
    recording_pieces: Family<Went, Counter>,
    recordings_bytes: Gauge,
    chains: Family<OfChain, Gauge>,
    policies_current: Gauge,
    keys_expire: Gauge,
    feeds: Gauge,
    heard: Family<OfHost, Gauge>,
    behind: Family<OfHost, Gauge>,
    listening: Family<OfHost, Gauge>,
    grants: Histogram,
    store: Family<Kind, Histogram, Buckets>,
    codes: Mutex<HashSet<String>>,
    /// One look at a time: what hosts say is written anew for each.
    looking: Mutex<()>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Metrics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("tether"),
            exchanges: Family::default(),
            certificates: Family::default(),
            enrolments: Family::default(),
            reports: Family::default(),
            revocations: Family::default(),
            sessions_revoked: Counter::default(),
            limited: Family::default(),
            policies: Family::default(),
            alarms: Family::default(),
            audit_batches: Family::default(),
            recording_pieces: Family::default(),
            recordings_bytes: Gauge::default(),
            chains: Family::default(),
            policies_current: Gauge::default(),
            keys_expire: Gauge::default(),
            feeds: Gauge::default(),
            heard: Family::default(),
            behind: Family::default(),
            listening: Family::default(),
            grants: Buckets.new_metric(),
            store: Family::new_with_constructor(Buckets),
            codes: Mutex::default(),
            looking: Mutex::default(),
        };
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("build", "Which version runs", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("exchanges", "Token requests by outcome and code", self.exchanges.clone());
        registry.register("certificates", "Certificate requests by outcome and code", self.certificates.clone());
        registry.register("enrolments", "Enrolments by outcome and code", self.enrolments.clone());
        registry.register("reports", "Reports of hosts by outcome and code", self.reports.clone());
        registry.register("audit_batches", "Batches of hosts' chains by outcome and code", self.audit_batches.clone());
        let help = "Pieces of hosts' recordings, and questions for them, by outcome and code";
        registry.register("recording_pieces", help, self.recording_pieces.clone());
        let help = "Bytes of all recordings that are here";
        registry.register("recordings_bytes", help, self.recordings_bytes.clone());
        registry.register("audit_alarms", "Hosts' chains that came into trouble, by its kind", self.alarms.clone());
        let help = "1 for the state that a host's audit chain is in";
        registry.register("host_audit_chain", help, self.chains.clone());
        registry.register("revocations", "Revocations by what they named", self.revocations.clone());
        registry.register("sessions_revoked", "Sessions that were taken back", self.sessions_revoked.clone());
        registry.register("rate_limited", "Requests refused as rate.limited, by limit", self.limited.clone());
        registry.register("policy_reloads", "Policies and providers read, loaded or refused", self.policies.clone());
        let help = "1 if the files are what is in force, 0 after a reload that was refused";
        registry.register("policies_current", help, self.policies_current.clone());
        let help = "When the key set in force expires, seconds since 1970";
        registry.register("keys_expire_time_seconds", help, self.keys_expire.clone());
        registry.register("feeds_connected", "Feed connections of hosts", self.feeds.clone());
        let help = "When a host was last heard, seconds since 1970";
        registry.register("host_heard_time_seconds", help, self.heard.clone());
        let help = "Statements that a host has not acknowledged";
        registry.register("host_statements_behind", help, self.behind.clone());
        registry.register("host_listening", "1 if a host's feed is connected", self.listening.clone());
        let help = "From the request for a certificate to the host's acknowledgement of the grant";
        registry.register_with_unit("grant_acknowledged", help, Unit::Seconds, self.grants.clone());
        let help = "How long the store took, waiting included, by act and look";
        registry.register_with_unit("store", help, Unit::Seconds, self.store.clone());
    }

    /// Something was asked for, and this came of it. The first request of a client, which has no nonce yet, is none.
    pub fn count<T>(&self, asked: Asked, done: &Result<T, Refusal>) {
        let went = match done {
            Ok(_) => Went { outcome: "allowed", code: String::new() },
            Err(refusal) if refusal.error == Standard::UseDpopNonce => return,
            Err(refusal) => Went { outcome: "refused", code: self.bounded(&refusal.code) },
        };
        let family = match asked {
            Asked::Exchange => &self.exchanges,
            Asked::Certificate => &self.certificates,
            Asked::Enrolment => &self.enrolments,
            Asked::Report => &self.reports,
            Asked::Audit => &self.audit_batches,
            Asked::Recording => &self.recording_pieces,
        };
        family.get_or_create(&went).inc();
    }

    fn bounded(&self, code: &str) -> String {
        let mut codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
        if codes.len() < CODES_MAX || codes.contains(code) {
            codes.insert(code.to_owned());
            return code.to_owned();
        }
        "other".to_owned()
    }

    /// Something was taken back.
    pub fn count_revocation(&self, kind: &'static str, sessions: usize) {
        self.revocations.get_or_create(&Kind { kind }).inc();
        self.sessions_revoked.inc_by(sessions as u64);
    }

    /// A host's chain has come into trouble.
    pub fn count_alarm(&self, kind: &'static str) {
        self.alarms.get_or_create(&Kind { kind }).inc();
    }

    /// How many bytes of recordings there are.
    pub fn recordings_have(&self, bytes: u64) {
        self.recordings_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// Somebody asked for too much.
    pub fn count_limited(&self, kind: &'static str) {
        self.limited.get_or_create(&Kind { kind }).inc();
    }

    /// Policies and providers were read.
    pub fn count_policies(&self, loaded: bool) {
        self.policies.get_or_create(&Kind { kind: if loaded { "loaded" } else { "refused" } }).inc();
        self.policies_current.set(i64::from(loaded));
    }

    /// A host has acknowledged a grant after so long.
    pub fn grant_acknowledged(&self, took: std::time::Duration) {
        self.grants.observe(took.as_secs_f64());
    }

    fn store_took(&self, kind: &'static str, took: std::time::Duration) {
        self.store.get_or_create(&Kind { kind }).observe(took.as_secs_f64());
    }

    /// A feed connection; it is counted until what is given here is dropped.
    pub fn feed(&self) -> Feed {
        self.feeds.inc();
        Feed(self.feeds.clone())
    }

    /// All of them as text, with how hosts stand now.
    pub fn text(&self, hosts: &[HostStanding], keys_expire: u64) -> Result<String, std::fmt::Error> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.keys_expire.set(number(keys_expire));
        // A host that is gone is not shown for ever.
        for family in [&self.heard, &self.behind, &self.listening] {
            family.clear();
        }
        self.chains.clear();
        for one in hosts {
            let host = OfHost { host: one.host.clone() };
            self.heard.get_or_create(&host).set(number(one.heard));
            self.behind.get_or_create(&host).set(number(one.behind));
            self.listening.get_or_create(&host).set(i64::from(one.listening));
            self.chains.get_or_create(&OfChain { host: one.host.clone(), state: one.chain }).set(1);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A feed connection that is counted.
#[derive(Debug)]
pub struct Feed(Gauge);

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_bounded_and_a_missing_nonce_is_no_refusal() {
        let metrics = Metrics::new();
        let refused =
            |error, code: &str| -> Result<(), Refusal> { Err(Refusal::new(error, code, "for people, not for labels")) };
        for number in 0..CODES_MAX + 50 {
            metrics.count(Asked::Exchange, &refused(Standard::InvalidRequest, &format!("subject.claim{number}")));
        }
        metrics.count(Asked::Exchange, &refused(Standard::UseDpopNonce, "proof.no_nonce"));
        metrics.count(Asked::Exchange, &Ok(()));
        let text = metrics.text(&[], 7).unwrap();
        let exchanges = text.lines().filter(|line| line.starts_with("tether_exchanges_total")).count();
        assert_eq!(exchanges, CODES_MAX + 2, "{text}");
        assert!(text.contains("tether_exchanges_total{outcome=\"refused\",code=\"other\"} 50"), "{text}");
        assert!(text.contains("tether_exchanges_total{outcome=\"allowed\",code=\"\"} 1"), "{text}");
        assert!(!text.contains("no_nonce") && text.contains("tether_keys_expire_time_seconds 7"), "{text}");
    }

    #[test]
    fn a_feed_is_counted_while_it_lives() {
        let metrics = Metrics::new();
        let feeds = |metrics: &Metrics| metrics.text(&[], 0).unwrap().contains("tether_feeds_connected 1");
        let feed = metrics.feed();
        assert!(feeds(&metrics));
        drop(feed);
        assert!(!feeds(&metrics));
    }
}
