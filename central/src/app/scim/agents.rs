//! Agents by directories.

use super::{Directory, Done, Trouble, not_found};
use crate::app::App;
use crate::audit::{KnownIds, Record};
use crate::clock;
use crate::store::{self, Act, Agent};
use serde_json::json;
use tether_centrallink::wire::{Revoked, Target};
use tether_identity::Name;
use tether_oauth::Jwk;
use tether_scim::{AGENT, Filter, NewAgent, Page, Patch, Problem, ScimType, Shown};

impl App {
    /// Agents, and how many there are.
    pub fn scim_agents(
        &self,
        directory: &Directory,
        filter: Option<&Filter>,
        page: Page,
    ) -> Result<(usize, Vec<Shown>), Problem> {
        directory.check_agents()?;
        let mut found = store::look(&*self.store, |act| -> Result<Vec<Agent>, Trouble> { Ok(act.agents()?) })?;
        found.retain(|agent| !agent.deleted && filter.is_none_or(|filter| filter.value == agent.name.as_str()));
        let part = found.iter().skip(page.offset()).take(page.count).map(|agent| self.show_agent(agent));
        Ok((found.len(), part.collect()))
    }

    /// One of them; its id is its name.
    pub fn scim_agent(&self, directory: &Directory, id: &str) -> Result<Shown, Problem> {
        directory.check_agents()?;
        let found = store::look(&*self.store, |act| known(act, id))?;
        Ok(self.show_agent(&found))
    }

    /// Registers one. Never gives a known one another key, not even one that was deleted: an admin does that.
    pub fn scim_create_agent(&self, directory: &Directory, new: &NewAgent) -> Result<Shown, Problem> {
        self.directory_act(directory, &json!({"create": new.name}), |act| {
            directory.check_agents()?;
            let bad = |what: &str, why: &dyn std::fmt::Display| {
                Problem::of(ScimType::InvalidValue, "scim.value", format!("{what}: {why}"))
            };
            let name: Name = new.name.parse().map_err(|error| bad("agentName", &error))?;
            let team = new.team.parse().map_err(|error| bad("team", &error))?;
            Jwk::parse(&new.key).map_err(|error| bad("key", &error))?;
            if let Some(known) = act.agent(&name)? {
                let why = if known.deleted { "was deleted: an admin registers it anew" } else { "is registered" };
                return Err(Problem::of(ScimType::Uniqueness, "scim.taken", format!("{name} {why}")).into());
            }
            let agent = Agent {
                name,
                team,
                owner: new.owner.clone(),
                key: new.key.clone(),
                active: new.active.unwrap_or(true),
                generation: 0,
                since: clock::now(),
                void_until: 0,
                held: false,
                deleted: false,
            };
            act.put_agent(&agent)?;
            self.write_agent(act, directory, &agent, "scim.agent.created", &Revoked::default())?;
            Ok(Done { value: self.show_agent(&agent), revoked: Revoked::default() })
        })
    }

    /// Deactivates one, or lets it act again unless an admin has deactivated it.
    pub fn scim_patch_agent(&self, directory: &Directory, id: &str, patch: &Patch) -> Result<Shown, Problem> {
        self.directory_act(directory, &json!({"patch": id}), |act| {
            directory.check_agents()?;
            let mut agent = known(act, id)?;
            let mut revoked = Revoked::default();
            match patch.active {
                Some(false) if agent.active => {
                    revoked = self.take_back(act, &Target::Agent(agent.name.clone()), &directory.by)?;
                    agent = known(act, id)?;
                }
                Some(true) if agent.held => {
                    let why = "an admin has deactivated it: `tether agents activate` lets it act again";
                    return Err(Problem::new(409, "scim.held", why).into());
                }
                Some(true) if !agent.active => {
                    agent.active = true;
                    act.put_agent(&agent)?;
                }
                _ => {}
            }
            self.write_agent(act, directory, &agent, "scim.agent.changed", &revoked)?;
            Ok(Done { value: self.show_agent(&agent), revoked })
        })
    }

    /// Deletes one.
    pub fn scim_delete_agent(&self, directory: &Directory, id: &str) -> Result<(), Problem> {
        self.directory_act(directory, &json!({"delete": id}), |act| {
            directory.check_agents()?;
            let agent = known(act, id)?;
            let revoked = self.take_back(act, &Target::Agent(agent.name.clone()), &directory.by)?;
            let agent = Agent { deleted: true, ..known(act, id)? };
            act.put_agent(&agent)?;
            self.write_agent(act, directory, &agent, "scim.agent.deleted", &revoked)?;
            Ok(Done { value: (), revoked })
        })
    }

    fn write_agent(
        &self,
        act: &mut dyn Act,
        directory: &Directory,
        agent: &Agent,
        event: &'static str,
        revoked: &Revoked,
    ) -> Result<(), Trouble> {
        let ids = KnownIds { agent: Some(agent.name.to_string()), ..KnownIds::default() };
        let about = json!({
            "by": directory.by, "team": agent.team, "owner": agent.owner, "active": agent.active,
            "generation": agent.generation, "sessions": revoked.sessions.len(),
        });
        self.write(act, &Record::done(event, ids.or("a directory's act"), about))?;
        Ok(())
    }

    fn show_agent(&self, agent: &Agent) -> Shown {
        let Agent { name, team, owner, key, .. } = agent;
        let attributes = json!({"agentName": name, "team": team, "owner": owner, "key": key});
        Shown::new(&AGENT, &self.scim_base(), name.as_str(), agent.active, attributes)
    }
}

fn known(act: &dyn Act, id: &str) -> Result<Agent, Trouble> {
    let name: Name = id.parse().map_err(|_| not_found("agent"))?;
    Ok(act.agent(&name)?.filter(|agent| !agent.deleted).ok_or_else(|| not_found("agent"))?)
}
