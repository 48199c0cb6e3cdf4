//! Delegations and sessions that were used: neither is used twice, across restarts.

use crate::store::{Store, StoreError};
use std::collections::BTreeMap;
use tether_statement::UnixTime;

const FILE: &str = "spent.json";

/// What is used up. A session and a delegation may have the same text and are not the same.
#[derive(Debug, Clone, Copy)]
pub enum Used<'t> {
    /// A session's id.
    Session(&'t str),
    /// A delegation's `jti`.
    Delegation(&'t str),
}

impl std::fmt::Display for Used<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Session(id) => write!(out, "session {id}"),
            Self::Delegation(id) => write!(out, "delegation {id}"),
        }
    }
}

/// What was used, and until when a replay could still look valid.
#[derive(Debug, Default)]
pub struct Spent(BTreeMap<String, UnixTime>);

impl Spent {
    /// From disk.
    pub fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self(store.get(FILE)?.unwrap_or_default()))
    }

    /// Whether it was used.
    pub fn has(&self, id: Used<'_>) -> bool {
        self.0.contains_key(&id.to_string())
    }

    /// Notes a use, on disk before it counts. What expired meanwhile is forgotten.
    pub fn add(&mut self, store: &Store, id: Used<'_>, until: UnixTime, now: UnixTime) -> Result<(), StoreError> {
        let mut next = self.0.clone();
        next.retain(|_, until| *until > now);
        next.insert(id.to_string(), until);
        store.put(FILE, &next)?;
        self.0 = next;
        Ok(())
    }
}
