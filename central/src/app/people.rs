//! What is known of humans. One record each, whether they have signed in, a directory has provisioned them, or both.
//!
//! Names are compared letter by letter where something is given. Where something is taken away, names that differ in
//! large and small letters only count as one: a directory may spell a name otherwise than the provider does, and its
//! word must not miss.

use super::{App, Failed, fault, restored_at};
use crate::store::{Act, Human, Provisioned};
use std::collections::BTreeSet;
use tether_centrallink::random;
use tether_centrallink::wire::{Revoked, Target};
use tether_identity::{Human as HumanName, Name};
use tether_oauth::{Refusal, Standard, Subject};

/// A human who has not signed in yet.
pub(super) fn unseen(name: &HumanName, now: u64) -> Result<Human, Failed> {
    Ok(Human {
        name: name.clone(),
        id: new_id()?,
        external_id: None,
        provisioned: Provisioned::No,
        issuer: String::new(),
        sub: String::new(),
        groups: BTreeSet::new(),
        active: true,
        signed_in_after: 0,
        seen: now,
    })
}

/// A name in small letters; one that has none is its own.
pub(super) fn small(name: &HumanName) -> HumanName {
    name.as_str().to_lowercase().parse().unwrap_or_else(|_| name.clone())
}

/// An id for a record.
pub(super) fn new_id() -> Result<String, Failed> {
    random::name(26).map_err(|error| fault("random", error).into())
}

/// Refuses a sign-in that was taken back.
///
/// A provider whose clock is ahead dates sign-ins later than they were. So the cut is later by as much as that provider
/// was ever seen ahead, in this very token or before.
pub(super) fn check_sign_in(act: &dyn Act, subject: &Subject, now: u64) -> Result<(), Failed> {
    let ahead = ahead_of(subject, now).max(known_ahead(act, &subject.issuer)?);
    let refuse = |code: &str, why: String| Refusal::new(Standard::InvalidRequest, code, why);
    let revoked = |name: &HumanName, until: u64| {
        let why = format!("sign-ins of {name} up to {until} were revoked: they have to sign in again");
        Failed::from(refuse("human.revoked", why))
    };
    let restored = restored_at(act)?;
    if restored > 0 && restored.saturating_add(ahead) >= subject.auth_time {
        return Err(revoked(&subject.human, restored));
    }
    for known in act.humans_alike(&subject.human)? {
        if !known.active {
            return Err(refuse("human.inactive", format!("{} is deactivated", known.name)).into());
        }
        if known.signed_in_after.saturating_add(ahead) >= subject.auth_time && known.signed_in_after > 0 {
            return Err(revoked(&known.name, known.signed_in_after));
        }
    }
    // Somebody may have been named by the provider's own name for them before they were ever seen here.
    match act.void_until(&subject.issuer, &subject.sub)? {
        until if until > 0 && until.saturating_add(ahead) >= subject.auth_time => Err(revoked(&subject.human, until)),
        _ => Ok(()),
    }
}

/// By how many seconds this token says that its provider's clock is ahead of ours.
fn ahead_of(subject: &Subject, now: u64) -> u64 {
    subject.issued_at.max(subject.auth_time).saturating_sub(now)
}

/// By how many seconds a provider's clock was ever seen ahead.
pub(super) fn known_ahead(act: &dyn Act, issuer: &str) -> Result<u64, Failed> {
    Ok(act.meta(&ahead_name(issuer))?.and_then(|seconds| seconds.parse().ok()).unwrap_or(0))
}

fn ahead_name(issuer: &str) -> String {
    format!("ahead {issuer}")
}

/// Remembers how far ahead a provider's clock is.
pub(super) fn note_ahead(act: &mut dyn Act, subject: &Subject, now: u64) -> Result<(), Failed> {
    let ahead = ahead_of(subject, now);
    if ahead > known_ahead(act, &subject.issuer)? {
        act.set_meta(&ahead_name(&subject.issuer), &ahead.to_string())?;
    }
    Ok(())
}

/// The human's record as it will be, if they may be acted for.
pub(super) fn seen(act: &dyn Act, subject: &Subject, now: u64) -> Result<Human, Failed> {
    check_sign_in(act, subject, now)?;
    let known = match act.human(&subject.human)? {
        Some(known) => known,
        None => unseen(&subject.human, now)?,
    };
    Ok(Human {
        issuer: subject.issuer.clone(),
        sub: subject.sub.clone(),
        groups: subject.groups.clone(),
        seen: now,
        ..known
    })
}

impl App {
    /// Takes back all that was issued for a human, and their sign-ins so far; deactivates them if that is wanted.
    pub(super) fn take_back_human(
        &self,
        act: &mut dyn Act,
        name: &HumanName,
        deactivate: bool,
        by: &str,
    ) -> Result<Revoked, Failed> {
        let mut all = Revoked::default();
        for name in names_alike(act, name)? {
            let revoked = self.take_back(act, &Target::Human(name.clone()), by)?;
            merge(&mut all, revoked);
            if deactivate && let Some(known) = act.human(&name)? {
                act.put_human(&Human { active: false, ..known })?;
            }
        }
        Ok(all)
    }

    /// Takes back what was issued to an agent for a human, in every spelling of their name.
    pub(super) fn take_back_pair(
        &self,
        act: &mut dyn Act,
        agent: &Name,
        human: &HumanName,
        by: &str,
    ) -> Result<Revoked, Failed> {
        let mut all = Revoked::default();
        for human in names_alike(act, human)? {
            merge(&mut all, self.take_back(act, &Target::Pair { agent: agent.clone(), human }, by)?);
        }
        Ok(all)
    }
}

/// The name, and those that are known and differ from it in large and small letters only.
fn names_alike(act: &dyn Act, name: &HumanName) -> Result<BTreeSet<HumanName>, Failed> {
    let mut names: BTreeSet<HumanName> = act.humans_alike(name)?.into_iter().map(|one| one.name).collect();
    names.insert(name.clone());
    Ok(names)
}

/// Lets a human be acted for again. What they signed in to while they were deactivated stays void, too.
pub(super) fn activate(act: &mut dyn Act, name: &HumanName, now: u64) -> Result<(), Failed> {
    for known in act.humans_alike(name)? {
        act.put_human(&Human { active: true, signed_in_after: now, ..known })?;
    }
    Ok(())
}

/// Two revocations as one.
pub(super) fn merge(all: &mut Revoked, more: Revoked) {
    all.sessions.extend(more.sessions);
    let new: Vec<_> = more.hosts.into_iter().filter(|host| !all.hosts.contains(host)).collect();
    all.hosts.extend(new);
}
