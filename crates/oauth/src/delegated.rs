//! A delegation that a provider made itself (RFC 8693): one token that names the human, the agent (`act`) and the key
//! that it is bound to (`cnf.jkt`). It stands for the human's sign-in and the agent's proof at once, so more is asked
//! of it than of either: an audience of its own, a short life, one use, a key.
//!
//! Only the outermost `act` says who acts; what it holds further in is how it came to that, and is evidence
//! (RFC 8693, 4.1).

use crate::UnixTime;
use crate::claims::Claims;
use crate::jwk::JwkSet;
use crate::jwt::{Algorithm, Jwt};
use crate::refusal::Refusal;
use crate::subject::{Provider, Subject};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tether_identity::{Name, Thumbprint};

/// How deep `act` may be nested.
pub const ACT_MAX: usize = 4;

/// How a provider's own delegations look, and whom it may name in them.
#[derive(Debug, Clone)]
pub struct Delegating {
    /// The `aud` of delegations that are for us: none of those that people sign in to.
    pub audiences: Vec<String>,
    /// Their `typ`.
    pub typ: String,
    /// What they may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// The claim that holds the human's name.
    pub human_claim: String,
    /// The member of `act` that names the agent.
    pub agent_member: String,
    /// Claims beside `act` that name who acts, too: where one stands it must agree. `cid` always is one.
    pub client_claims: Vec<String>,
    /// The provider's names for agents and ours; its names are ours if it is empty.
    pub agents: BTreeMap<String, Name>,
    /// The longest that one may live.
    pub max_seconds: u64,
}

/// A delegation that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegated {
    /// The human's side of it.
    pub subject: Subject,
    /// The agent, by our name for it.
    pub agent: Name,
    /// Which running instance of it, if the token says.
    pub instance: Option<Name>,
    /// The provider's names of all who act, the one who acts now first.
    pub chain: Vec<String>,
    /// Used once.
    pub jti: String,
}

/// Whether a token says that somebody acts, unverified: to choose how it is checked.
pub fn claims_an_actor(token: &str) -> bool {
    Jwt::split(token, &[]).is_ok_and(|jwt| jwt.has("act"))
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::request(format!("delegated.{code}"), format_args!("the provider's delegation is refused: {why}"))
}

impl Delegated {
    /// Checks a delegation of a provider's with its keys. `session` is the key of the proof that came with the request.
    /// The caller takes care that `jti` is used once, and that the agent is one of its own.
    pub fn verify(
        token: &str,
        provider: &Provider,
        delegating: &Delegating,
        keys: &JwkSet,
        session: &Thumbprint,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let map = signed(token, provider, delegating, keys)?;
        let claims = Claims { map: &map, what: "delegated" };
        if claims.text("iss")? != provider.issuer {
            return Err(refuse("iss", format_args!("it is not from {}", provider.issuer)));
        }
        check_audience(&claims, delegating)?;
        let mut subject = Subject::read(&claims, provider, &delegating.human_claim, token, now)?;
        if subject.expires_at.saturating_sub(subject.issued_at) > delegating.max_seconds {
            return Err(refuse("too_long", format_args!("it lives for more than {} s", delegating.max_seconds)));
        }
        check_key(&map, &subject, session)?;
        let act = map.get("act").ok_or_else(|| refuse("act", "it says of nobody that they act (act)"))?;
        let chain = chain(act, delegating, &provider.issuer)?;
        let named = chain.first().map(String::as_str).unwrap_or_default();
        check_clients(&claims, delegating, named)?;
        // The provider's name for the one who may act (RFC 8693, 4.4), as the rest of its names.
        if subject.may_act.take().is_some_and(|may| may != named) {
            return Err(refuse("may_act", format_args!("it lets another act than {named:?} (may_act)")));
        }
        let jti = claims.text("jti")?;
        if jti.len() > 128 {
            return Err(refuse("jti", "its jti has more than 128 characters"));
        }
        let (agent, instance) = (agent(named, delegating)?, instance(act)?);
        Ok(Self { agent, instance, jti: jti.to_owned(), chain, subject })
    }

    /// A delegation for an agent that nobody registered, or that may not act.
    pub fn unknown_agent() -> Refusal {
        refuse("unknown_agent", "the agent that it names is not registered, or not active")
    }
}

fn signed(
    token: &str,
    provider: &Provider,
    delegating: &Delegating,
    keys: &JwkSet,
) -> Result<Map<String, Value>, Refusal> {
    let jwt = Jwt::split(token, &[]).map_err(|error| refuse(error.code(), error))?;
    if !jwt.typ().eq_ignore_ascii_case(&delegating.typ) {
        return Err(refuse("typ", format_args!("its typ is {:?}, wanted is {:?}", jwt.typ(), delegating.typ)));
    }
    if !delegating.algorithms.contains(&jwt.algorithm) {
        return Err(refuse(
            "algorithm",
            format_args!("{} does not sign delegations with {}", provider.issuer, jwt.algorithm),
        ));
    }
    let key = keys.find(jwt.kid.as_deref(), jwt.algorithm);
    let key = key.ok_or_else(|| refuse("unknown_key", format_args!("no key of {} fits it", provider.issuer)))?;
    jwt.verify(key).map_err(|error| refuse(error.code(), error))
}

/// For us alone: whoever else it is for could use it here.
fn check_audience(claims: &Claims<'_>, delegating: &Delegating) -> Result<(), Refusal> {
    let named = claims.one_or_more("aud")?;
    if named.is_empty() || !named.iter().all(|one| delegating.audiences.contains(one)) {
        return Err(refuse("aud", format_args!("it is for {named:?}, not for us alone")));
    }
    Ok(())
}

/// One way of binding, and the key of the request.
fn check_key(map: &Map<String, Value>, subject: &Subject, session: &Thumbprint) -> Result<(), Refusal> {
    let members = map.get("cnf").and_then(Value::as_object).map_or(0, Map::len);
    if members != 1 || subject.bound_to.as_ref() != Some(session) {
        return Err(refuse("cnf", "its cnf is not the key that the request was proved with (jkt), and that alone"));
    }
    Ok(())
}

/// Who acts, outermost first.
fn chain(act: &Value, delegating: &Delegating, issuer: &str) -> Result<Vec<String>, Refusal> {
    let mut names = Vec::new();
    let mut next = Some(act);
    while let Some(act) = next {
        if names.len() == ACT_MAX {
            return Err(refuse("act_depth", format_args!("its act is nested more than {ACT_MAX} deep")));
        }
        let act = act.as_object().ok_or_else(|| refuse("act", "its act is not an object at every level"))?;
        let member = if names.is_empty() { delegating.agent_member.as_str() } else { "sub" };
        let name = act.get(member).and_then(Value::as_str).filter(|name| !name.is_empty());
        names.push(name.ok_or_else(|| refuse("act", format_args!("an act of it has no {member}")))?.to_owned());
        // Another's name for somebody is not this provider's.
        if act.get("iss").is_some_and(|iss| iss.as_str() != Some(issuer)) {
            return Err(refuse("act_iss", format_args!("it names somebody of another issuer than {issuer}")));
        }
        next = act.get("act");
    }
    Ok(names)
}

/// Whoever the provider gave the token to is who acts.
fn check_clients(claims: &Claims<'_>, delegating: &Delegating, named: &str) -> Result<(), Refusal> {
    let more = delegating.client_claims.iter().map(String::as_str);
    for name in std::iter::once("cid").chain(more) {
        if let Some(client) = claims.optional(name)?
            && client != named
        {
            return Err(refuse("client", format_args!("its {name} is {client:?}, its act names {named:?}")));
        }
    }
    Ok(())
}

fn agent(named: &str, delegating: &Delegating) -> Result<Name, Refusal> {
    if delegating.agents.is_empty() {
        return named.parse().map_err(|_| Delegated::unknown_agent());
    }
    delegating.agents.get(named).cloned().ok_or_else(Delegated::unknown_agent)
}

fn instance(act: &Value) -> Result<Option<Name>, Refusal> {
    let Some(value) = act.get("instance") else { return Ok(None) };
    let name = value.as_str().and_then(|name| name.parse().ok());
    name.map(Some).ok_or_else(|| refuse("instance", "its act.instance is no name"))
}
