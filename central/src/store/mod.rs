//! What central keeps, behind a trait: one act is one transaction, and what an act reported as done is on disk.
//!
//! Records are JSON documents with the few columns by which they are found, so that another database can take
//! SQLite's place. Every store passes the same suite (`store::conformance`).

#[cfg(test)]
mod conformance;
mod recordings;
mod records;
mod sqlite;
mod trail;

pub use recordings::{Aside, OfHost, Recording, Recordings, Use};
pub use records::{
    Agent, BundleText, Delegation, Enrolment, Host, HostKey, Human, Issued, Pair, Provisioned, ScimToken, Seen,
};
pub use sqlite::Sqlite;
pub use trail::{Entry, Found, Hits, HostChain, NewEntry, Place, Search, Trail, Trouble, TroubleKind};

use tether_identity::{DelegationId, HostId, Human as HumanName, Name, SessionId, Thumbprint};
use tether_statement::{Position, UnixTime};

/// The store does not do what it has to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database.
    #[error("the store failed: {0}")]
    Database(String),
    /// A record that cannot be read: another version wrote it, or the disk lost something.
    #[error("a record of {table} cannot be read: {why}")]
    Damaged {
        /// Which table.
        table: &'static str,
        /// Why.
        why: String,
    },
    /// The schema is newer than this program.
    #[error("the store has schema {found}, this version knows {known}: use the newer program")]
    Newer {
        /// The store's.
        found: i64,
        /// The newest known here.
        known: i64,
    },
    /// Another call has panicked while it held the store.
    #[error("the store is unusable since an act of this process died")]
    Poisoned,
}

/// Which delegations to list.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Of this agent.
    pub agent: Option<Name>,
    /// For this human.
    pub human: Option<HumanName>,
    /// On this host.
    pub host: Option<HostId>,
    /// Not over and not revoked at that time.
    pub live_at: Option<UnixTime>,
}

/// A transaction. What it writes stands all at once, or not at all.
pub trait Act: Trail + Recordings {
    /// A value of central's own.
    fn meta(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// Sets it.
    fn set_meta(&mut self, name: &str, value: &str) -> Result<(), StoreError>;

    /// An agent by name.
    fn agent(&self, name: &Name) -> Result<Option<Agent>, StoreError>;
    /// All agents, by name.
    fn agents(&self) -> Result<Vec<Agent>, StoreError>;
    /// Writes an agent.
    fn put_agent(&mut self, agent: &Agent) -> Result<(), StoreError>;

    /// A human by name.
    fn human(&self, name: &HumanName) -> Result<Option<Human>, StoreError>;
    /// All humans ever seen, by name.
    fn humans(&self) -> Result<Vec<Human>, StoreError>;
    /// A human by the record's id.
    fn human_of_id(&self, id: &str) -> Result<Option<Human>, StoreError>;
    /// Humans by the directory's own name for them: it need not be unique among directories.
    fn humans_of_external(&self, external_id: &str) -> Result<Vec<Human>, StoreError>;
    /// Humans whom a provider calls so, or ever did: several, if it has given one another name.
    fn humans_of_sub(&self, issuer: &str, sub: &str) -> Result<Vec<Human>, StoreError>;
    /// Humans with this name in any spelling of its letters, large or small.
    fn humans_alike(&self, name: &HumanName) -> Result<Vec<Human>, StoreError>;
    /// Sign-ins up to that time are void for whomever a provider calls so, seen or not; 0 if none are.
    fn void_until(&self, issuer: &str, sub: &str) -> Result<UnixTime, StoreError>;
    /// Writes it.
    fn set_void_until(&mut self, issuer: &str, sub: &str, time: UnixTime) -> Result<(), StoreError>;
    /// Writes a human.
    fn put_human(&mut self, human: &Human) -> Result<(), StoreError>;

    /// What was said of a pair of agent and human.
    fn pair(&self, agent: &Name, human: &HumanName) -> Result<Option<Pair>, StoreError>;
    /// Writes a pair.
    fn put_pair(&mut self, pair: &Pair) -> Result<(), StoreError>;

    /// A host by id.
    fn host(&self, id: &HostId) -> Result<Option<Host>, StoreError>;
    /// The host whose courier has this key.
    fn host_of_key(&self, key: &Thumbprint) -> Result<Option<Host>, StoreError>;
    /// All hosts, by id.
    fn hosts(&self) -> Result<Vec<Host>, StoreError>;
    /// Writes a host.
    fn put_host(&mut self, host: &Host) -> Result<(), StoreError>;
    /// How far the host has read, and its greatest uid. Kept apart from the host: it is written often.
    fn seen(&self, host: &HostId) -> Result<Seen, StoreError>;
    /// Writes it.
    fn put_seen(&mut self, host: &HostId, seen: &Seen) -> Result<(), StoreError>;

    /// A directory's token by its hash.
    fn scim_token(&self, hash: &str) -> Result<Option<ScimToken>, StoreError>;
    /// All of them, by name.
    fn scim_tokens(&self) -> Result<Vec<ScimToken>, StoreError>;
    /// Writes one.
    fn put_scim_token(&mut self, token: &ScimToken) -> Result<(), StoreError>;

    /// An enrolment by the hash of its token.
    fn enrolment(&self, hash: &str) -> Result<Option<Enrolment>, StoreError>;
    /// Writes one.
    fn put_enrolment(&mut self, enrolment: &Enrolment) -> Result<(), StoreError>;

    /// A delegation.
    fn delegation(&self, id: &DelegationId) -> Result<Option<Delegation>, StoreError>;
    /// The delegation of a session.
    fn delegation_of(&self, session: &SessionId) -> Result<Option<Delegation>, StoreError>;
    /// The delegation whose certificate has a serial.
    fn delegation_of_serial(&self, serial: u64) -> Result<Option<Delegation>, StoreError>;
    /// Delegations, newest first, at most `most`.
    fn delegations(&self, which: &Which, most: usize) -> Result<Vec<Delegation>, StoreError>;
    /// Writes one.
    fn put_delegation(&mut self, delegation: &Delegation) -> Result<(), StoreError>;

    /// Uses something up that may be used once until a time. `false` if it was used before.
    fn spend(&mut self, kind: &str, id: &str, until: UnixTime, now: UnixTime) -> Result<bool, StoreError>;

    /// How far a host's feed goes.
    fn position(&self, host: &HostId) -> Result<Position, StoreError>;
    /// The hash of one statement of it.
    fn hash_at(&self, host: &HostId, number: u64) -> Result<Option<String>, StoreError>;
    /// The statements after a number, at most `most`: number and text.
    fn statements(&self, host: &HostId, after: u64, most: usize) -> Result<Vec<(u64, String)>, StoreError>;
    /// Adds the next statement.
    fn append(&mut self, host: &HostId, position: &Position, text: &str) -> Result<(), StoreError>;

    /// Puts another text in a statement's place: the same words, signed with another key.
    fn replace_statement(&mut self, host: &HostId, number: u64, text: &str) -> Result<(), StoreError>;

    /// The newest bundle of each name.
    fn bundles(&self) -> Result<Vec<BundleText>, StoreError>;
    /// Writes one.
    fn put_bundle(&mut self, bundle: &BundleText) -> Result<(), StoreError>;

    /// Number and hash of the last audit record.
    fn audit_end(&self) -> Result<(u64, String), StoreError>;
    /// Adds a record.
    fn append_audit(&mut self, number: u64, hash: &str, line: &str) -> Result<(), StoreError>;
    /// The records after a number, at most `most`.
    fn audit(&self, after: u64, most: usize) -> Result<Vec<String>, StoreError>;
}

/// Where acts happen. Acts happen one after another.
pub trait Store: Send + Sync {
    /// Does one act. What it wrote stands if, and only if, it returns `Ok` and so does this.
    fn act(&self, work: &mut dyn FnMut(&mut dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Looks, and writes nothing. It sees all acts that were done before it began, and may wait for none that goes on.
    fn look(&self, work: &mut dyn FnMut(&dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError>;

    /// Copies the whole store to a new file while acts go on.
    fn back_up(&self, to: &std::path::Path) -> Result<(), StoreError>;
}

/// Like [`Store::act`], with a value and an error of the caller's. An error undoes the act.
pub fn act<T, E: From<StoreError>>(
    store: &dyn Store,
    mut work: impl FnMut(&mut dyn Act) -> Result<T, E>,
) -> Result<T, E> {
    let mut done: Option<Result<T, E>> = None;
    let acted = store.act(&mut |act| {
        let result = work(act);
        let failed = result.is_err();
        done = Some(result);
        if failed { Err(StoreError::Database("the act was given up".to_owned())) } else { Ok(()) }
    });
    match (done, acted) {
        (Some(Err(error)), _) => Err(error),
        (_, Err(error)) => Err(error.into()),
        (Some(Ok(value)), Ok(())) => Ok(value),
        (None, Ok(())) => Err(StoreError::Database("the act did not run".to_owned()).into()),
    }
}

/// Like [`Store::look`], with a value and an error of the caller's.
pub fn look<T, E: From<StoreError>>(store: &dyn Store, mut work: impl FnMut(&dyn Act) -> Result<T, E>) -> Result<T, E> {
    let mut done = None;
    store.look(&mut |act| {
        done = Some(work(act));
        Ok(())
    })?;
    done.unwrap_or_else(|| Err(StoreError::Database("the look did not run".to_owned()).into()))
}
