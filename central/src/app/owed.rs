//! Records that a revocation of very many sessions owes.
//!
//! What is revoked, and what hosts are told of it, is one act; hosts are told when it stands. Each session's own record
//! comes after, in acts of its own: thousands of them would hold back the hosts' word. What is owed is part of the first
//! act, so whenever central dies, the records come, and each once.

use super::revoke::record_of;
use super::{App, Failed, fault};
use crate::store::{Act, Delegation};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use tether_centrallink::wire::Revoked;
use tether_identity::DelegationId;

/// The name under which it is kept.
const META_OWED: &str = "owed_records";
/// How many sessions' records are part of the revocation's own act.
pub(super) const AT_ONCE: usize = 64;
/// How many records one act writes: others wait for the store meanwhile.
const STEP: usize = 256;

/// One revocation's records that are not written yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Debt {
    /// The number of the record that they come of.
    pub(super) parent: u64,
    /// The delegations, each with the statement that its host was told by.
    pub(super) sessions: VecDeque<(DelegationId, Option<u64>)>,
}

fn owed(act: &dyn Act) -> Result<VecDeque<Debt>, Failed> {
    let text = act.meta(META_OWED)?.unwrap_or_else(|| "[]".to_owned());
    serde_json::from_str(&text).map_err(|error| fault("revoke.owed", error).into())
}

fn set_owed(act: &mut dyn Act, debts: &VecDeque<Debt>) -> Result<(), Failed> {
    let text = serde_json::to_string(debts).map_err(|error| fault("revoke.owed", error))?;
    Ok(act.set_meta(META_OWED, &text)?)
}

/// Part of the act of a revocation.
pub(super) fn owe(act: &mut dyn Act, debt: Debt) -> Result<(), Failed> {
    let mut debts = owed(act)?;
    debts.push_back(debt);
    set_owed(act, &debts)
}

impl App {
    /// A revocation stands: its hosts are told, and then what it owes is written.
    pub(super) fn tell_revoked(&self, revoked: &Revoked) {
        revoked.hosts.iter().for_each(|host| self.hub.tell(host));
        if revoked.sessions.len() > AT_ONCE
            && let Err(error) = self.settle()
        {
            // It stays owed, and is tried again every second.
            eprintln!("tether-central: records of a revocation wait to be written: {error}");
        }
    }

    /// Writes what is owed, whoever owes it.
    pub fn settle(&self) -> Result<(), Failed> {
        while self.look(|act| Ok(!owed(act)?.is_empty()))? {
            self.act(|act| self.settle_some(act))?;
        }
        Ok(())
    }

    fn settle_some(&self, act: &mut dyn Act) -> Result<(), Failed> {
        let mut debts = owed(act)?;
        let Some(debt) = debts.front_mut() else { return Ok(()) };
        for (id, statement) in debt.sessions.drain(..debt.sessions.len().min(STEP)) {
            let found: Delegation =
                act.delegation(&id)?.ok_or_else(|| fault("revoke.owed", format_args!("no delegation {id}")))?;
            self.write(act, &record_of(&found, debt.parent, statement))?;
        }
        if debt.sessions.is_empty() {
            debts.pop_front();
        }
        set_owed(act, &debts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Admin;
    use crate::store::Issued;
    use crate::tests::world::World;
    use tether_audit::Parent;
    use tether_centrallink::wire::Target;
    use tether_identity::HostId;

    const ALICE: &str = "alice@example.org";
    const SESSIONS: usize = AT_ONCE + STEP + 3;
    const HOSTS: usize = 7;

    fn host(number: usize) -> HostId {
        format!("web-{:02}", number % HOSTS).parse().unwrap()
    }

    /// A human's sessions on several hosts; one has no grant, so its host knows nothing of it.
    fn with_sessions(count: usize) -> World {
        let world = World::new();
        world.exchange(ALICE, 0).unwrap();
        let one = world.live().remove(0);
        world.write(|act| {
            for number in 1..count {
                let account = format!("ag-{number}").parse().unwrap();
                let issued = Issued { serial: number as u64, account, statement: 1, certificate: None };
                act.put_delegation(&Delegation {
                    id: format!("jti-{number}").parse().unwrap(),
                    session: format!("session{number:09}").parse().unwrap(),
                    host: host(number),
                    issued: Some(issued),
                    ..one.clone()
                })?;
            }
            Ok(())
        });
        world
    }

    fn target() -> Target {
        Target::Human(ALICE.parse().unwrap())
    }

    /// Each session has one record, below the revocation, that names the statement by which its host was told.
    fn check(world: &World, count: usize) {
        let revoked = world.trail("revoked").remove(0);
        let records = world.trail("session.revoked");
        let sessions: std::collections::BTreeSet<String> =
            records.iter().map(|link| format!("{:?}", link.event.ids.session)).collect();
        assert_eq!((records.len(), sessions.len()), (count, count), "each once");
        for link in &records {
            assert_eq!(link.event.parent, Some(Parent::record("central", revoked.number)));
            let statement = link.event.details["statement"].as_u64();
            let granted = format!("{:?}", link.event.ids.session).contains("session0");
            assert_eq!(statement, granted.then_some(1), "{link:?}");
        }
        assert!(world.live().is_empty());
    }

    #[test]
    fn very_many_sessions_have_their_records_when_the_admin_is_answered() {
        for count in [AT_ONCE, AT_ONCE + 1, SESSIONS] {
            let world = with_sessions(count);
            let revoked = world.app.revoke(&Admin { name: "carol".to_owned() }, &target()).unwrap();
            assert_eq!((revoked.sessions.len(), revoked.hosts.len()), (count, HOSTS));
            check(&world, count);
        }
    }

    #[test]
    fn a_central_that_dies_in_between_writes_them_when_it_is_back() {
        let world = with_sessions(SESSIONS);
        let app = &world.app;
        app.act(|act| app.take_back(act, &target(), "carol")).unwrap();
        assert!(world.live().is_empty(), "what is revoked does not wait for the books");
        assert!(world.trail("session.revoked").is_empty());
        app.act(|act| app.settle_some(act)).unwrap();
        assert_eq!(world.trail("session.revoked").len(), STEP, "and it dies once more");
        let (again, _) = crate::command::serve::load(world.folder()).unwrap();
        again.settle().unwrap();
        check(&world, SESSIONS);
        again.settle().unwrap();
        assert_eq!(world.trail("session.revoked").len(), SESSIONS);
    }
}
