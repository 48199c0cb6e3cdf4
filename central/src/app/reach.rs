//! What can they reach, and why: policies asked without anything being issued.

use super::{App, Failed, fault};
use crate::access::{Access, Answer, Question, SignIn};
use crate::clock;
use crate::store::{Act, Agent, Host, Human};
use std::collections::BTreeSet;
use tether_centrallink::wire::{AccessLook, AccessQuestion, Explained, Reach, ReachQuestion};
use tether_identity::Human as HumanName;
use tether_oauth::{Refusal, Standard};

/// The most combinations of agent, human and host that one answer looks at.
const LOOKS_MAX: usize = 100_000;

fn unknown(what: &str) -> Failed {
    Refusal::new(Standard::InvalidRequest, "access.unknown", format_args!("no such {what} is known")).into()
}

/// Factors that every policy for MFA takes: a list of what is reachable assumes a sign-in of now with them.
fn best_factors() -> Vec<String> {
    ["pwd", "otp", "mfa"].map(str::to_owned).to_vec()
}

impl App {
    /// What a request would be answered, and each policy by itself.
    pub fn explain(&self, asked: &AccessQuestion) -> Result<Explained, Refusal> {
        let access = self.access();
        let done = self.look(|act| {
            let agent = act.agent(&asked.agent)?.ok_or_else(|| unknown("agent"))?;
            let host = act.host(&asked.host)?.ok_or_else(|| unknown("host"))?;
            let groups = groups(act, &asked.human, asked.groups.as_deref())?;
            let now = clock::now();
            let sign_in = SignIn {
                human: asked.human.as_str(),
                groups: &groups,
                auth_time: now.saturating_sub(asked.signed_in),
                amr: &asked.amr,
                acr: asked.acr.as_deref(),
            };
            let question = Question {
                agent: &agent,
                sign_in,
                host: &host,
                bundle: asked.bundle.as_ref(),
                gateway: self.has_gateway(),
                now,
            };
            let failed = |error| Failed::from(fault("access.failed", error));
            let answer = access.decide(&question).map_err(failed)?;
            let looks = access.explain(&question).map_err(failed)?.into_iter().map(|look| AccessLook {
                policy: look.policy,
                effect: look.effect.to_owned(),
                applies: look.applies,
                text: look.text,
            });
            let standing = standing(&agent, &host, act.human(&asked.human)?.as_ref());
            Ok(Explained {
                permitted: answer.code().is_none() && standing.is_empty(),
                code: answer.code().unwrap_or_default().to_owned(),
                words: answer.words(),
                standing,
                policies: looks.collect(),
            })
        });
        answered(done)
    }

    /// Which agent reaches which host for which human, with a fresh sign-in.
    pub fn reach(&self, asked: &ReachQuestion) -> Result<Vec<Reach>, Refusal> {
        let access = self.access();
        // Read first, then worked out: a long question holds the store for nobody.
        let (agents, humans, hosts) = answered(self.look(|act| {
            let agents: Vec<Agent> = chosen(act.agents()?, asked.agent.as_ref(), |agent| &agent.name);
            let humans: Vec<Human> = chosen(act.humans()?, asked.human.as_ref(), |human| &human.name);
            let hosts: Vec<Host> = chosen(act.hosts()?, asked.host.as_ref(), |host| &host.id);
            Ok((agents, humans, hosts))
        }))?;
        if agents.len().saturating_mul(humans.len()).saturating_mul(hosts.len()) > LOOKS_MAX {
            let why = format!("that is more than {LOOKS_MAX} combinations: name an agent, a human or a host");
            return Err(Refusal::new(Standard::InvalidRequest, "access.too_many", why));
        }
        let (now, mut reached) = (clock::now(), Vec::new());
        for agent in &agents {
            for human in &humans {
                for host in &hosts {
                    reached.extend(self.reached(&access, agent, human, host, now)?);
                }
            }
        }
        Ok(reached)
    }

    fn reached(
        &self,
        access: &Access,
        agent: &Agent,
        human: &Human,
        host: &Host,
        now: u64,
    ) -> Result<Vec<Reach>, Refusal> {
        if !standing(agent, host, Some(human)).is_empty() {
            return Ok(Vec::new());
        }
        let amr = best_factors();
        let sign_in =
            SignIn { human: human.name.as_str(), groups: &human.groups, auth_time: now, amr: &amr, acr: None };
        let question = Question { agent, sign_in, host, bundle: None, gateway: self.has_gateway(), now };
        let answer = access.decide(&question).map_err(|error| fault("access.failed", error))?;
        let one =
            |bundle| Reach { agent: agent.name.clone(), human: human.name.clone(), host: host.id.clone(), bundle };
        Ok(bundles_of(answer).into_iter().map(one).collect())
    }
}

fn answered<T>(done: Result<T, Failed>) -> Result<T, Refusal> {
    done.map_err(|failed| match failed {
        Failed::Refused(refusal) => refusal,
        Failed::Store(error) => fault("store.failed", error),
    })
}

fn chosen<T, N: PartialEq>(all: Vec<T>, one: Option<&N>, name: impl Fn(&T) -> &N) -> Vec<T> {
    all.into_iter().filter(|each| one.is_none_or(|one| one == name(each))).collect()
}

fn bundles_of(answer: Answer) -> BTreeSet<String> {
    match answer {
        Answer::Permitted(permitted) => BTreeSet::from([permitted.bundle.to_string()]),
        Answer::SeveralBundles(bundles) => bundles,
        _ => BTreeSet::new(),
    }
}

fn groups(act: &dyn Act, human: &HumanName, given: Option<&[String]>) -> Result<BTreeSet<String>, Failed> {
    match given {
        Some(groups) => Ok(groups.iter().cloned().collect()),
        None => Ok(act.human(human)?.map(|known| known.groups).unwrap_or_default()),
    }
}

/// What forbids it whatever the policies say.
fn standing(agent: &Agent, host: &Host, human: Option<&Human>) -> Vec<String> {
    let mut why = Vec::new();
    if !agent.active {
        why.push(format!("{} is deactivated", agent.name));
    }
    if !host.active {
        why.push(format!("no sessions may be had on {}", host.id));
    }
    if host.key.is_none() {
        why.push(format!("{} is not enrolled", host.id));
    }
    if let Some(human) = human.filter(|human| !human.active) {
        why.push(format!("{} is deactivated", human.name));
    }
    why
}
