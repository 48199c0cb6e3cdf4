//! Humans by directories.

use super::{Directory, Done, Trouble, not_found};
use crate::app::{App, people};
use crate::audit::{KnownIds, Record};
use crate::clock;
use crate::store::{self, Act, Human, Provisioned};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tether_centrallink::wire::Revoked;
use tether_identity::Human as HumanName;
use tether_scim::{Filter, NewUser, Page, Patch, Problem, ScimType, Shown, USER};

/// What is to be changed of a human.
#[derive(Debug, Clone, Default)]
struct Change {
    name: Option<HumanName>,
    external_id: Option<Option<String>>,
    active: Option<bool>,
}

fn taken(name: &HumanName) -> Problem {
    Problem::of(ScimType::Uniqueness, "scim.taken", format!("there is a user {name} already"))
}

fn parse_name(directory: &Directory, text: &str) -> Result<HumanName, Problem> {
    let wrong = |why: String| Problem::of(ScimType::InvalidValue, "scim.name", why);
    let name: HumanName = text.parse().map_err(|error| wrong(format!("userName: {error}")))?;
    if directory.speaks_for(&name) {
        return Ok(name);
    }
    Err(wrong(format!("userName: {name} is in none of this directory's namespaces {:?}", directory.namespaces)))
}

impl App {
    /// Users of a directory's provider, and how many there are.
    pub fn scim_users(
        &self,
        directory: &Directory,
        filter: Option<&Filter>,
        page: Page,
    ) -> Result<(usize, Vec<Shown>), Problem> {
        let found = store::look(&*self.store, |act| -> Result<Vec<Human>, Trouble> {
            Ok(match filter {
                None => act.humans()?,
                Some(Filter { attribute: "id", value }) => act.human_of_id(value)?.into_iter().collect(),
                Some(Filter { attribute: "externalId", value }) => act.humans_of_external(value)?,
                Some(Filter { value, .. }) => match value.parse() {
                    Ok(name) => act.humans_alike(&name)?,
                    Err(_) => Vec::new(),
                },
            })
        })?;
        let visible = visible(directory, found);
        let part = visible.iter().skip(page.offset()).take(page.count).map(|human| self.show_user(human));
        Ok((visible.len(), part.collect()))
    }

    /// One of them.
    pub fn scim_user(&self, directory: &Directory, id: &str) -> Result<Shown, Problem> {
        let found = store::look(&*self.store, |act| own(act, directory, id))?;
        Ok(self.show_user(&found))
    }

    /// Makes one, or takes one over who has signed in before.
    pub fn scim_create_user(&self, directory: &Directory, new: &NewUser) -> Result<Shown, Problem> {
        self.directory_act(directory, &json!({"create": new.user_name}), |act| {
            let now = clock::now();
            let name = parse_name(directory, &new.user_name)?;
            let alike = act.humans_alike(&name)?;
            if alike.iter().any(|one| one.provisioned == Provisioned::Yes) {
                return Err(taken(&name).into());
            }
            let exact = alike.iter().find(|one| one.name == name).or_else(|| alike.first());
            let known = match exact {
                Some(known) => known.clone(),
                None => people::unseen(&name, now)?,
            };
            // Made anew after a deletion it is another resource.
            let id = if known.provisioned == Provisioned::Deleted { people::new_id()? } else { known.id.clone() };
            act.put_human(&Human { id, provisioned: Provisioned::Yes, ..known.clone() })?;
            let active = Some(new.active.unwrap_or(true));
            let change = Change { name: None, external_id: Some(new.external_id.clone()), active };
            self.change_user(act, directory, &known.name, &change, "scim.user.created")
        })
    }

    /// Replaces one. What the body does not say stays: `active` above all.
    pub fn scim_replace_user(&self, directory: &Directory, id: &str, new: &NewUser) -> Result<Shown, Problem> {
        self.directory_act(directory, &json!({"replace": id}), |act| {
            let known = own(act, directory, id)?;
            let name = Some(parse_name(directory, &new.user_name)?);
            let external_id = new.external_id.clone().map(Some);
            let change = Change { name, external_id, active: new.active };
            self.change_user(act, directory, &known.name, &change, "scim.user.changed")
        })
    }

    /// Changes one.
    pub fn scim_patch_user(&self, directory: &Directory, id: &str, patch: &Patch) -> Result<Shown, Problem> {
        self.directory_act(directory, &json!({"patch": id}), |act| {
            let known = own(act, directory, id)?;
            let name = match patch.texts.get("userName") {
                Some(Some(text)) => Some(parse_name(directory, text)?),
                Some(None) => {
                    let why = "userName cannot be taken away";
                    return Err(Problem::of(ScimType::InvalidValue, "scim.value", why).into());
                }
                None => None,
            };
            let change = Change { name, external_id: patch.texts.get("externalId").cloned(), active: patch.active };
            self.change_user(act, directory, &known.name, &change, "scim.user.changed")
        })
    }

    /// Deletes one: they stay deactivated, and the directory does not see them any more.
    pub fn scim_delete_user(&self, directory: &Directory, id: &str) -> Result<(), Problem> {
        self.directory_act(directory, &json!({"delete": id}), |act| {
            let known = own(act, directory, id)?;
            let revoked = self.delete_user(act, directory, &known)?;
            self.write_user(act, directory, &known, "scim.user.deleted", &revoked)?;
            Ok(Done { value: (), revoked })
        })
    }

    fn delete_user(&self, act: &mut dyn Act, directory: &Directory, known: &Human) -> Result<Revoked, Trouble> {
        let revoked = self.take_back_human(act, &known.name, true, &directory.by)?;
        let left = act.human(&known.name)?.ok_or_else(|| not_found("user"))?;
        act.put_human(&Human { provisioned: Provisioned::Deleted, external_id: None, ..left })?;
        Ok(revoked)
    }

    fn change_user(
        &self,
        act: &mut dyn Act,
        directory: &Directory,
        name: &HumanName,
        change: &Change,
        event: &'static str,
    ) -> Result<Done<Shown>, Trouble> {
        let mut revoked = Revoked::default();
        let mut known = act.human(name)?.ok_or_else(|| not_found("user"))?;
        let small = |name: &HumanName| name.as_str().to_lowercase();
        if let Some(new) = change.name.as_ref().filter(|new| small(new) != small(name)) {
            known = self.rename(act, directory, &known, new, &mut revoked)?;
        }
        let external_id = change.external_id.clone().unwrap_or_else(|| known.external_id.clone());
        let known = Human { provisioned: Provisioned::Yes, external_id, ..known };
        act.put_human(&known)?;
        match change.active {
            Some(false) if is_active(act, &known.name)? => {
                let more = self.take_back_human(act, &known.name, true, &directory.by)?;
                people::merge(&mut revoked, more);
            }
            Some(true) if !known.active => people::activate(act, &known.name, clock::now())?,
            _ => {}
        }
        let known = act.human(&known.name)?.ok_or_else(|| not_found("user"))?;
        self.write_user(act, directory, &known, event, &revoked)?;
        Ok(Done { value: self.show_user(&known), revoked })
    }

    /// Another name is another principal: what was issued for the old one ends, and nobody signs in by it any more.
    /// The resource keeps its id.
    fn rename(
        &self,
        act: &mut dyn Act,
        directory: &Directory,
        known: &Human,
        new: &HumanName,
        revoked: &mut Revoked,
    ) -> Result<Human, Trouble> {
        let now = clock::now();
        let alike = act.humans_alike(new)?;
        if alike.iter().any(|one| one.provisioned == Provisioned::Yes) {
            return Err(taken(new).into());
        }
        people::merge(revoked, self.delete_user(act, directory, known)?);
        let left = act.human(&known.name)?.ok_or_else(|| not_found("user"))?;
        act.put_human(&Human { id: people::new_id()?, ..left })?;
        let target = match alike.into_iter().find(|one| one.name == *new) {
            Some(target) => target,
            None => people::unseen(new, now)?,
        };
        let renamed = Human {
            id: known.id.clone(),
            external_id: known.external_id.clone(),
            provisioned: Provisioned::Yes,
            active: known.active,
            signed_in_after: target.signed_in_after.max(known.signed_in_after),
            ..target
        };
        act.put_human(&renamed)?;
        if known.active {
            people::activate(act, new, now)?;
        } else {
            people::merge(revoked, self.take_back_human(act, new, true, &directory.by)?);
        }
        Ok(act.human(new)?.ok_or_else(|| not_found("user"))?)
    }

    fn write_user(
        &self,
        act: &mut dyn Act,
        directory: &Directory,
        human: &Human,
        event: &'static str,
        revoked: &Revoked,
    ) -> Result<(), Trouble> {
        let ids = KnownIds { human: Some(human.name.to_string()), ..KnownIds::default() };
        let about = json!({
            "by": directory.by, "id": human.id, "external_id": human.external_id, "active": human.active,
            "sessions": revoked.sessions.len(),
        });
        self.write(act, &Record::done(event, ids.or("a directory's act"), about))?;
        Ok(())
    }

    fn show_user(&self, human: &Human) -> Shown {
        let attributes: Value = json!({"userName": human.name, "externalId": human.external_id});
        Shown::new(&USER, &self.scim_base(), &human.id, human.active, attributes)
    }
}

fn is_active(act: &dyn Act, name: &HumanName) -> Result<bool, Trouble> {
    Ok(act.humans_alike(name)?.iter().any(|one| one.active))
}

/// A directory's own user by id. Of those that it does not see it does not learn that they are.
fn own(act: &dyn Act, directory: &Directory, id: &str) -> Result<Human, Trouble> {
    let found = act.human_of_id(id)?.map(|human| visible(directory, vec![human]));
    Ok(found.unwrap_or_default().pop().ok_or_else(|| not_found("user"))?)
}

/// Those of its namespaces that are not deleted. Somebody provisioned hides those who are only spelled otherwise.
fn visible(directory: &Directory, found: Vec<Human>) -> Vec<Human> {
    let small = |human: &Human| human.name.as_str().to_lowercase();
    let provisioned: BTreeSet<String> =
        found.iter().filter(|human| human.provisioned == Provisioned::Yes).map(small).collect();
    let shows = |human: &Human| match human.provisioned {
        Provisioned::Yes => true,
        Provisioned::No => !provisioned.contains(&small(human)),
        Provisioned::Deleted => false,
    };
    found.into_iter().filter(|human| directory.speaks_for(&human.name) && shows(human)).collect()
}
