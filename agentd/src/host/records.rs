//! Records: who they are about, what they came of, and who waits for them.

use super::Host;
use crate::log::{LogError, Ticket, warn};
use crate::session::Session;
use serde_json::{Map, Value};
use tether_audit::{Event, Ids, Known, Outcome, Parent};
use tether_identity::SessionId;
use tether_statement::Grant;

/// Who a record about a session is about.
pub fn ids_of(session: &Session) -> Ids {
    ids_of_grant(&session.grant)
}

/// Who a record about a grant is about.
pub fn ids_of_grant(grant: &Grant) -> Ids {
    let id = |text: &dyn std::fmt::Display| Known::Id(text.to_string());
    Ids {
        human: id(&grant.principal.human),
        agent: id(&grant.principal.agent),
        instance: id(&grant.instance),
        delegation: id(&grant.delegation),
        session: id(&grant.session),
    }
}

/// Details of a record from JSON; anything but an object has none.
pub fn details(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

impl Host {
    /// Records that something happened, and waits until the record is on disk; its number.
    pub fn record_done(&mut self, event: &str, ids: Ids, about: Value) -> Result<u64, LogError> {
        let parent = self.parent_of(event, &ids);
        self.record_under(event, parent, ids, about)
    }

    /// Gives it its place in the chain. Who does not hold the lock waits for it.
    pub fn record_soon(&mut self, event: &str, ids: Ids, about: Value) -> Result<Ticket, LogError> {
        let parent = self.parent_of(event, &ids);
        self.begin_record(event, parent, ids, about)
    }

    /// The same as [`Self::record_done`] of a known cause; its number.
    pub fn record_under(
        &mut self,
        event: &str,
        parent: Option<Parent>,
        ids: Ids,
        about: Value,
    ) -> Result<u64, LogError> {
        let ticket = self.begin_record(event, parent, ids, about)?;
        ticket.wait()?;
        Ok(ticket.number())
    }

    /// Gives what happened its place in the chain. Who does not hold the lock waits for it.
    pub fn begin_record(
        &mut self,
        event: &str,
        parent: Option<Parent>,
        ids: Ids,
        about: Value,
    ) -> Result<Ticket, LogError> {
        self.count_record(&ids);
        self.log.append(&made(event, Outcome::Allowed, "", ids, parent, about))
    }

    /// Records a refusal. That it is refused does not hang on its record.
    pub fn record_refused(&mut self, event: &str, code: &str, ids: Ids, about: Value) {
        let parent = self.parent_of(event, &ids);
        self.record_best(event, (Outcome::Refused, code), parent, ids, about);
    }

    /// Records something that a person should look at.
    pub fn record_error(&mut self, event: &str, code: &str, ids: Ids, about: Value) {
        let parent = self.parent_of(event, &ids);
        self.record_error_under(event, code, parent, ids, about);
    }

    /// The same of a known cause.
    pub fn record_error_under(&mut self, event: &str, code: &str, parent: Option<Parent>, ids: Ids, about: Value) {
        warn(format_args!("{event} [{code}]: {about}"));
        self.record_best(event, (Outcome::Error, code), parent, ids, about);
    }

    /// Records it if it can be recorded. Whoever is answered waits for it, without the lock.
    pub fn record_best(
        &mut self,
        event: &str,
        (outcome, code): (Outcome, &str),
        parent: Option<Parent>,
        ids: Ids,
        about: Value,
    ) {
        self.count_record(&ids);
        match self.log.append_best(&made(event, outcome, code, ids, parent, about)) {
            Ok(ticket) => self.unwaited = Some(ticket),
            Err(error) => warn(format_args!("{event} [{code}] could not be recorded: {error}")),
        }
    }

    /// A record of this host's chain.
    pub fn record_number(&self, number: u64) -> Parent {
        Parent::record(self.config.host.host.as_str(), number)
    }

    /// A statement of this host's feed.
    pub fn statement_number(&self, number: u64) -> Parent {
        Parent::statement(self.config.host.host.as_str(), number)
    }

    /// What an event of a session came of, where nothing nearer is known.
    fn parent_of(&self, event: &str, ids: &Ids) -> Option<Parent> {
        let session = ids.session.id()?.parse().ok().and_then(|id: SessionId| self.sessions.get(&id))?;
        let causes = &session.causes;
        let record = |number: Option<u64>| number.map(|number| self.record_number(number));
        let reserved = || record(causes.reserved);
        match event {
            "session.reserved" => causes.granted.map(|number| self.statement_number(number)),
            "session.ending" => causes.revoked.map(|number| self.statement_number(number)).or_else(reserved),
            "session.removed" | "session.stuck" | "account.stuck" => record(causes.ending).or_else(reserved),
            _ if event.starts_with("login.") => reserved(),
            _ => match session.monitors() {
                [only] => record(only.record).or_else(reserved),
                _ => reserved(),
            },
        }
    }

    fn count_record(&mut self, ids: &Ids) {
        let Some(id) = ids.session.id().and_then(|id| id.parse::<SessionId>().ok()) else { return };
        if self.sessions.contains_key(&id) {
            *self.counted.entry(id).or_default() += 1;
        }
    }

    /// Whether a session has caused as many records as one may.
    pub fn has_too_many_records(&self, id: &SessionId) -> bool {
        self.counted.get(id).is_some_and(|count| *count >= self.config.host.audit.session_records)
    }
}

fn made(event: &str, outcome: Outcome, code: &str, ids: Ids, parent: Option<Parent>, about: Value) -> Event {
    let (event, code) = (event.to_owned(), code.to_owned());
    Event { event, outcome, code, ids, parent, details: details(about) }
}
