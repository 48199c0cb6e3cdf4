//! Taking back: what was issued is void here at once, and every host that has something of it is told.

use super::owed::{AT_ONCE, Debt, owe};
use super::{Admin, App, Failed, people};
use crate::audit::{HOST, Record, ids_of};
use crate::clock;
use crate::store::{Act, Agent, Delegation, Human, Pair, Which};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use tether_audit::{Ids, Parent};
use tether_centrallink::wire::{Revoked, Target};
use tether_identity::{HostId, Name};
use tether_oauth::{Form, Proof, Refusal, Standard};
use tether_statement::{Body, Revocation};

/// Where a token is revoked by whoever holds its key (RFC 7009).
pub const REVOKE_PATH: &str = "/oauth/revoke";

fn unknown(what: &str) -> Failed {
    Refusal::new(Standard::InvalidRequest, "revoke.unknown", format_args!("no such {what} is known")).into()
}

impl App {
    /// Takes something back.
    pub fn revoke(&self, admin: &Admin, target: &Target) -> Result<Revoked, Refusal> {
        let wanted = serde_json::to_value(target).unwrap_or_default();
        let done = self.act(|act| match target {
            Target::Human(human) => self.take_back_human(act, human, false, &admin.name),
            Target::Pair { agent, human } => self.take_back_pair(act, agent, human, &admin.name),
            Target::Agent(agent) => self.hold(act, agent, &admin.name),
            other => self.take_back(act, other, &admin.name),
        });
        self.tell_hosts(kind(target), done, json!({"by": admin.name, "target": wanted}))
    }

    /// An admin's word: it holds against directories, too.
    fn hold(&self, act: &mut dyn Act, name: &Name, by: &str) -> Result<Revoked, Failed> {
        let revoked = self.take_back(act, &Target::Agent(name.clone()), by)?;
        let agent = act.agent(name)?.ok_or_else(|| unknown("agent"))?;
        act.put_agent(&Agent { held: true, ..agent })?;
        Ok(revoked)
    }

    /// An agent gives back its own token (RFC 7009). A token that is not known is as good as revoked.
    pub fn give_back(&self, body: &[u8], proof: &Proof) -> Result<(), Refusal> {
        let form = Form::parse(body)?;
        let Ok(claims) = self.own_claims(form.need("token")?) else { return Ok(()) };
        if self.look(|act| self.live(act, &claims, proof, clock::now())).is_ok() {
            self.nonces.take(proof, clock::now())?;
        }
        let done = self.act(|act| match self.live(act, &claims, proof, clock::now()) {
            Ok(delegation) => self.take_back(act, &Target::Delegation(delegation.id), "its holder"),
            Err(Failed::Refused(refusal)) if refusal.code == "token.other_key" => Err(refusal.into()),
            Err(Failed::Refused(_)) => Ok(Revoked::default()),
            Err(failed) => Err(failed),
        });
        self.tell_hosts("token", done, json!({"by": "its holder"})).map(drop)
    }

    fn tell_hosts(
        &self,
        kind: &'static str,
        done: Result<Revoked, Failed>,
        about: serde_json::Value,
    ) -> Result<Revoked, Refusal> {
        let revoked =
            done.map_err(|failed| self.refuse("revoke.refused", Ids::unknown("nothing was revoked"), failed, about))?;
        self.metrics.count_revocation(kind, revoked.sessions.len());
        self.tell_revoked(&revoked);
        Ok(revoked)
    }

    pub(super) fn take_back(&self, act: &mut dyn Act, target: &Target, by: &str) -> Result<Revoked, Failed> {
        let now = clock::now();
        let touched = mark(act, target, now)?;
        // What a host is told names what was revoked where the host knows such a thing, else each session.
        let mut words: BTreeMap<HostId, Vec<(Revocation, u64)>> = BTreeMap::new();
        // Without a grant the host knows nothing of it.
        for delegation in touched.iter().filter(|one| one.issued.is_some()) {
            let word = word(target, delegation);
            let said = words.entry(delegation.host.clone()).or_default();
            if !said.iter().any(|(known, _)| *known == word) {
                let number = self.say(act, &delegation.host, &Body::Revocation(word.clone()), now)?;
                said.push((word, number));
            }
        }
        let about = json!({
            "by": by, "target": serde_json::to_value(target).unwrap_or_default(),
            "sessions": touched.len(), "hosts": words.len(),
        });
        let parent = self.write(act, &Record::done("revoked", Ids::unknown("an admin's act"), about))?;
        let mut sessions = VecDeque::new();
        for delegation in &touched {
            // The statement that the host was told by: with it what the host does then has a cause.
            let said = words.get(&delegation.host).filter(|_| delegation.issued.is_some());
            let statement = said.and_then(|said| said.iter().find(|(known, _)| *known == word(target, delegation)));
            sessions.push_back((delegation.id.clone(), statement.map(|(_, number)| *number)));
        }
        let ended = touched
            .into_iter()
            .map(|one| Delegation { revoked: Some((now, format!("{} by {by}", name(target)))), ..one });
        let ended: Vec<Delegation> = ended.collect();
        ended.iter().try_for_each(|one| act.put_delegation(one))?;
        if ended.len() > AT_ONCE {
            owe(act, Debt { parent, sessions })?;
        } else {
            for (one, (_, statement)) in ended.iter().zip(sessions) {
                self.write(act, &record_of(one, parent, statement))?;
            }
        }
        Ok(Revoked { sessions: ended.into_iter().map(|one| one.session).collect(), hosts: words.into_keys().collect() })
    }
}

/// What is on record of one session that a revocation ended.
pub(super) fn record_of(ended: &Delegation, parent: u64, statement: Option<u64>) -> Record {
    let why = ended.revoked.as_ref().map(|(_, why)| why.as_str());
    let about = json!({"host": ended.host.as_str(), "why": why, "statement": statement});
    Record::done("session.revoked", ids_of(ended), about).after(Some(Parent::record(HOST, parent)))
}

/// Changes what is known of the target, and gives the live delegations that fall under it.
fn mark(act: &mut dyn Act, target: &Target, now: u64) -> Result<Vec<Delegation>, Failed> {
    let live = Which { live_at: Some(now), ..Which::default() };
    let which = match target {
        Target::Human(human) => {
            let record = match act.human(human)? {
                Some(known) => known,
                None => people::unseen(human, now)?,
            };
            act.put_human(&Human { signed_in_after: now, ..record })?;
            Which { human: Some(human.clone()), ..live }
        }
        Target::Agent(agent) => {
            let mut record = act.agent(agent)?.ok_or_else(|| unknown("agent"))?;
            record.active = false;
            record.generation += 1;
            record.void_until = now;
            act.put_agent(&record)?;
            Which { agent: Some(agent.clone()), ..live }
        }
        Target::Pair { agent, human } => {
            act.agent(agent)?.ok_or_else(|| unknown("agent"))?;
            // In small letters too: by that it is found whatever spelling comes later.
            for human in BTreeSet::from([human.clone(), people::small(human)]) {
                act.put_pair(&Pair { agent: agent.clone(), human, signed_in_after: now })?;
            }
            Which { agent: Some(agent.clone()), human: Some(human.clone()), ..live }
        }
        Target::Host(host) => {
            let mut record = act.host(host)?.ok_or_else(|| unknown("host"))?;
            record.active = false;
            record.revoked_at = now;
            act.put_host(&record)?;
            Which { host: Some(host.clone()), ..live }
        }
        Target::Delegation(id) => return one(act.delegation(id)?, now),
        Target::Session(session) => return one(act.delegation_of(session)?, now),
        Target::Certificate(serial) => return one(act.delegation_of_serial(*serial)?, now),
    };
    Ok(act.delegations(&which, usize::MAX)?)
}

fn one(found: Option<Delegation>, now: u64) -> Result<Vec<Delegation>, Failed> {
    let found = found.ok_or_else(|| unknown("session"))?;
    Ok(if found.is_live(now) { vec![found] } else { Vec::new() })
}

fn word(target: &Target, delegation: &Delegation) -> Revocation {
    match target {
        Target::Human(human) => Revocation::Human(human.clone()),
        Target::Agent(agent) => Revocation::Agent(agent.clone()),
        Target::Delegation(id) => Revocation::Delegation(id.clone()),
        Target::Pair { .. } | Target::Session(_) | Target::Host(_) | Target::Certificate(_) => {
            Revocation::Session(delegation.session.clone())
        }
    }
}

/// For metrics.
fn kind(target: &Target) -> &'static str {
    match target {
        Target::Human(_) => "human",
        Target::Agent(_) => "agent",
        Target::Pair { .. } => "pair",
        Target::Delegation(_) => "delegation",
        Target::Session(_) => "session",
        Target::Host(_) => "host",
        Target::Certificate(_) => "certificate",
    }
}

fn name(target: &Target) -> &'static str {
    match target {
        Target::Human(_) => "human revoked",
        Target::Agent(_) => "agent deactivated",
        Target::Pair { .. } => "pair revoked",
        Target::Delegation(_) => "delegation revoked",
        Target::Session(_) => "session revoked",
        Target::Host(_) => "host revoked",
        Target::Certificate(_) => "certificate revoked",
    }
}
