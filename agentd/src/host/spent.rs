//! Delegations and sessions that were used: neither is used twice, across restarts and reboots.
//!
//! On disk a file that only grows while agentd runs, one line each; what has expired is left out when it is
//! written anew at the next start.

use crate::store::{Store, StoreError, at};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use tether_statement::UnixTime;

const FILE: &str = "spent.jsonl";

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

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    used: String,
    until: UnixTime,
}

/// What was used, and until when a replay could still look valid.
#[derive(Debug)]
pub struct Spent {
    known: BTreeMap<String, UnixTime>,
    file: File,
}

impl Spent {
    /// From disk. `floor` is a time that is surely past.
    pub fn load(store: &Store, floor: UnixTime) -> Result<Self, StoreError> {
        let path = store.path(FILE);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            other => other.map_err(|error| at(&path, error))?,
        };
        let mut known = BTreeMap::new();
        // A last line without its end was not yet promised to anybody.
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let line: Line = serde_json::from_str(line).map_err(|error| at(&path, io::Error::other(error)))?;
            known.insert(line.used, line.until);
        }
        known.retain(|_, until| *until > floor);
        let lines: Vec<String> = known.iter().map(|(used, until)| line(used, *until)).collect();
        crate::store::replace(&path, lines.concat().as_bytes()).map_err(|error| at(&path, error))?;
        let file = File::options().append(true).open(&path).map_err(|error| at(&path, error))?;
        Ok(Self { known, file })
    }

    /// Whether it was used.
    pub fn has(&self, id: Used<'_>) -> bool {
        self.known.contains_key(&id.to_string())
    }

    /// Notes a use, on stable storage before it counts.
    pub fn add(&mut self, id: Used<'_>, until: UnixTime) -> io::Result<()> {
        let used = id.to_string();
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(line(&used, until).as_bytes()).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(length)?;
        }
        written?;
        self.known.insert(used, until);
        Ok(())
    }
}

fn line(used: &str, until: UnixTime) -> String {
    let line = Line { used: used.to_owned(), until };
    serde_json::to_string(&line).map(|text| text + "\n").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_is_known_after_a_restart_until_it_expires() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let mut spent = Spent::load(&store, 0).unwrap();
        spent.add(Used::Delegation("a"), 100).unwrap();
        spent.add(Used::Session("b"), 200).unwrap();
        assert!(spent.has(Used::Delegation("a")) && !spent.has(Used::Session("a")));
        std::fs::File::options().append(true).open(store.path(FILE)).unwrap().write_all(b"{\"used\":\"ses").unwrap();
        let spent = Spent::load(&store, 150).unwrap();
        assert!(!spent.has(Used::Delegation("a")) && spent.has(Used::Session("b")));
        let spent = Spent::load(&store, 150).unwrap();
        assert!(spent.has(Used::Session("b")));
    }
}
