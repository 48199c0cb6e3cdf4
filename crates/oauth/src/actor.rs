//! The actor token: the agent's own assertion (RFC 7523), signed with its registered key.
//!
//! It names the session key (`cnf.jkt`), so that whoever copies it cannot use it with a key of their own, and
//! which running instance of the agent it is from.

use crate::UnixTime;
use crate::claims::Claims;
use crate::jwk::Jwk;
use crate::jwt::Jwt;
use crate::refusal::{Refusal, Standard};
use serde_json::Value;
use tether_identity::{Name, Thumbprint};

/// The `typ` of an agent's assertion (draft-ietf-oauth-rfc7523bis).
pub const ASSERTION_TYP: &str = "client-authentication+jwt";
/// The longest that an assertion may live.
pub const ASSERTION_SECONDS: u64 = 300;

/// What central knows of an agent.
#[derive(Debug, Clone)]
pub struct Registered {
    /// Its name.
    pub name: Name,
    /// Its key.
    pub key: Jwk,
}

/// An assertion that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The agent.
    pub agent: Name,
    /// Which running instance of it.
    pub instance: Name,
    /// Used once.
    pub jti: String,
    /// When it was made.
    pub issued_at: UnixTime,
    /// Until when its `jti` must be remembered.
    pub expires_at: UnixTime,
}

fn refuse(code: &str, why: impl std::fmt::Display) -> Refusal {
    Refusal::request(format!("actor.{code}"), format_args!("the actor token is refused: {why}"))
}

impl Actor {
    /// Which agent an assertion says it is from, unverified: to find its key.
    pub fn claimed(token: &str) -> Result<Name, Refusal> {
        let jwt = split(token)?;
        let name = jwt.unverified("iss").ok_or_else(|| refuse("iss", "it has no iss"))?;
        name.parse().map_err(|why| refuse("iss", why))
    }

    /// An assertion of an agent that nobody registered: the code is the same as for a wrong key, so that names
    /// cannot be tried out.
    pub fn unknown() -> Refusal {
        Refusal::new(Standard::InvalidClient, "actor.unknown", "the actor token is not of a registered, active agent")
    }

    /// Checks an assertion. `audiences` are the names that central goes by, `session` is the key of the proof that
    /// came with the request. The caller takes care that `jti` is used once.
    pub fn verify(
        token: &str,
        agent: &Registered,
        audiences: &[&str],
        session: &Thumbprint,
        now: UnixTime,
    ) -> Result<Self, Refusal> {
        let jwt = split(token)?;
        jwt.check_typ(ASSERTION_TYP).map_err(|error| refuse(error.code(), error))?;
        let map = jwt.verify(&agent.key).map_err(|error| refuse(error.code(), error))?;
        let claims = Claims { map: &map, what: "actor" };
        if claims.text("iss")? != agent.name.as_str() || claims.text("sub")? != agent.name.as_str() {
            return Err(refuse("sub", format_args!("its iss and sub are not both {}", agent.name)));
        }
        let named = claims.one_or_more("aud")?;
        if named.len() != 1 || !named.iter().all(|one| audiences.contains(&one.as_str())) {
            return Err(refuse("aud", format_args!("it is for {named:?}, not for central alone")));
        }
        let (issued_at, expires_at) = claims.check_times(now)?;
        if expires_at.saturating_sub(issued_at) > ASSERTION_SECONDS {
            return Err(refuse("too_long", format_args!("it lives for more than {ASSERTION_SECONDS} s")));
        }
        if map.contains_key("act") || map.contains_key("may_act") {
            return Err(refuse("act", "it speaks for another"));
        }
        let jkt = map.get("cnf").and_then(|cnf| cnf.get("jkt")).and_then(Value::as_str);
        if jkt != Some(session.as_str()) {
            return Err(refuse("cnf", "its cnf.jkt is not the key that the request was proved with"));
        }
        let jti = claims.text("jti")?;
        if jti.len() > 128 {
            return Err(refuse("jti", "its jti has more than 128 characters"));
        }
        let instance = claims.text("instance")?.parse().map_err(|why| refuse("instance", why))?;
        Ok(Self { agent: agent.name.clone(), instance, jti: jti.to_owned(), issued_at, expires_at })
    }
}

fn split(token: &str) -> Result<Jwt<'_>, Refusal> {
    Jwt::split(token, &[]).map_err(|error| refuse(error.code(), error))
}
