//! The token exchange request (RFC 8693, 2.1).

use crate::form::Form;
use crate::refusal::{Refusal, Standard};
use tether_identity::{HostId, Name};

/// `grant_type`.
pub const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// An ID token.
pub const TOKEN_TYPE_ID: &str = "urn:ietf:params:oauth:token-type:id_token";
/// An access token that is a JWT (RFC 9068).
pub const TOKEN_TYPE_ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";
/// Any JWT.
pub const TOKEN_TYPE_JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the subject token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenType {
    /// An ID token.
    Id,
    /// An access token.
    Access,
    /// Any JWT: a delegation that its provider made itself.
    Jwt,
}

/// What is asked for: this human's sign-in and this agent's proof, for one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExchangeRequest {
    /// The human's token.
    pub subject_token: String,
    /// What it is.
    pub subject_token_type: TokenType,
    /// The agent's assertion. Without it the subject token has to name the agent.
    pub actor_token: Option<String>,
    /// The host.
    pub audience: HostId,
    /// The bundle that is asked for: the scope `bundle:NAME`; none for whatever policy gives.
    pub bundle: Option<Name>,
}

impl ExchangeRequest {
    /// Reads the form.
    pub fn parse(form: &Form) -> Result<Self, Refusal> {
        let grant = form.need("grant_type")?;
        if grant != GRANT_TYPE {
            let why = format_args!("grant_type is {grant:?}, only {GRANT_TYPE:?} is known here");
            return Err(Refusal::new(Standard::UnsupportedGrantType, "request.grant_type", why));
        }
        let subject_token_type = match form.need("subject_token_type")? {
            TOKEN_TYPE_ID => TokenType::Id,
            TOKEN_TYPE_ACCESS => TokenType::Access,
            TOKEN_TYPE_JWT => TokenType::Jwt,
            other => return Err(unknown_type("subject_token_type", other)),
        };
        let subject_token = form.need("subject_token")?.to_owned();
        let actor_token = actor_token(form, subject_token_type)?;
        match form.get("requested_token_type") {
            None | Some(TOKEN_TYPE_JWT | TOKEN_TYPE_ACCESS) => {}
            Some(other) => return Err(unknown_type("requested_token_type", other)),
        }
        Ok(Self { subject_token, subject_token_type, actor_token, audience: audience(form)?, bundle: bundle(form)? })
    }
}

/// An agent alone, or a human alone, is nobody here: and an ID token never names who acts.
fn actor_token(form: &Form, subject: TokenType) -> Result<Option<String>, Refusal> {
    let token = form.get("actor_token");
    if subject == TokenType::Id {
        form.need("actor_token")?;
    }
    match (token, form.get("actor_token_type")) {
        (None, None) | (Some(_), Some(TOKEN_TYPE_JWT)) => Ok(token.map(str::to_owned)),
        // RFC 8693, 2.1: it must not be there without the token.
        (_, Some(other)) => Err(unknown_type("actor_token_type", other)),
        (Some(_), None) => form.need("actor_token_type").map(|_| None),
    }
}

fn unknown_type(member: &str, found: &str) -> Refusal {
    Refusal::request(format!("request.{member}"), format_args!("{member} is {found:?}, which is not known here"))
}

fn audience(form: &Form) -> Result<HostId, Refusal> {
    if form.get("resource").is_some() {
        let why = "hosts are named by audience, not by resource";
        return Err(Refusal::new(Standard::InvalidTarget, "request.resource", why));
    }
    form.need("audience")?.parse().map_err(|why| Refusal::new(Standard::InvalidTarget, "request.audience", why))
}

fn bundle(form: &Form) -> Result<Option<Name>, Refusal> {
    let refuse = |why: String| Refusal::new(Standard::InvalidScope, "request.scope", why);
    let Some(scope) = form.get("scope") else { return Ok(None) };
    let name = scope.strip_prefix("bundle:").filter(|name| !name.contains(' '));
    let name = name.ok_or_else(|| refuse(format!("the scope is {scope:?}; it may be bundle:NAME, once")))?;
    name.parse().map(Some).map_err(|why: tether_identity::Malformed| refuse(why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=s\
        &subject_token_type=urn:ietf:params:oauth:token-type:id_token&actor_token=a\
        &actor_token_type=urn:ietf:params:oauth:token-type:jwt&audience=web-01&scope=bundle:triage";

    fn parse(text: &str) -> Result<ExchangeRequest, Refusal> {
        ExchangeRequest::parse(&Form::parse(text.as_bytes())?)
    }

    #[test]
    fn a_request_says_all_of_it() {
        let request = parse(GOOD).unwrap();
        assert_eq!((request.audience.as_str(), request.subject_token_type), ("web-01", TokenType::Id));
        assert_eq!(request.bundle.unwrap().as_str(), "triage");
    }

    #[test]
    fn an_agent_may_be_named_by_the_subject_token_alone() {
        let access = GOOD.replacen(":id_token", ":access_token", 1);
        assert!(parse(&access).unwrap().actor_token.is_some());
        let alone = access.replacen("&actor_token=a", "", 1).replacen("&actor_token_type=", "&x=", 1);
        assert_eq!(parse(&alone).unwrap().actor_token, None);
        let jwt = alone.replacen(":access_token", ":jwt", 1);
        assert_eq!(parse(&jwt).unwrap().subject_token_type, TokenType::Jwt);
        let typed = access.replacen("&actor_token=a", "", 1);
        assert_eq!(parse(&typed).unwrap_err().code, "request.actor_token_type");
        let untyped = access.replacen("&actor_token_type=", "&x=", 1);
        assert_eq!(parse(&untyped).unwrap_err().code, "request.no_actor_token_type");
    }

    #[test]
    fn every_member_missing_or_wrong_has_its_code() {
        for (from, to, error, code) in [
            ("grant_type=", "x=", Standard::InvalidRequest, "request.no_grant_type"),
            (":token-exchange", ":jwt-bearer", Standard::UnsupportedGrantType, "request.grant_type"),
            ("subject_token=", "x=", Standard::InvalidRequest, "request.no_subject_token"),
            ("subject_token_type=", "x=", Standard::InvalidRequest, "request.no_subject_token_type"),
            (":id_token", ":saml2", Standard::InvalidRequest, "request.subject_token_type"),
            ("actor_token=", "x=", Standard::InvalidRequest, "request.no_actor_token"),
            ("actor_token_type=", "x=", Standard::InvalidRequest, "request.no_actor_token_type"),
            (":jwt", ":id_token", Standard::InvalidRequest, "request.actor_token_type"),
            ("audience=", "x=", Standard::InvalidRequest, "request.no_audience"),
            ("audience=web-01", "audience=a%20b", Standard::InvalidTarget, "request.audience"),
            ("audience=", "resource=https://x&audience=", Standard::InvalidTarget, "request.resource"),
            ("audience=", "audience=other&audience=", Standard::InvalidRequest, "request.twice"),
            ("scope=bundle:", "scope=", Standard::InvalidScope, "request.scope"),
            ("bundle:triage", "bundle:a+bundle:b", Standard::InvalidScope, "request.scope"),
            ("scope=", "requested_token_type=x&scope=", Standard::InvalidRequest, "request.requested_token_type"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD);
            let refusal = parse(&text).unwrap_err();
            assert_eq!((refusal.error, refusal.code.as_str()), (error, code), "{from} -> {to}");
        }
    }
}
