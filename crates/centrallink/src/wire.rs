//! The bodies of central's protocol.

use serde::{Deserialize, Serialize};
use tether_identity::{AccountName, HostId, SessionId};

/// A refusal (RFC 6749, 5.2), with our code.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// The standard's error.
    pub error: String,
    /// In words.
    pub error_description: String,
    /// Which rule was broken; stable.
    #[serde(rename = "tether_code")]
    pub code: String,
}

/// The answer to a token exchange (RFC 8693, 2.2.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// The delegation token.
    pub access_token: String,
    /// `urn:ietf:params:oauth:token-type:jwt`.
    pub issued_token_type: String,
    /// `DPoP`.
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
    /// The bundle: `bundle:NAME`.
    pub scope: String,
}

/// A session's certificate: the host has acknowledged the grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The session.
    pub session: SessionId,
    /// The certificate's one line.
    pub certificate: String,
    /// The login name.
    pub account: AccountName,
    /// Where to connect to.
    pub address: String,
    /// Until when the certificate may be used to connect.
    pub valid_before: u64,
    /// Until when the session may live.
    pub expires_at: u64,
}

/// What a host asks to be enrolled with. The request is proved with the courier's new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The one-time token's secret.
    pub secret: String,
    /// With what the host's chain begins; none if it has no signed chain yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<ChainStart>,
}

/// What a host commits to when it enrols: from here on its chain is signed, by this key first. It is the content of
/// `audit/start.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainStart {
    /// The record before the first one that comes; 0 if there is none.
    pub number: u64,
    /// Its hash; empty if there is none.
    pub hash: String,
    /// Which key signs the first head.
    pub key: u64,
    /// Its public half, base64url.
    pub public: String,
}

/// What central has of a host's chain: what comes next follows here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The last record.
    pub number: u64,
    /// How many lines after it that are no records.
    pub lines: u64,
    /// Central's word about the last head.
    #[serde(default)]
    pub countersignature: Option<String>,
    /// What is wrong with the chain.
    #[serde(default)]
    pub trouble: Option<ChainTrouble>,
}

/// What central has of a recording, and what it asks for next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipped {
    /// How many bytes from its beginning are there, on stable storage.
    pub bytes: u64,
    /// Whether that is all of it, by the host's audit chain.
    pub whole: bool,
    /// How many bytes the next piece has, by the chain as far as it is signed and here; none if it tells of no more.
    #[serde(default)]
    pub next: Option<u64>,
    /// Central's word that it has all of it.
    #[serde(default)]
    pub receipt: Option<String>,
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainTrouble {
    /// `broken`, `rewound`, `forked`.
    pub state: String,
    /// The stable code.
    pub code: String,
    /// The first bad record.
    pub number: u64,
    /// In words.
    pub why: String,
}

/// What an enrolled host is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Who it is.
    pub host: HostId,
    /// The newest key set.
    pub keys: String,
}

/// What a host's admin carries to the host: the secret, and all that is needed to believe central.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolToken {
    /// The secret, usable once.
    pub secret: String,
    /// The name of the root's key.
    pub root_kid: String,
    /// The root's public key, base64url.
    pub root: String,
    /// The authority that signed central's TLS certificate, in PEM.
    pub authority: String,
}

impl EnrolToken {
    /// As one word.
    pub fn to_text(&self) -> String {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let json = serde_json::to_string(self).unwrap_or_default();
        format!("tether1-{}", Base64UrlUnpadded::encode_string(json.as_bytes()))
    }

    /// From one word.
    pub fn parse(text: &str) -> Option<Self> {
        use base64ct::{Base64UrlUnpadded, Encoding};
        let json = Base64UrlUnpadded::decode_vec(text.trim().strip_prefix("tether1-")?).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

/// Central's answer to a host's report: the answer to its question at start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The signed `resume`.
    pub resume: String,
}

/// A new host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewHost {
    /// Its id.
    pub host: HostId,
    /// Where agents connect to it, if not to its id.
    #[serde(default)]
    pub address: Option<String>,
    /// Its labels, `KEY=VALUE`.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// The permission to enrol it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewHostToken {
    /// An [`EnrolToken`] as text.
    pub token: String,
    /// Until when.
    pub expires_at: u64,
}

/// A host's uid mark that an admin has looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostMark {
    /// The host.
    pub host: HostId,
    /// The greatest uid that it has ever given out.
    pub mark: u32,
}

/// A new agent, or another key for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// Its name.
    pub name: tether_identity::Name,
    /// The team that owns it.
    pub team: tether_identity::Name,
    /// The person who answers for it.
    pub owner: String,
    /// Its public key, a JWK.
    pub key: serde_json::Value,
}

/// A signed text that an admin brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedText {
    /// The compact JWS.
    pub text: String,
}

/// What is taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// A human: all that was issued for them, and their sign-ins so far.
    Human(tether_identity::Human),
    /// An agent: it is deactivated.
    Agent(tether_identity::Name),
    /// An agent for one human.
    Pair {
        /// The agent.
        agent: tether_identity::Name,
        /// The human.
        human: tether_identity::Human,
    },
    /// One delegation, by its `jti`.
    Delegation(tether_identity::DelegationId),
    /// One session.
    Session(SessionId),
    /// A host: its sessions end, and none may be had on it.
    Host(HostId),
    /// The session of a certificate, by its serial.
    Certificate(u64),
}

/// What a revocation touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The delegations that were live.
    pub sessions: Vec<SessionId>,
    /// The hosts that were told.
    pub hosts: Vec<HostId>,
}

/// A request to policies, without anything being issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessQuestion {
    /// The agent.
    pub agent: tether_identity::Name,
    /// The human.
    pub human: tether_identity::Human,
    /// Their groups; those last seen, if left out.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// The host.
    pub host: HostId,
    /// The bundle.
    #[serde(default)]
    pub bundle: Option<tether_identity::Name>,
    /// With which factors they signed in.
    #[serde(default)]
    pub amr: Vec<String>,
    /// The class of the sign-in.
    #[serde(default)]
    pub acr: Option<String>,
    /// How long ago, in seconds.
    #[serde(default)]
    pub signed_in: u64,
}

/// Why yes, why no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Whether the request would be granted.
    pub permitted: bool,
    /// The code that it would be refused with.
    pub code: String,
    /// What the policies say.
    pub words: String,
    /// What forbids it whatever the policies say.
    pub standing: Vec<String>,
    /// Each policy by itself.
    pub policies: Vec<AccessLook>,
}

/// One policy, looked at alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessLook {
    /// Its name.
    pub policy: String,
    /// `permit` or `forbid`.
    pub effect: String,
    /// Whether it applies.
    pub applies: bool,
    /// What it says.
    pub text: String,
}

/// Whose reach is asked for; all, where nobody is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReachQuestion {
    /// The agent.
    pub agent: Option<tether_identity::Name>,
    /// The human.
    pub human: Option<tether_identity::Human>,
    /// The host.
    pub host: Option<HostId>,
}

/// This agent, for this human, may have this bundle on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The agent.
    pub agent: tether_identity::Name,
    /// The human.
    pub human: tether_identity::Human,
    /// The host.
    pub host: HostId,
    /// The bundle.
    pub bundle: String,
}
