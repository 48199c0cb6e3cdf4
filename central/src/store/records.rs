//! The records.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tether_identity::{AccountName, DelegationId, HostId, Human as HumanName, Name, SessionId, Thumbprint};
use tether_statement::UnixTime;

/// A registered agent. It is a live reference: what is said of it here holds for all that was issued to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Its name.
    pub name: Name,
    /// The team that owns it.
    pub team: Name,
    /// The person who answers for it.
    pub owner: String,
    /// Its public key (a JWK), with which it signs assertions.
    pub key: serde_json::Value,
    /// Whether it may act.
    pub active: bool,
    /// Grows each time it is deactivated or gets another key: what was issued in an earlier one is void for ever.
    pub generation: u64,
    /// When it was registered.
    pub since: UnixTime,
}

/// A human, as seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// Their name.
    pub name: HumanName,
    /// The provider that vouched for them last.
    pub issuer: String,
    /// That provider's own name for them.
    pub sub: String,
    /// Their groups, as last seen.
    pub groups: BTreeSet<String>,
    /// Whether they may be acted for.
    pub active: bool,
    /// Sign-ins before that time are void.
    pub signed_in_after: UnixTime,
    /// When they were last seen.
    pub seen: UnixTime,
}

/// What was said of one agent acting for one human.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The agent.
    pub agent: Name,
    /// The human.
    pub human: HumanName,
    /// Sign-ins before that time are void for this pair.
    pub signed_in_after: UnixTime,
}

/// A host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Where agents connect to, if it is not the id.
    pub address: Option<String>,
    /// Its labels, such as `env=prod`.
    pub labels: BTreeSet<String>,
    /// The key of its courier.
    pub key: Option<HostKey>,
    /// Whether sessions may be had on it.
    pub active: bool,
    /// When it was enrolled last.
    pub enrolled_at: UnixTime,
}

/// A courier's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostKey {
    /// Its RFC 7638 thumbprint.
    pub jkt: Thumbprint,
}

/// What a host has said of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// How far it has ever read its feed.
    pub number: u64,
    /// Its greatest uid.
    pub uid_mark: u32,
    /// When it last spoke.
    pub time: UnixTime,
}

/// A permission to enrol one host, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// SHA-256 of the token.
    pub hash: String,
    /// Which host.
    pub host: HostId,
    /// Where agents connect to it.
    pub address: Option<String>,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Until when.
    pub expires_at: UnixTime,
    /// Whether it was used.
    pub used: bool,
}

/// A delegation and all that was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// `jti`.
    pub id: DelegationId,
    /// The session it is for.
    pub session: SessionId,
    /// The human.
    pub human: HumanName,
    /// The agent.
    pub agent: Name,
    /// Which running instance of it.
    pub instance: Name,
    /// The agent's team.
    pub team: Name,
    /// The agent's generation when it was issued.
    pub generation: u64,
    /// The host.
    pub host: HostId,
    /// The bundle.
    pub bundle: Name,
    /// The policies that permitted it.
    pub policies: Vec<String>,
    /// The session key.
    pub jkt: Thumbprint,
    /// When it was issued.
    pub issued_at: UnixTime,
    /// Until when the session may live.
    pub expires_at: UnixTime,
    /// When the human signed in.
    pub auth_time: UnixTime,
    /// With which factors.
    pub amr: Vec<String>,
    /// The provider.
    pub issuer: String,
    /// SHA-256 of the subject token.
    pub evidence: String,
    /// The certificate, once there is a grant.
    pub issued: Option<Issued>,
    /// When and why it was taken back.
    pub revoked: Option<(UnixTime, String)>,
}

/// What a delegation was turned into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// The certificate's serial.
    pub serial: u64,
    /// The account.
    pub account: AccountName,
    /// The statement that grants the session.
    pub statement: u64,
    /// The certificate, once the host has acknowledged the grant.
    pub certificate: Option<String>,
}

impl Delegation {
    /// Whether it is neither over nor revoked.
    pub fn is_live(&self, now: UnixTime) -> bool {
        now < self.expires_at && self.revoked.is_none()
    }
}

/// A bundle as the security team signed it, and its newest confirmation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleText {
    /// Its name.
    pub name: Name,
    /// Its version.
    pub version: u64,
    /// Digest of the text.
    pub sha256: String,
    /// The compact JWS.
    pub text: String,
    /// The compact JWS that confirms it.
    pub confirmation: Option<String>,
    /// When that says it held.
    pub confirmed_at: UnixTime,
}
