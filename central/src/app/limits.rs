//! Who asks too much is told so at once, before anything is looked at; a flood costs no more than its first record.

use super::App;
use crate::audit::Record;
use crate::limits::{Exceeded, Limit, Source};
use serde_json::json;
use std::hash::Hash;
use std::net::IpAddr;
use tether_audit::Ids;
use tether_identity::{HostId, Human, Name};
use tether_oauth::Refusal;

/// What is limited by address, before it is known who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// A token or a certificate.
    Exchange,
    /// An enrolment.
    Enrol,
}

/// Somebody who was held back.
#[derive(Debug)]
pub struct Held {
    /// What they are answered.
    pub refusal: Refusal,
    /// What is written down of it: once for each flood, since a record for each request is what a flood wants.
    record: Option<Box<Record>>,
}

impl Held {
    /// Whether something is to be written down.
    pub fn is_new(&self) -> bool {
        self.record.is_some()
    }
}

impl App {
    /// Whether an address may try that now. Waits for nothing.
    pub fn admit_address(&self, attempt: Attempt, address: IpAddr) -> Result<(), Held> {
        let (limit, kind) = match attempt {
            Attempt::Exchange => (&self.limits.address, "address"),
            Attempt::Enrol => (&self.limits.enrol, "enrol"),
        };
        self.admit(limit, kind, &Source::from(address), || json!({"limit": kind, "peer": address.to_string()}))
    }

    /// Whether a refusal of somebody unknown at this address (`ADDRESS:PORT`) is written down: not when there are more
    /// than the address may ask for.
    pub(super) fn is_worth_a_record(&self, peer: &str) -> bool {
        let Ok(peer) = peer.parse::<std::net::SocketAddr>() else { return true };
        match self.admit_address(Attempt::Exchange, peer.ip()) {
            Ok(()) => true,
            Err(held) => {
                self.note(held);
                false
            }
        }
    }

    /// Whether a host may open a feed now.
    pub fn admit_feed(&self, host: &HostId) -> Result<(), Refusal> {
        let about = || json!({"limit": "feed", "host": host.as_str()});
        self.admit(&self.limits.feed, "feed", host, about).map_err(|held| self.note(held))
    }

    /// Whether a refused report of a host's is written down: a record with its flush for each would leave no turn to others.
    pub(super) fn is_report_worth_a_record(&self, host: &HostId) -> bool {
        let about = || json!({"limit": "refused", "host": host.as_str()});
        self.admit(&self.limits.refused, "refused", host, about).map_err(|held| self.note(held)).is_ok()
    }

    /// Whether an agent, and it for this human, may have something now. Asked only when the agent has proved that it
    /// is the one: nobody can use up another one's share.
    pub(super) fn admit_agent(&self, agent: &Name, human: &Human) -> Result<(), Refusal> {
        let about = |kind: &str| json!({"limit": kind, "agent": agent.as_str(), "human": human.as_str()});
        let agents = self.admit(&self.limits.agent, "agent", agent, || about("agent"));
        let both = agents.and_then(|()| self.admit(&self.limits.pair, "pair", &(agent, human), || about("pair")));
        both.map_err(|held| self.note(held))
    }

    fn admit(
        &self,
        limit: &Limit,
        kind: &'static str,
        caller: &impl Hash,
        about: impl Fn() -> serde_json::Value,
    ) -> Result<(), Held> {
        let Err(Exceeded { retry_after, first }) = limit.take(caller) else { return Ok(()) };
        self.metrics.count_limited(kind);
        let refusal = Refusal::too_many(retry_after, format_args!("more than the limit {kind:?} of central allows"));
        let record = || Record::refused("rate.limited", &refusal.code, Ids::unknown("asked for too much"), about());
        Err(Held { record: first.then(record).map(Box::new), refusal })
    }

    /// Writes down what is new of it.
    pub fn note(&self, held: Held) -> Refusal {
        if let Some(record) = &held.record
            && let Err(error) = self.record(record)
        {
            eprintln!("tether-central: store.failed: {error}");
        }
        held.refusal
    }
}
