//! What providers say happened to their humans (Shared Signals): the humans have to sign in again, and what was issued
//! for them ends, as by every revocation. An event gives nothing back.

use super::host::hash;
use super::{App, Failed, people};
use crate::audit::{KnownIds, Record};
use crate::clock;
use crate::providers::Sender;
use crate::store::Act;
use serde_json::json;
use std::collections::BTreeSet;
use tether_audit::Ids;
use tether_centrallink::wire::Revoked;
use tether_identity::Human as HumanName;
use tether_oauth::{Event, EventKind, Refusal, SET_SECONDS, SecurityEvent, Standard, SubjectId};

/// Where events are pushed to (RFC 8935).
pub const SIGNALS_PATH: &str = "/ssf/events";

/// The `err` of RFC 8935 (2.4) for a refusal; none where the event is not at fault and may be sent again.
pub fn standard_error(refusal: &Refusal) -> Option<&'static str> {
    if matches!(refusal.error, Standard::ServerError | Standard::TemporarilyUnavailable) {
        return None;
    }
    Some(match refusal.code.as_str() {
        "set.iss" | "set.unknown_issuer" => "invalid_issuer",
        "set.aud" => "invalid_audience",
        "set.unknown_key" | "set.signature" | "set.key_kind" => "invalid_key",
        "set.authorization" => "authentication_failed",
        _ => "invalid_request",
    })
}

/// What an event came to.
#[derive(Debug, Default)]
struct Effect {
    humans: BTreeSet<HumanName>,
    /// Subjects that are no human here.
    unknown: Vec<String>,
}

/// How much of an issuer that nobody knows is kept.
const ISSUER_SHOWN: usize = 200;

impl App {
    /// Takes an event that was pushed. One that came before has no effect, and is no error.
    pub fn take_event(&self, body: &[u8], authorization: Option<&str>, peer: &str) -> Result<(), Refusal> {
        let mut issuer = None;
        let done = self.try_event(body, authorization, &mut issuer);
        let revoked = done.map_err(|failed| {
            let about = json!({"peer": peer, "issuer": issuer});
            self.refuse_stranger("signal.refused", Ids::unknown("an event was refused"), failed, about, peer)
        })?;
        self.tell_revoked(&revoked);
        Ok(())
    }

    fn try_event(
        &self,
        body: &[u8],
        authorization: Option<&str>,
        named: &mut Option<String>,
    ) -> Result<Revoked, Failed> {
        let refuse = |code: &str, why: String| Refusal::new(Standard::InvalidRequest, code, why);
        let token = std::str::from_utf8(body).map_err(|_| refuse("set.malformed", "the body is no text".to_owned()))?;
        let token = token.trim();
        let (issuer, kid) = SecurityEvent::claimed(token)?;
        // Whoever sends it chooses it, and it stands in a record.
        let shown: String = issuer.chars().take(ISSUER_SHOWN).collect();
        *named = Some(shown.clone());
        let providers = self.providers();
        let sender = providers.sender(&issuer);
        let sender = sender.ok_or_else(|| refuse("set.unknown_issuer", format!("nobody sends events as {shown:?}")))?;
        // Both sides are hashes, so how long the comparison takes says nothing of the header.
        if sender.authorization.is_some_and(|wanted| authorization.map(hash).as_deref() != Some(wanted)) {
            let why = "the Authorization header is missing or wrong".to_owned();
            return Err(refuse("set.authorization", why).into());
        }
        let keys = sender.keys(kid.as_deref())?;
        let set = SecurityEvent::verify(token, sender.transmitter, &keys, clock::now())?;
        self.act(|act| self.apply_event(act, &sender, &set))
    }

    fn apply_event(&self, act: &mut dyn Act, sender: &Sender<'_>, set: &SecurityEvent) -> Result<Revoked, Failed> {
        let issuer = &sender.transmitter.issuer;
        let until = set.issued_at.saturating_add(SET_SECONDS);
        if !act.spend("set", &format!("{issuer} {}", set.jti), until, clock::now())? {
            let about = json!({"issuer": issuer, "jti": set.jti, "sha256": set.digest});
            self.write(act, &Record::done("signal.repeated", Ids::unknown("it came before"), about))?;
            return Ok(Revoked::default());
        }
        let by = format!("signal:{issuer}");
        let mut all = Revoked::default();
        for event in &set.events {
            let mut effect = Effect::default();
            let mut sessions = 0;
            if revokes(&event.kind) {
                effect = whom(act, sender, event)?;
                for human in &effect.humans {
                    let revoked = self.take_back_human(act, human, false, &by)?;
                    sessions += revoked.sessions.len();
                    people::merge(&mut all, revoked);
                }
            }
            let ids = match effect.humans.first() {
                Some(one) if effect.humans.len() == 1 => {
                    KnownIds { human: Some(one.to_string()), ..KnownIds::default() }
                }
                _ => KnownIds::default(),
            };
            let about = json!({
                "issuer": issuer, "jti": set.jti, "sha256": set.digest, "kind": name(&event.kind),
                "humans": effect.humans, "unknown": effect.unknown, "sessions": sessions,
            });
            self.write(act, &Record::done("signal.taken", ids.or("an event names people only"), about))?;
        }
        Ok(all)
    }
}

/// An account that is disabled or gone cannot sign in at the provider, so it is the sign-ins so far that have to end.
/// Whether somebody is deactivated here is for directories and admins to say, who can say the opposite, too.
fn revokes(kind: &EventKind) -> bool {
    match kind {
        EventKind::SessionRevoked
        | EventKind::CredentialChange
        | EventKind::CredentialCompromise
        | EventKind::AccountDisabled
        | EventKind::AccountPurged => true,
        EventKind::Verification | EventKind::Other(_) => false,
    }
}

fn name(kind: &EventKind) -> &str {
    match kind {
        EventKind::SessionRevoked => "session-revoked",
        EventKind::CredentialChange => "credential-change",
        EventKind::CredentialCompromise => "credential-compromise",
        EventKind::AccountDisabled => "account-disabled",
        EventKind::AccountPurged => "account-purged",
        EventKind::Verification => "verification",
        EventKind::Other(uri) => uri,
    }
}

/// Which humans an event is about: those of the sender's provider, and no others.
fn whom(act: &mut dyn Act, sender: &Sender<'_>, event: &Event) -> Result<Effect, Failed> {
    let mut effect = Effect::default();
    for subject in &event.subjects {
        let found: Vec<HumanName> =
            named(act, sender, subject)?.into_iter().filter(|name| is_own(sender, name)).collect();
        if found.is_empty() {
            let text = match subject {
                SubjectId::IssSub { iss, sub } => format!("{iss} {sub}"),
                SubjectId::Email(email) => email.clone(),
                SubjectId::Other(format) => format.clone(),
            };
            effect.unknown.push(text.chars().take(256).collect());
        }
        effect.humans.extend(found);
    }
    Ok(effect)
}

fn named(act: &mut dyn Act, sender: &Sender<'_>, subject: &SubjectId) -> Result<Vec<HumanName>, Failed> {
    let claim = sender.provider.human_claim.as_str();
    match subject {
        SubjectId::IssSub { iss, sub } if *iss == sender.provider.issuer => {
            // They may never have been seen here: then their sign-ins are void by the provider's own name.
            act.set_void_until(iss, sub, clock::now())?;
            let known = act.humans_of_sub(iss, sub)?.into_iter().map(|human| human.name);
            let by_claim = if claim == "sub" { sub.parse().ok() } else { None };
            Ok(known.chain(by_claim).collect())
        }
        SubjectId::Email(email) if claim == "email" => Ok(email.parse().into_iter().collect()),
        _ => Ok(Vec::new()),
    }
}

fn is_own(sender: &Sender<'_>, name: &HumanName) -> bool {
    let Ok(small) = name.as_str().to_lowercase().parse::<HumanName>() else { return false };
    sender.provider.namespaces.iter().any(|namespace| small.is_in(&namespace.to_lowercase()))
}
