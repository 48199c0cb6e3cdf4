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
    /// When it was last deactivated, or got another key: what was made for it up to then never counts again.
    #[serde(default)]
    pub void_until: UnixTime,
    /// An admin has deactivated it: no directory lets it act again.
    #[serde(default)]
    pub held: bool,
    /// A directory has deleted it. Only an admin makes it anew.
    #[serde(default)]
    pub deleted: bool,
}

/// A human: as seen when they signed in, as a directory has provisioned them, or both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Human {
    /// Their name.
    pub name: HumanName,
    /// What directories call this record: random, and not the name, which may change.
    pub id: String,
    /// The directory's own name for them.
    #[serde(default)]
    pub external_id: Option<String>,
    /// What a directory has said of them.
    #[serde(default)]
    pub provisioned: Provisioned,
    /// The provider that vouched for them last; empty if they have never signed in.
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

/// Whether a directory keeps a human (SCIM).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provisioned {
    /// None has said anything: they have signed in.
    #[default]
    No,
    /// One has made or changed them.
    Yes,
    /// One has deleted them: it does not see them any more, and they stay deactivated.
    Deleted,
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
    /// When it was revoked last: no token of before lets it, or anybody as it, enrol again.
    #[serde(default)]
    pub revoked_at: UnixTime,
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
    /// How many grants were ever put into its feed.
    #[serde(default)]
    pub granted: u64,
    /// A uid mark that an admin has accepted: the host's may be above that by what was granted since.
    #[serde(default)]
    pub accepted_mark: u32,
    /// How many grants there were then.
    #[serde(default)]
    pub accepted_at: u64,
}

/// A directory's token: what it may deprovision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScimToken {
    /// Its name, in records.
    pub name: String,
    /// SHA-256 of the token.
    pub hash: String,
    /// The provider whose humans it is about.
    pub issuer: String,
    /// Whether it is about agents too.
    pub agents: bool,
    /// When it was made.
    pub since: UnixTime,
    /// When it was revoked.
    pub revoked: Option<UnixTime>,
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
