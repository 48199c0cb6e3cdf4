//! Who asks too much is told so at once, before anything is looked at; a flood costs no more than its first record.

use super::{App, Failed};
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

impl App {
    /// Whether an address may try that now.
    pub fn admit_address(&self, attempt: Attempt, address: IpAddr) -> Result<(), Refusal> {
        let (limit, kind) = match attempt {
            Attempt::Exchange => (&self.limits.address, "address"),
            Attempt::Enrol => (&self.limits.enrol, "enrol"),
        };
        self.admit(limit, kind, &Source::from(address), || json!({"peer": address.to_string()}))
    }

    /// Whether a host may open a feed now.
    pub fn admit_feed(&self, host: &HostId) -> Result<(), Refusal> {
        self.admit(&self.limits.feed, "feed", host, || json!({"host": host.as_str()}))
    }

    /// Whether an agent, and it for this human, may have something now. Asked only when the agent has proved that it
    /// is the one: nobody can use up another one's share.
    pub(super) fn admit_agent(&self, agent: &Name, human: &Human) -> Result<(), Failed> {
        let about = || json!({"agent": agent.as_str(), "human": human.as_str()});
        self.admit(&self.limits.agent, "agent", agent, about)?;
        self.admit(&self.limits.pair, "pair", &(agent, human), about)?;
        Ok(())
    }

    fn admit(
        &self,
        limit: &Limit,
        kind: &'static str,
        caller: &impl Hash,
        about: impl Fn() -> serde_json::Value,
    ) -> Result<(), Refusal> {
        let Err(Exceeded { retry_after, first }) = limit.take(caller) else { return Ok(()) };
        self.metrics.count_limited(kind);
        let refusal = Refusal::too_many(retry_after, format_args!("more than the limit {kind:?} of central allows"));
        if first {
            self.note_flood(kind, &refusal, about());
        }
        Err(refusal)
    }

    /// Once for each flood: a record for each request of it would be what the flood wants.
    fn note_flood(&self, kind: &'static str, refusal: &Refusal, mut about: serde_json::Value) {
        if let Some(members) = about.as_object_mut() {
            members.insert("limit".to_owned(), kind.into());
        }
        let record = Record::refused("rate.limited", &refusal.code, Ids::unknown("asked for too much"), about);
        if let Err(error) = self.record(&record) {
            eprintln!("tether-central: store.failed: {error}");
        }
    }
}
