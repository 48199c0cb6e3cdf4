//! Security event tokens (RFC 8417) as Shared Signals sends them: what a provider says happened to whom.
//!
//! A SET and an ID token are signed with the same keys. `typ` keeps them apart both ways: a SET has to say
//! `secevent+jwt`, and [`crate::Subject`] takes no token that does. `exp` and `sub` mean nothing in a SET (Shared
//! Signals 1.0, 4.1) and are not looked at; how long one is taken is ours to say ([`SET_SECONDS`]).

use crate::claims::Claims;
use crate::jwk::JwkSet;
use crate::jwt::Jwt;
use crate::refusal::Refusal;
use crate::{LEEWAY, UnixTime};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The `typ` of a SET (RFC 8417, 2.3).
pub const SET_TYP: &str = "secevent+jwt";
/// How old a SET may be when it comes: for so long its `jti` is remembered.
pub const SET_SECONDS: u64 = 7 * 24 * 3600;
/// The most events of one SET, and the most subjects of one event.
const MEMBERS_MAX: usize = 8;
/// The most characters of a `jti`.
const JTI_MAX: usize = 256;

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

/// Who sends SETs, and what they have to be addressed to.
#[derive(Debug, Clone)]
pub struct Transmitter {
    /// Its `iss`.
    pub issuer: String,
    /// The `aud` that is ours.
    pub audience: String,
}

/// A SET that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvent {
    /// Used once.
    pub jti: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// What happened, at least one.
    pub events: Vec<Event>,
    /// SHA-256 of the token: what stands in records.
    pub digest: String,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// To whom; a verification is about nobody.
    pub subjects: Vec<SubjectId>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// CAEP: a session of theirs was ended.
    SessionRevoked,
    /// CAEP: a password, a key or another factor was changed or taken away.
    CredentialChange,
    /// RISC: a factor is in other hands.
    CredentialCompromise,
    /// RISC: the account may not be used.
    AccountDisabled,
    /// RISC: the account is gone.
    AccountPurged,
    /// Shared Signals: the stream is being tried out.
    Verification,
    /// Any other.
    Other(String),
}

/// Whom an event is about (RFC 9493).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectId {
    /// A provider's own name for them.
    IssSub {
        /// The provider.
        iss: String,
        /// Its name for them.
        sub: String,
    },
    /// An address.
    Email(String),
    /// What cannot be turned into a human here, by its format.
    Other(String),
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::request(format!("set.{code}"), format_args!("the security event token is refused: {why}"))
}

impl SecurityEvent {
    /// Who a SET says it is from, and with which key, unverified: to choose among transmitters.
    pub fn claimed(token: &str) -> Result<(String, Option<String>), Refusal> {
        let jwt = split(token)?;
        let issuer = jwt.unverified("iss").map(str::to_owned);
        Ok((issuer.ok_or_else(|| refuse("iss", "it has no iss"))?, jwt.kid))
    }

    /// Checks a SET with its transmitter's keys. The caller takes care that `jti` is used once.
    pub fn verify(token: &str, from: &Transmitter, keys: &JwkSet, now: UnixTime) -> Result<Self, Refusal> {
        let jwt = split(token)?;
        let key = keys.find(jwt.kid.as_deref(), jwt.algorithm);
        let key = key.ok_or_else(|| refuse("unknown_key", format_args!("no key of {} fits it", from.issuer)))?;
        let map = jwt.verify(key).map_err(|error| refuse(error.code(), error))?;
        let claims = Claims { map: &map, what: "set" };
        if claims.text("iss")? != from.issuer {
            return Err(refuse("iss", format_args!("it is not from {}", from.issuer)));
        }
        let audiences = claims.one_or_more("aud")?;
        if !audiences.contains(&from.audience) {
            return Err(refuse("aud", format_args!("it is for {audiences:?}, not for {:?}", from.audience)));
        }
        let jti = claims.text("jti")?;
        if jti.len() > JTI_MAX {
            return Err(refuse("jti", format_args!("its jti has more than {JTI_MAX} characters")));
        }
        Ok(Self {
            jti: jti.to_owned(),
            issued_at: issued_at(&claims, now)?,
            events: events(&map)?,
            digest: Base64UrlUnpadded::encode_string(&Sha256::digest(token.as_bytes())),
        })
    }
}

fn split(token: &str) -> Result<Jwt<'_>, Refusal> {
    let jwt = Jwt::split(token, &[]).map_err(|error| refuse(error.code(), error))?;
    jwt.check_typ(SET_TYP).map_err(|error| refuse(error.code(), error))?;
    Ok(jwt)
}

fn issued_at(claims: &Claims<'_>, now: UnixTime) -> Result<UnixTime, Refusal> {
    let issued = claims.time("iat")?;
    if issued > now.saturating_add(LEEWAY) {
        return Err(refuse("not_yet", format_args!("it is of {issued}, which is to come")));
    }
    if now.saturating_sub(issued) > SET_SECONDS {
        return Err(refuse("too_old", format_args!("it is of {issued}, more than {SET_SECONDS} s ago")));
    }
    Ok(issued)
}

fn events(map: &Map<String, Value>) -> Result<Vec<Event>, Refusal> {
    let events = map.get("events").and_then(Value::as_object);
    let events = events.ok_or_else(|| refuse("events", "its events are missing or no object"))?;
    if events.is_empty() || events.len() > MEMBERS_MAX {
        return Err(refuse("events", format_args!("it has {} events; 1 to {MEMBERS_MAX} may be in it", events.len())));
    }
    // `sub_id` holds for every event; drafts had the subject inside the event, and senders do so still.
    let common = map.get("sub_id").map(subjects).transpose()?.unwrap_or_default();
    let event = |(uri, payload): (&String, &Value)| {
        let payload = payload.as_object().ok_or_else(|| refuse("events", "an event's payload is no object"))?;
        let mut about = common.clone();
        let own = payload.get("subject").map(subjects).transpose()?.unwrap_or_default();
        about.extend(own.into_iter().filter(|one| !common.contains(one)));
        let kind = kind(uri, payload);
        if about.is_empty() && kind != EventKind::Verification {
            return Err(refuse("subject", "an event is about nobody: no sub_id, and no subject in it"));
        }
        Ok(Event { kind, subjects: about })
    };
    events.iter().map(event).collect()
}

fn kind(uri: &str, payload: &Map<String, Value>) -> EventKind {
    if let Some(name) = uri.strip_prefix(CAEP) {
        match name {
            "session-revoked" => return EventKind::SessionRevoked,
            // One more factor takes nothing from those that there were.
            "credential-change" if payload.get("change_type").is_none_or(|change| change != "create") => {
                return EventKind::CredentialChange;
            }
            _ => {}
        }
    }
    if let Some(name) = uri.strip_prefix(RISC) {
        match name {
            "sessions-revoked" => return EventKind::SessionRevoked,
            "credential-compromise" => return EventKind::CredentialCompromise,
            "account-disabled" => return EventKind::AccountDisabled,
            "account-purged" => return EventKind::AccountPurged,
            "verification" => return EventKind::Verification,
            _ => {}
        }
    }
    if uri.strip_prefix(SSF) == Some("verification") {
        return EventKind::Verification;
    }
    EventKind::Other(uri.chars().take(200).collect())
}

/// One subject: simple, several names of one (`aliases`), or complex, of which the user counts.
fn subjects(value: &Value) -> Result<Vec<SubjectId>, Refusal> {
    let object = value.as_object().ok_or_else(|| refuse("subject", "a subject is no object"))?;
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    // Drafts called it `subject_type`, and wrote `iss-sub`.
    match (text("format").or_else(|| text("subject_type")), object.get("user")) {
        (Some("complex") | None, Some(user)) => simple(user).map(|one| vec![one]),
        (Some("aliases"), _) => {
            let names = object.get("identifiers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            if names.is_empty() || names.len() > MEMBERS_MAX {
                return Err(refuse("subject", format_args!("aliases holds 1 to {MEMBERS_MAX} identifiers")));
            }
            names.iter().map(simple).collect()
        }
        (Some("complex"), None) => Ok(vec![SubjectId::Other("complex".to_owned())]),
        _ => simple(value).map(|one| vec![one]),
    }
}

fn simple(value: &Value) -> Result<SubjectId, Refusal> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let need = |name: &str| text(name).map(str::to_owned).ok_or_else(|| refuse("subject", format_args!("no {name}")));
    match text("format").or_else(|| text("subject_type")) {
        Some("iss_sub" | "iss-sub") => Ok(SubjectId::IssSub { iss: need("iss")?, sub: need("sub")? }),
        Some("email") => Ok(SubjectId::Email(need("email")?)),
        Some(format) => Ok(SubjectId::Other(format.chars().take(40).collect())),
        None => Err(refuse("subject", "a subject has no format")),
    }
}
