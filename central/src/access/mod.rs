//! Who may: policies in Cedar, validated against a schema when they are read.
//!
//! A `permit` for `connect` carries three annotations: `@id("…")`, its name in records; `@bundle("…")`, what may be
//! run under sudo; `@minutes("…")`, how long a session may live. Silence denies, `forbid` wins, and a policy that
//! cannot be evaluated counts as an error that denies.

use cedar_policy::{
    Authorizer, Context, Decision, Effect, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy, PolicySet,
    Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use serde::Serialize;
use std::collections::{BTreeSet, HashMap, HashSet};
use tether_identity::Name;
use tether_oauth::Subject;

use crate::store::{Agent, Host};

/// The schema, also for those who write policies.
pub const SCHEMA: &str = include_str!("schema.cedarschema");
/// The longest session that a policy may give, in minutes.
const MINUTES_MAX: u64 = 24 * 60;

/// Policies that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the access policies cannot be used: {0}")]
pub struct BadPolicies(String);

/// Something that should not be possible with checked policies.
#[derive(Debug, thiserror::Error)]
#[error("the access policies cannot be asked: {0}")]
pub struct AccessError(String);

fn wrong(error: impl std::fmt::Display) -> AccessError {
    AccessError(error.to_string())
}

/// The policies.
#[derive(Debug)]
pub struct Access {
    policies: PolicySet,
    schema: Schema,
}

/// The human of a question.
#[derive(Debug, Clone)]
pub struct SignIn<'q> {
    /// Their name.
    pub human: &'q str,
    /// Their groups.
    pub groups: &'q BTreeSet<String>,
    /// When they signed in.
    pub auth_time: u64,
    /// With which factors.
    pub amr: &'q [String],
    /// The class of the sign-in.
    pub acr: Option<&'q str>,
}

impl<'q> From<&'q Subject> for SignIn<'q> {
    fn from(subject: &'q Subject) -> Self {
        Self {
            human: subject.human.as_str(),
            groups: &subject.groups,
            auth_time: subject.auth_time,
            amr: &subject.amr,
            acr: subject.acr.as_deref(),
        }
    }
}

/// May this agent, for this human, have a session on this host?
#[derive(Debug, Clone)]
pub struct Question<'q> {
    /// The agent.
    pub agent: &'q Agent,
    /// The human and their sign-in.
    pub sign_in: SignIn<'q>,
    /// The host.
    pub host: &'q Host,
    /// The bundle that is asked for; none for whatever policy gives.
    pub bundle: Option<&'q Name>,
    /// Whether sessions can be had through a gateway alone.
    pub gateway: bool,
    /// Central's time.
    pub now: u64,
}

/// What is permitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Permitted {
    /// The bundle.
    pub bundle: Name,
    /// How long the session may live.
    pub minutes: u64,
    /// The policies that say so.
    pub policies: Vec<String>,
}

/// The answer, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Yes.
    Permitted(Permitted),
    /// No policy permits it.
    Silent,
    /// These forbid it.
    Forbidden(Vec<String>),
    /// Permits name several bundles and the question none.
    SeveralBundles(BTreeSet<String>),
    /// It is permitted, but not with the bundle that is asked for.
    OtherBundle(BTreeSet<String>),
    /// Policies that could not be evaluated.
    Failed(Vec<String>),
}

impl Answer {
    /// The stable code of a refusal; none if it is permitted.
    pub const fn code(&self) -> Option<&'static str> {
        match self {
            Self::Permitted(_) => None,
            Self::Silent => Some("access.none"),
            Self::Forbidden(_) => Some("access.forbidden"),
            Self::SeveralBundles(_) => Some("access.several_bundles"),
            Self::OtherBundle(_) => Some("access.other_bundle"),
            Self::Failed(_) => Some("access.failed"),
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        match self {
            Self::Permitted(permitted) => format!(
                "permitted by {} with the bundle {} for {} minutes",
                permitted.policies.join(", "),
                permitted.bundle,
                permitted.minutes
            ),
            Self::Silent => "no policy permits it".to_owned(),
            Self::Forbidden(policies) => format!("forbidden by {}", policies.join(", ")),
            Self::SeveralBundles(names) => {
                format!("several bundles are permitted ({}): name one with the scope bundle:NAME", list(names))
            }
            Self::OtherBundle(names) => format!("this bundle is not permitted; permitted are: {}", list(names)),
            Self::Failed(policies) => format!("policies could not be evaluated: {}", policies.join("; ")),
        }
    }
}

/// One policy, looked at alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Look {
    /// Its name.
    pub policy: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Whether it applies to the question.
    pub applies: bool,
    /// What it says.
    pub text: String,
}

impl Access {
    /// Reads and checks policies.
    pub fn parse(text: &str) -> Result<Self, BadPolicies> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|error| BadPolicies(error.to_string()))?;
        let policies: PolicySet = text.parse().map_err(|error| BadPolicies(format!("{error}")))?;
        let checked = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        let problems: Vec<String> = checked.validation_errors().map(ToString::to_string).collect();
        if !problems.is_empty() {
            return Err(BadPolicies(problems.join("; ")));
        }
        let mut names = BTreeSet::new();
        for policy in policies.policies() {
            let name = policy.annotation("id").ok_or_else(|| BadPolicies(format!("{policy} has no @id")))?;
            if !names.insert(name.to_owned()) {
                return Err(BadPolicies(format!("two policies have the @id {name:?}")));
            }
            check_annotations(policy, name)?;
        }
        Ok(Self { policies, schema })
    }

    /// How many policies there are.
    pub fn count(&self) -> usize {
        self.policies.policies().count()
    }

    /// Decides.
    pub fn decide(&self, question: &Question<'_>) -> Result<Answer, AccessError> {
        let (request, entities) = self.request(question)?;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let failed: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        if !failed.is_empty() {
            return Ok(Answer::Failed(failed));
        }
        let reasons: Vec<&Policy> = response.diagnostics().reason().filter_map(|id| self.policies.policy(id)).collect();
        if response.decision() == Decision::Deny {
            let names: Vec<String> = reasons.into_iter().map(name_of).collect();
            return Ok(if names.is_empty() { Answer::Silent } else { Answer::Forbidden(names) });
        }
        permitted(&reasons, question.bundle)
    }

    /// Whether a human may do something at central: `administer` or `audit`.
    pub fn may(&self, action: &str, sign_in: &SignIn<'_>, now: u64) -> Result<bool, AccessError> {
        let (person, mut entities) = human(sign_in)?;
        let resource = uid("Central", "central")?;
        entities.push(Entity::new(resource.clone(), HashMap::new(), HashSet::new()).map_err(wrong)?);
        let context = Context::from_pairs([
            ("signed_in".to_owned(), since(sign_in.auth_time, now)),
            ("multi_factor".to_owned(), RestrictedExpression::new_bool(tether_oauth::is_multi_factor(sign_in.amr))),
        ])
        .map_err(wrong)?;
        let entities = Entities::from_entities(entities, Some(&self.schema)).map_err(wrong)?;
        let request =
            Request::new(person, uid("Action", action)?, resource, context, Some(&self.schema)).map_err(wrong)?;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        Ok(response.decision() == Decision::Allow && response.diagnostics().errors().next().is_none())
    }

    /// Every policy for sessions, looked at alone: which ones apply to the question.
    pub fn explain(&self, question: &Question<'_>) -> Result<Vec<Look>, AccessError> {
        let (request, entities) = self.request(question)?;
        let mut looks = Vec::new();
        for policy in self.policies.policies().filter(|policy| is_for_sessions(policy)) {
            let alone = PolicySet::from_policies([policy.clone()]).map_err(wrong)?;
            let response = Authorizer::new().is_authorized(&request, &alone, &entities);
            let applies = response.diagnostics().reason().next().is_some();
            let effect = if policy.effect() == Effect::Permit { "permit" } else { "forbid" };
            looks.push(Look { policy: name_of(policy), effect, applies, text: policy.to_string() });
        }
        looks.sort_by(|a, b| a.policy.cmp(&b.policy));
        Ok(looks)
    }

    fn request(&self, question: &Question<'_>) -> Result<(Request, Entities), AccessError> {
        let Question { agent, sign_in, host, now, gateway, .. } = question;
        let (person, mut entities) = human(sign_in)?;
        let team = uid("Team", agent.team.as_str())?;
        let principal = uid("Agent", agent.name.as_str())?;
        let resource = uid("Host", host.id.as_str())?;
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let set = |texts: &mut dyn Iterator<Item = &String>| RestrictedExpression::new_set(texts.map(|one| text(one)));
        let attributes =
            HashMap::from([("team".to_owned(), text(agent.team.as_str())), ("owner".to_owned(), text(&agent.owner))]);
        entities.push(Entity::new(team.clone(), HashMap::new(), HashSet::new()).map_err(wrong)?);
        entities.push(Entity::new(principal.clone(), attributes, HashSet::from([team])).map_err(wrong)?);
        let attributes = HashMap::from([
            ("id".to_owned(), text(host.id.as_str())),
            ("labels".to_owned(), set(&mut host.labels.iter())),
        ]);
        entities.push(Entity::new(resource.clone(), attributes, HashSet::new()).map_err(wrong)?);
        let day = now / 86_400;
        let long = |number: u64| RestrictedExpression::new_long(i64::try_from(number).unwrap_or(i64::MAX));
        let context = Context::from_pairs([
            ("human".to_owned(), RestrictedExpression::new_entity_uid(person)),
            ("signed_in".to_owned(), since(sign_in.auth_time, *now)),
            ("multi_factor".to_owned(), RestrictedExpression::new_bool(tether_oauth::is_multi_factor(sign_in.amr))),
            ("amr".to_owned(), set(&mut sign_in.amr.iter())),
            ("acr".to_owned(), text(sign_in.acr.unwrap_or_default())),
            ("hour".to_owned(), long(now % 86_400 / 3600)),
            // 1970-01-01 was a Thursday.
            ("weekday".to_owned(), long((day + 3) % 7 + 1)),
            ("gateway".to_owned(), RestrictedExpression::new_bool(*gateway)),
        ])
        .map_err(wrong)?;
        let entities = Entities::from_entities(entities, Some(&self.schema)).map_err(wrong)?;
        let request =
            Request::new(principal, uid("Action", "connect")?, resource, context, Some(&self.schema)).map_err(wrong)?;
        Ok((request, entities))
    }
}

/// A human and their groups.
fn human(sign_in: &SignIn<'_>) -> Result<(EntityUid, Vec<Entity>), AccessError> {
    let person = uid("Human", sign_in.human)?;
    let groups: HashSet<EntityUid> =
        sign_in.groups.iter().map(|group| uid("Group", group)).collect::<Result<_, _>>()?;
    let mut entities = Vec::new();
    for group in &groups {
        entities.push(Entity::new(group.clone(), HashMap::new(), HashSet::new()).map_err(wrong)?);
    }
    let attributes = HashMap::from([("name".to_owned(), RestrictedExpression::new_string(sign_in.human.to_owned()))]);
    entities.push(Entity::new(person.clone(), attributes, groups).map_err(wrong)?);
    Ok((person, entities))
}

fn since(time: u64, now: u64) -> RestrictedExpression {
    RestrictedExpression::new_long(i64::try_from(now.saturating_sub(time)).unwrap_or(i64::MAX))
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, AccessError> {
    let kind: EntityTypeName = kind.parse().map_err(wrong)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn name_of(policy: &Policy) -> String {
    policy.annotation("id").map_or_else(|| policy.id().to_string(), str::to_owned)
}

/// Not one of those about central itself.
fn is_for_sessions(policy: &Policy) -> bool {
    use cedar_policy::ActionConstraint;
    let is_connect = |action: &EntityUid| action.id().unescaped() == "connect";
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(action) => is_connect(&action),
        ActionConstraint::In(actions) => actions.iter().any(is_connect),
    }
}

fn check_annotations(policy: &Policy, name: &str) -> Result<(), BadPolicies> {
    if policy.effect() == Effect::Forbid || !is_for_sessions(policy) {
        return Ok(());
    }
    let bundle = policy.annotation("bundle").map(str::parse::<Name>);
    if !matches!(bundle, Some(Ok(_))) {
        return Err(BadPolicies(format!("{name} permits sessions and names no @bundle")));
    }
    match minutes(policy) {
        Some(1..=MINUTES_MAX) => Ok(()),
        _ => Err(BadPolicies(format!("{name} permits sessions and has no @minutes from 1 to {MINUTES_MAX}"))),
    }
}

fn minutes(policy: &Policy) -> Option<u64> {
    policy.annotation("minutes")?.parse().ok()
}

/// Of several permits for one bundle the shortest holds.
fn permitted(reasons: &[&Policy], wanted: Option<&Name>) -> Result<Answer, AccessError> {
    let bundle_of = |policy: &&&Policy| policy.annotation("bundle").unwrap_or_default().to_owned();
    let bundles: BTreeSet<String> = reasons.iter().map(|policy| bundle_of(&policy)).collect();
    let bundle = match wanted {
        Some(name) if bundles.contains(name.as_str()) => name.to_string(),
        Some(_) => return Ok(Answer::OtherBundle(bundles)),
        None if bundles.len() > 1 => return Ok(Answer::SeveralBundles(bundles)),
        None => bundles.into_iter().next().unwrap_or_default(),
    };
    let these: Vec<&&Policy> = reasons.iter().filter(|policy| bundle_of(policy) == bundle).collect();
    let minutes = these.iter().filter_map(|policy| minutes(policy)).min().unwrap_or(1);
    let mut policies: Vec<String> = these.into_iter().map(|policy| name_of(policy)).collect();
    policies.sort();
    Ok(Answer::Permitted(Permitted { bundle: bundle.parse().map_err(wrong)?, minutes, policies }))
}

#[cfg(test)]
mod tests;
