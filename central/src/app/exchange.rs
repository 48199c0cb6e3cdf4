//! Token exchange: this human's sign-in and this agent's proof, or a provider's own delegation, become a delegation for one host and one key.

use super::asking::Acting;
use super::{App, Failed, fault, people};
use crate::access::{Answer, Question, SignIn};
use crate::audit::{KnownIds, Record, ids_of};
use crate::clock;
use crate::store::{Act, Agent, Delegation, Host, Which};
use serde_json::json;
use tether_centrallink::random;
use tether_centrallink::wire::Exchanged;
use tether_oauth::{ExchangeRequest, Form, Proof, Refusal, Standard, Subject, TOKEN_TYPE_JWT};
use tether_statement::{Confirmation, Typ};

/// The path of the token endpoint.
pub const TOKEN_PATH: &str = "/oauth/token";

/// What is known of a request when it is refused.
#[derive(Debug, Default)]
struct Trace {
    ids: KnownIds,
    host: Option<String>,
    evidence: Option<String>,
}

impl App {
    /// Answers a token request. `proof` is the DPoP header, `peer` the address it came from.
    pub fn exchange(&self, body: &[u8], proof: Option<&str>, peer: &str) -> Result<Exchanged, Refusal> {
        let mut trace = Trace::default();
        self.try_exchange(body, proof, &mut trace).map_err(|failed| {
            // A client that does not have a nonce yet has done nothing wrong.
            // And a flood is on record once (`admit_agent`).
            if let Failed::Refused(refusal) = &failed
                && (refusal.error == Standard::UseDpopNonce || refusal.retry_after.is_some())
            {
                return refusal.clone();
            }
            let about = json!({"peer": peer, "host": trace.host, "subject_token": trace.evidence});
            self.refuse("token.refused", trace.ids.or("the request was refused before it was known"), failed, about)
        })
    }

    fn try_exchange(&self, body: &[u8], proof: Option<&str>, trace: &mut Trace) -> Result<Exchanged, Failed> {
        let proof = self.prove(proof, "POST", TOKEN_PATH, None)?;
        let request = ExchangeRequest::parse(&Form::parse(body)?)?;
        trace.host = Some(request.audience.to_string());
        let signed = self.signed(&request, &proof)?;
        let subject = &signed.subject;
        trace.ids.human = Some(subject.human.to_string());
        trace.ids.agent = signed.named.as_ref().map(|named| named.agent.to_string());
        trace.evidence = Some(subject.digest.clone());
        let acting = self.look(|act| self.acting(act, &request, &signed, &proof))?;
        self.nonces.take(&proof, clock::now())?;
        let agent = &acting.agent;
        trace.ids.agent = Some(agent.name.to_string());
        trace.ids.instance = Some(acting.instance.to_string());
        self.admit_agent(&agent.name, &subject.human)?;
        let done = self.act(|act| {
            let now = clock::now();
            acting.use_up(act, now)?;
            check_may_act(subject, agent)?;
            let human = people::seen(act, subject, now)?;
            people::note_ahead(act, subject, now)?;
            check_pair(act, agent, subject, self.settings.sessions.per_pair, now)?;
            let host = host(act, &request)?;
            self.check_chain(act, &host.id)?;
            let delegation = self.decide(&request, subject, &acting, &host, &proof, now)?;
            act.put_human(&human)?;
            act.put_delegation(&delegation)?;
            let chain = signed.named.as_ref().map(|named| &named.chain);
            let about = json!({
                "host": delegation.host.as_str(), "bundle": delegation.bundle.as_str(), "team": delegation.team.as_str(),
                "policies": delegation.policies, "expires_at": delegation.expires_at, "issuer": delegation.issuer,
                "auth_time": delegation.auth_time, "amr": delegation.amr, "subject_token": delegation.evidence,
                "jkt": delegation.jkt.as_str(), "provider_act": chain,
            });
            self.write(act, &Record::done("token.issued", ids_of(&delegation), about))?;
            Ok(delegation)
        });
        let delegation = done?;
        Ok(Exchanged {
            access_token: self.token(&delegation)?,
            issued_token_type: TOKEN_TYPE_JWT.to_owned(),
            token_type: "DPoP".to_owned(),
            expires_in: delegation.expires_at.saturating_sub(delegation.issued_at),
            scope: format!("bundle:{}", delegation.bundle),
        })
    }

    fn decide(
        &self,
        request: &ExchangeRequest,
        subject: &Subject,
        acting: &Acting,
        host: &Host,
        proof: &Proof,
        now: u64,
    ) -> Result<Delegation, Failed> {
        let (agent, sign_in) = (&acting.agent, SignIn::from(subject));
        let question =
            Question { agent, sign_in, host, bundle: request.bundle.as_ref(), gateway: self.has_gateway(), now };
        let answer = self.access().decide(&question).map_err(|error| fault("access.failed", error))?;
        let permitted = match answer {
            Answer::Permitted(permitted) => permitted,
            refused => {
                let standard = match refused {
                    Answer::SeveralBundles(_) | Answer::OtherBundle(_) => Standard::InvalidScope,
                    _ => Standard::InvalidTarget,
                };
                return Err(Refusal::new(standard, refused.code().unwrap_or_default(), refused.words()).into());
            }
        };
        let id = |length| random::name(length).map_err(|error| fault("random", error));
        let bad = |error: tether_identity::Malformed| Failed::from(fault("delegation.id", error));
        Ok(Delegation {
            id: id(26)?.parse().map_err(bad)?,
            session: id(26)?.parse().map_err(bad)?,
            human: subject.human.clone(),
            agent: agent.name.clone(),
            instance: acting.instance.clone(),
            team: agent.team.clone(),
            generation: agent.generation,
            host: host.id.clone(),
            bundle: permitted.bundle,
            policies: permitted.policies,
            jkt: proof.jkt.clone(),
            issued_at: now,
            expires_at: now.saturating_add(permitted.minutes.saturating_mul(60)),
            auth_time: subject.auth_time,
            amr: subject.amr.clone(),
            issuer: subject.issuer.clone(),
            evidence: subject.digest.clone(),
            issued: None,
            revoked: None,
        })
    }

    /// The delegation as a token. Made from the record alone, so it is the same each time.
    pub(super) fn token(&self, delegation: &Delegation) -> Result<String, Failed> {
        let cnf = Confirmation { jkt: delegation.jkt.to_string() };
        let claims = json!({
            "iss": self.settings.url, "sub": delegation.human, "cid": delegation.agent,
            "act": {"sub": delegation.agent, "instance": delegation.instance}, "aud": delegation.host,
            "iat": delegation.issued_at, "exp": delegation.expires_at, "jti": delegation.id, "cnf": cnf,
            "auth_time": delegation.auth_time, "amr": delegation.amr, "session": delegation.session,
            "team": delegation.team, "bundle": delegation.bundle,
            "evidence": {"iss": delegation.issuer, "sha256": delegation.evidence},
        });
        self.keys.token.sign(Typ::Delegation, &claims).map_err(|error| fault("token.sign", error).into())
    }
}

/// Where the token names who may act, nobody else may (RFC 8693, 4.4).
fn check_may_act(subject: &Subject, agent: &Agent) -> Result<(), Refusal> {
    match &subject.may_act {
        Some(named) if named != agent.name.as_str() => {
            let why = format!("the subject token lets {named:?} act (may_act), not {}", agent.name);
            Err(Refusal::new(Standard::InvalidRequest, "subject.may_act", why))
        }
        _ => Ok(()),
    }
}

fn check_pair(act: &dyn Act, agent: &Agent, subject: &Subject, most: usize, now: u64) -> Result<(), Failed> {
    // By the provider's clock, as in `people::check_sign_in`; this token's own is remembered by now.
    let ahead = people::known_ahead(act, &subject.issuer)?;
    for human in [&subject.human, &people::small(&subject.human)] {
        let pair = act.pair(&agent.name, human)?;
        if pair.is_some_and(|pair| pair.signed_in_after.saturating_add(ahead) >= subject.auth_time) {
            let why = format!("{} acting for {} was revoked; they have to sign in again", agent.name, subject.human);
            return Err(Refusal::new(Standard::InvalidRequest, "pair.revoked", why).into());
        }
    }
    let which = Which {
        agent: Some(agent.name.clone()),
        human: Some(subject.human.clone()),
        live_at: Some(now),
        ..Which::default()
    };
    if act.delegations(&which, most)?.len() >= most {
        let why = format!("{} has {most} sessions for {} already", agent.name, subject.human);
        return Err(Refusal::new(Standard::InvalidTarget, "pair.too_many", why).into());
    }
    Ok(())
}

fn host(act: &dyn Act, request: &ExchangeRequest) -> Result<Host, Failed> {
    let refuse = |code, why: String| Refusal::new(Standard::InvalidTarget, code, why);
    let id = &request.audience;
    let host = act.host(id)?.ok_or_else(|| refuse("host.unknown", format!("no host {id} is known")))?;
    if !host.active {
        return Err(refuse("host.inactive", format!("no sessions may be had on {id}")).into());
    }
    if host.key.is_none() {
        return Err(refuse("host.not_enrolled", format!("{id} is not enrolled")).into());
    }
    Ok(host)
}
