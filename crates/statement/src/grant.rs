//! What a feed statement says.

use crate::UnixTime;
use serde::{Deserialize, Serialize};
use tether_identity::{AccountName, DelegationId, Name, Principal, SessionId, Thumbprint};

/// This pair may have this session on this host, with this certificate, until then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// The session; also the certificate's key id.
    pub session: SessionId,
    /// Team, agent and human.
    pub principal: Principal,
    /// Which running instance of the agent.
    pub instance: Name,
    /// The login name that is reserved.
    pub account: AccountName,
    /// `jti` of the delegation token.
    pub delegation: DelegationId,
    /// Issuer of the delegation token.
    pub issuer: String,
    /// RFC 7638 thumbprint of the session key.
    pub jkt: Thumbprint,
    /// Fingerprint of the session key as ssh prints it, `SHA256:…`: what sshd tells before authentication.
    pub key: String,
    /// Serial of the certificate.
    pub serial: u64,
    /// Fingerprint of the CA's key, `SHA256:…`.
    pub ca: String,
    /// From when.
    pub not_before: UnixTime,
    /// Until when the session may live.
    pub expires_at: UnixTime,
    /// How many connections may be open at a time.
    pub connections: u32,
    /// Client addresses that may connect, in CIDR form; empty for any.
    pub source_addresses: Vec<String>,
    /// Name of the bundle.
    pub bundle: Name,
    /// When the human signed in.
    pub auth_time: UnixTime,
    /// With which factors (RFC 8176).
    pub amr: Vec<String>,
}

/// What is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Revocation {
    /// One session.
    Session(SessionId),
    /// One delegation.
    Delegation(DelegationId),
    /// All sessions of a human.
    Human(tether_identity::Human),
    /// All sessions of an agent.
    Agent(Name),
}

impl Revocation {
    /// Whether a grant falls under it.
    pub fn covers(&self, grant: &Grant) -> bool {
        match self {
            Self::Session(session) => *session == grant.session,
            Self::Delegation(delegation) => *delegation == grant.delegation,
            Self::Human(human) => *human == grant.principal.human,
            Self::Agent(agent) => *agent == grant.principal.agent,
        }
    }
}

/// Which bundle a name means on this host from now on. The bundle itself is signed by another key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlePin {
    /// The name that grants use.
    pub name: Name,
    /// The version; grows for one name.
    pub version: u64,
    /// SHA-256 of the bundle's compact JWS, base64url.
    pub sha256: String,
}

/// The security team's word that a bundle still holds: signed by its key, at short intervals. Without it an old
/// bundle could be kept in force by whoever carries or pins bundles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleConfirmation {
    /// The bundle's name.
    pub name: Name,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its compact JWS, base64url.
    pub sha256: String,
    /// When it was confirmed.
    pub time: UnixTime,
}
