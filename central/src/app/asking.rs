//! Who asks for a token, and for whom: a human's sign-in with an agent's assertion, or one token of a provider that
//! delegates itself, which says both.

use super::exchange::TOKEN_PATH;
use super::{App, Failed, fault, people, restored_at};
use crate::clock;
use crate::store::{Act, Agent};
use tether_identity::Name;
use tether_oauth::{
    Actor, Delegated, ExchangeRequest, Jwk, Proof, Refusal, Registered, Standard, Subject, TokenType, claimed_issuer,
    claims_an_actor,
};

/// What a subject token says.
pub(super) struct Signed {
    /// The human's side of it.
    pub(super) subject: Subject,
    /// Who acts, where a provider said that.
    pub(super) named: Option<Named>,
}

/// An agent that a provider has named in a delegation of its own.
pub(super) struct Named {
    /// The agent.
    pub(super) agent: Name,
    /// Which running instance of it, if the provider said.
    instance: Option<Name>,
    /// The provider's names of all who act, the one who acts now first.
    pub(super) chain: Vec<String>,
    issuer: String,
    issued_at: u64,
    teams: Vec<Name>,
    once: Once,
}

/// The agent of a request.
pub(super) struct Acting {
    /// As it is registered.
    pub(super) agent: Agent,
    /// Which running instance of it.
    pub(super) instance: Name,
    once: Vec<Once>,
}

/// A token that is good for one request.
#[derive(Clone)]
struct Once {
    kind: &'static str,
    id: String,
    until: u64,
    code: &'static str,
}

impl App {
    /// The human's sign-in. Asks the provider for its keys if it must, so it is no part of the transaction.
    pub(super) fn signed(&self, request: &ExchangeRequest, proof: &Proof) -> Result<Signed, Refusal> {
        let (issuer, kid) = claimed_issuer(&request.subject_token)?;
        let providers = self.providers();
        let may = providers.may_delegate(&issuer).filter(|_| is_for_delegations(request));
        if may.is_none() && request.subject_token_type == TokenType::Jwt {
            let why = format!("a token that is any JWT must be a delegation, and {issuer:?} makes none");
            return Err(Refusal::request("request.subject_token_type", why));
        }
        let (provider, keys) = providers.find(&issuer, kid.as_deref())?;
        let (token, now) = (&request.subject_token, clock::now());
        let Some(may) = may else {
            let subject = Subject::verify(token, request.subject_token_type, provider, &keys, now)?;
            return signed_in(subject, request, proof);
        };
        let delegated = Delegated::verify(token, provider, &may.form, &keys, &proof.jkt, now)?;
        let once = Once {
            kind: "delegated",
            id: format!("{issuer} {}", delegated.jti),
            until: delegated.subject.expires_at,
            code: "delegated.replayed",
        };
        let Delegated { subject, agent, instance, chain, .. } = delegated;
        let (issued_at, teams) = (subject.issued_at, may.teams.clone());
        let named = Named { agent, instance, chain, once, issuer, issued_at, teams };
        Ok(Signed { subject, named: Some(named) })
    }

    /// The agent. Looked at before the transaction: a signature takes longer than all that is in it.
    pub(super) fn acting(
        &self,
        act: &dyn Act,
        request: &ExchangeRequest,
        signed: &Signed,
        proof: &Proof,
    ) -> Result<Acting, Failed> {
        let named = signed.named.as_ref().map(|named| named.acting(act, proof)).transpose()?;
        let asserted = request.actor_token.as_deref().map(|token| self.asserted(act, token, proof)).transpose()?;
        match (named, asserted) {
            (Some(named), Some(asserted)) if named.agent.name != asserted.agent.name => {
                let why = format!(
                    "the provider lets {} act, the actor token is that of {}",
                    named.agent.name, asserted.agent.name
                );
                Err(Refusal::request("delegated.other_agent", why).into())
            }
            (Some(named), Some(mut asserted)) => {
                asserted.once.extend(named.once);
                Ok(asserted)
            }
            (Some(one), None) | (None, Some(one)) => Ok(one),
            (None, None) => Err(nobody_acts().into()),
        }
    }

    /// By the agent's own assertion.
    fn asserted(&self, act: &dyn Act, token: &str, proof: &Proof) -> Result<Acting, Failed> {
        let name = Actor::claimed(token)?;
        let agent = act.agent(&name)?.filter(|agent| agent.active).ok_or_else(Actor::unknown)?;
        let key = Jwk::parse(&agent.key).map_err(|error| fault("agent.key", error))?;
        let registered = Registered { name, key };
        let endpoint = format!("{}{TOKEN_PATH}", self.settings.url);
        let audiences = [self.settings.url.as_str(), endpoint.as_str()];
        let actor = Actor::verify(token, &registered, &audiences, &proof.jkt, clock::now())?;
        if actor.issued_at < agent.void_until || actor.issued_at <= restored_at(act)? {
            return Err(void("actor.void", "actor", &agent).into());
        }
        let once = Once {
            kind: "assertion",
            id: format!("{} {}", actor.agent, actor.jti),
            until: actor.expires_at,
            code: "actor.replayed",
        };
        Ok(Acting { agent, instance: actor.instance, once: vec![once] })
    }
}

impl Named {
    fn acting(&self, act: &dyn Act, proof: &Proof) -> Result<Acting, Failed> {
        let agent = act.agent(&self.agent)?.filter(|agent| agent.active).ok_or_else(Delegated::unknown_agent)?;
        if !self.teams.contains(&agent.team) {
            let why = format!("{} is of the team {}, whose agents its provider may not name", agent.name, agent.team);
            return Err(Refusal::request("delegated.team", why).into());
        }
        // In the same second too: the provider's next one is made for this agent, and a second later. By its clock, as in
        // `people::check_sign_in`.
        let ahead = people::known_ahead(act, &self.issuer)?;
        if agent.void_until > 0 && self.issued_at <= agent.void_until.saturating_add(ahead) {
            return Err(void("delegated.void", "subject", &agent).into());
        }
        // The session key is made by the instance, and by no other.
        let instance = match &self.instance {
            Some(instance) => instance.clone(),
            None => proof.jkt.as_str().parse().map_err(|error| fault("delegated.instance", error))?,
        };
        Ok(Acting { agent, instance, once: vec![self.once.clone()] })
    }
}

impl Acting {
    /// What was asked with is used up, and the agent is still the one that was looked at.
    pub(super) fn use_up(&self, act: &mut dyn Act, now: u64) -> Result<(), Failed> {
        if act.agent(&self.agent.name)?.as_ref() != Some(&self.agent) {
            return Err(Actor::unknown().into());
        }
        for once in &self.once {
            if !act.spend(once.kind, &once.id, once.until, now)? {
                return Err(
                    Refusal::request(once.code, "a token of the request is refused: its jti was used before").into()
                );
            }
        }
        Ok(())
    }
}

/// Letting an agent act again revives nothing that was made before.
fn void(code: &str, which: &str, agent: &Agent) -> Refusal {
    let why = format!("the {which} token was made before {} was last deactivated or got another key", agent.name);
    Refusal::request(code, why)
}

/// An ID token never is a delegation. An access token is, if it says who acts, or nobody else does.
fn is_for_delegations(request: &ExchangeRequest) -> bool {
    match request.subject_token_type {
        TokenType::Id => false,
        TokenType::Jwt => true,
        TokenType::Access => request.actor_token.is_none() || claims_an_actor(&request.subject_token),
    }
}

fn signed_in(subject: Subject, request: &ExchangeRequest, proof: &Proof) -> Result<Signed, Refusal> {
    if subject.bound_to.as_ref().is_some_and(|key| *key != proof.jkt) {
        let why = "the subject token is bound to another key than the request was proved with";
        return Err(Refusal::new(Standard::InvalidRequest, "subject.cnf", why));
    }
    if request.actor_token.is_none() {
        return Err(nobody_acts());
    }
    Ok(Signed { subject, named: None })
}

fn nobody_acts() -> Refusal {
    Refusal::request("request.no_actor_token", "the form has no actor_token, and its subject_token names no agent")
}
