//! The delegation token: this agent acts for this human (RFC 8693's `act`), on one host, for one key.

use crate::UnixTime;
use crate::jws::{self, JwsError, Typ};
use crate::keyset::TrustedKeys;
use crate::object::{object, optional};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use tether_identity::{DelegationId, HostId, Human, Name, SessionId, Thumbprint};

/// How deep `act` may nest. Only the outermost decides; what lies below is evidence.
pub const ACTOR_DEPTH_MAX: usize = 4;

/// Who acts (RFC 8693, 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The agent.
    pub sub: String,
    /// Which running instance of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Through whom, if the delegation was passed on.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Actor>>,
}

impl Actor {
    fn depth(&self) -> usize {
        1 + self.act.as_ref().map_or(0, |inner| inner.depth())
    }
}

/// The key that the token is bound to (RFC 7800). Exactly one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// RFC 7638 thumbprint.
    pub jkt: String,
}

/// The claims as they stand in a token. Claims that are not named here are ignored, as RFC 7519 asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the claims' names are those of RFC 7519, RFC 8693 and OpenID Connect")]
pub struct Claims {
    pub iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "Option::is_none")]
    pub act: Option<Actor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    pub aud: String,
    pub exp: UnixTime,
    pub iat: UnixTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<UnixTime>,
    pub jti: String,
    #[serde(deserialize_with = "object")]
    pub cnf: Confirmation,
    pub auth_time: UnixTime,
    pub amr: Vec<String>,
    pub session: String,
    pub team: String,
    pub bundle: String,
}

/// A delegation that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// Who issued it.
    pub issuer: String,
    /// The human.
    pub human: Human,
    /// The agent.
    pub agent: Name,
    /// Which running instance of it.
    pub instance: Name,
    /// The team that owns the agent.
    pub team: Name,
    /// `jti`.
    pub id: DelegationId,
    /// The session it is for.
    pub session: SessionId,
    /// The key it is bound to.
    pub jkt: Thumbprint,
    /// The bundle's name.
    pub bundle: Name,
    /// Until when.
    pub expires_at: UnixTime,
    /// When the human signed in.
    pub auth_time: UnixTime,
    /// With which factors (RFC 8176).
    pub amr: Vec<String>,
}

/// Why a token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DelegationError {
    /// Its form, algorithm, key or signature.
    #[error("the delegation token is refused: {0}")]
    Jws(#[from] JwsError),
    /// No issuer of that name is known.
    #[error("no issuer {0:?} is known on this host")]
    UnknownIssuer(String),
    /// It names no human.
    #[error("the token names no human (sub)")]
    NoHuman,
    /// It names no agent.
    #[error("the token names no agent (act.sub and cid)")]
    NoAgent,
    /// `cid` and `act.sub` differ.
    #[error("the token's cid {cid:?} is not its act.sub {actor:?}")]
    ClientIsNotActor {
        /// `cid`.
        cid: String,
        /// `act.sub`.
        actor: String,
    },
    /// `act` nests too deep.
    #[error("the token's act is nested deeper than {ACTOR_DEPTH_MAX}")]
    TooDeep,
    /// The issuer may not speak for this human.
    #[error("{human} is in no namespace of the issuer {issuer}")]
    ForeignNamespace {
        /// Who speaks.
        issuer: String,
        /// For whom.
        human: Human,
    },
    /// For another host.
    #[error("the token is for {0:?}, not for this host")]
    OtherHost(String),
    /// Over.
    #[error("the token expired at {0}")]
    Expired(UnixTime),
    /// Not begun.
    #[error("the token is not valid before {0}")]
    NotYet(UnixTime),
    /// Lives longer than the host allows.
    #[error("the token lives for {found} s, this host allows {most} s")]
    TooLong {
        /// Its span in seconds.
        found: u64,
        /// The most.
        most: u64,
    },
    /// A claim is not what it should be.
    #[error("the token's {claim} is malformed: {why}")]
    Claim {
        /// Which.
        claim: &'static str,
        /// Why.
        why: String,
    },
}

impl DelegationError {
    /// The stable code of the refusal.
    pub fn code(&self) -> String {
        match self {
            Self::Jws(error) => format!("delegation.{}", error.code()),
            Self::UnknownIssuer(_) => "delegation.unknown_issuer".to_owned(),
            Self::NoHuman => "delegation.no_human".to_owned(),
            Self::NoAgent => "delegation.no_agent".to_owned(),
            Self::ClientIsNotActor { .. } => "delegation.cid_is_not_actor".to_owned(),
            Self::TooDeep => "delegation.too_deep".to_owned(),
            Self::ForeignNamespace { .. } => "delegation.namespace".to_owned(),
            Self::OtherHost(_) => "delegation.other_host".to_owned(),
            Self::Expired(_) => "delegation.expired".to_owned(),
            Self::NotYet(_) => "delegation.not_yet".to_owned(),
            Self::TooLong { .. } => "delegation.too_long".to_owned(),
            Self::Claim { claim, .. } => format!("delegation.claim.{claim}"),
        }
    }
}

impl Delegation {
    /// Checks a token. Clocks may differ by `leeway` seconds at the start, never at the end.
    pub fn verify(
        token: &str,
        keys: &TrustedKeys,
        host: &HostId,
        now: UnixTime,
        most_seconds: u64,
        leeway: u64,
    ) -> Result<Self, DelegationError> {
        let claims = verified_claims(token, keys)?;
        check_times(&claims, now, most_seconds, leeway)?;
        if claims.aud != host.as_str() {
            return Err(DelegationError::OtherHost(claims.aud));
        }
        let delegation = Self::parse(claims)?;
        let issuer = keys.issuer(&delegation.issuer).filter(|issuer| issuer.owns(&delegation.human));
        if issuer.is_none() {
            return Err(DelegationError::ForeignNamespace { issuer: delegation.issuer, human: delegation.human });
        }
        Ok(delegation)
    }

    fn parse(claims: Claims) -> Result<Self, DelegationError> {
        let human = claims.sub.filter(|text| !text.is_empty()).ok_or(DelegationError::NoHuman)?;
        let actor = claims.act.filter(|actor| !actor.sub.is_empty()).ok_or(DelegationError::NoAgent)?;
        let cid = claims.cid.filter(|text| !text.is_empty()).ok_or(DelegationError::NoAgent)?;
        if cid != actor.sub {
            return Err(DelegationError::ClientIsNotActor { cid, actor: actor.sub });
        }
        if actor.depth() > ACTOR_DEPTH_MAX {
            return Err(DelegationError::TooDeep);
        }
        Ok(Self {
            issuer: claims.iss,
            human: claim("sub", &human)?,
            agent: claim("act.sub", &actor.sub)?,
            instance: claim("act.instance", actor.instance.as_deref().unwrap_or_default())?,
            team: claim("team", &claims.team)?,
            id: claim("jti", &claims.jti)?,
            session: claim("session", &claims.session)?,
            jkt: claim("cnf", &claims.cnf.jkt)?,
            bundle: claim("bundle", &claims.bundle)?,
            expires_at: claims.exp,
            auth_time: claims.auth_time,
            amr: claims.amr,
        })
    }
}

/// The issuer is read from the unverified payload only to choose among keys; the key then proves it.
fn verified_claims(token: &str, keys: &TrustedKeys) -> Result<Claims, DelegationError> {
    let claimed = claimed_issuer(token);
    let issuer = claimed.as_deref().and_then(|iss| keys.issuer(iss));
    let claims: Claims = jws::verify(token, Typ::Delegation, |kid| {
        let issuer = issuer?;
        issuer.kids.iter().any(|own| own == kid).then(|| keys.key(Typ::Delegation, kid))?
    })
    .map_err(|error| match (error, claimed) {
        (JwsError::UnknownKey { .. }, Some(iss)) if issuer.is_none() => DelegationError::UnknownIssuer(iss),
        (error, _) => DelegationError::Jws(error),
    })?;
    Ok(claims)
}

fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > jws::COMPACT_MAX {
        return None;
    }
    let payload = Base64UrlUnpadded::decode_vec(token.split('.').nth(1)?).ok()?;
    let loose: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(loose.get("iss")?.as_str()?.to_owned())
}

fn check_times(claims: &Claims, now: UnixTime, most: u64, leeway: u64) -> Result<(), DelegationError> {
    if now >= claims.exp {
        return Err(DelegationError::Expired(claims.exp));
    }
    let start = claims.nbf.unwrap_or(claims.iat).max(claims.iat);
    if start > now.saturating_add(leeway) {
        return Err(DelegationError::NotYet(start));
    }
    if claims.exp <= start {
        return Err(DelegationError::Claim { claim: "exp", why: format!("it is not after {start}") });
    }
    let found = claims.exp.saturating_sub(claims.iat);
    if found > most {
        return Err(DelegationError::TooLong { found, most });
    }
    if claims.auth_time > claims.iat.saturating_add(leeway) {
        let why = format!("it is after {}, when the token was issued", claims.iat);
        return Err(DelegationError::Claim { claim: "auth_time", why });
    }
    Ok(())
}

fn claim<T: std::str::FromStr<Err: std::fmt::Display>>(claim: &'static str, text: &str) -> Result<T, DelegationError> {
    text.parse().map_err(|error: T::Err| DelegationError::Claim { claim, why: error.to_string() })
}
