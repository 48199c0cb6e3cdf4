//! Delegations and sessions that were used: neither is used twice, across restarts.

use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use tether_statement::UnixTime;

const FILE: &str = "spent.json";

/// What was used, and until when a replay could still look valid.
#[derive(Debug, Default)]
pub struct Spent(BTreeMap<String, UnixTime>);

impl Spent {
    /// From disk.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.get(FILE)?.unwrap_or_default()))
    }

    /// Whether it was used.
    pub fn has(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Notes a use, on disk before it counts. What expired meanwhile is forgotten.
    pub fn add(&mut self, store: &Store, ids: &[&str], until: UnixTime, now: UnixTime) -> Result<(), StoreError> {
        let mut next = self.0.clone();
        next.retain(|_, until| *until > now);
        next.extend(ids.iter().map(|id| ((*id).to_owned(), until)));
        store.put(FILE, &next)?;
        self.0 = next;
        Ok(())
    }
}
