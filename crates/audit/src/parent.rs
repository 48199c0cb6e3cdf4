//! What a record came of.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The cause of a record, by a name that holds in every chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Parent {
    /// A record: `CHAIN#NUMBER`.
    Record {
        /// The host's id, or `central`.
        chain: String,
        /// Its number there.
        number: u64,
    },
    /// A statement of a host's feed: `HOST@NUMBER`. Central's record of what it sent names the same two.
    Statement {
        /// Whose feed.
        host: String,
        /// Its number there.
        number: u64,
    },
}

/// A text that names no cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither CHAIN#NUMBER nor HOST@NUMBER")]
pub struct NoParent(String);

impl Parent {
    /// A record of a chain.
    pub fn record(chain: &str, number: u64) -> Self {
        Self::Record { chain: chain.to_owned(), number }
    }

    /// A statement of a host's feed.
    pub fn statement(host: &str, number: u64) -> Self {
        Self::Statement { host: host.to_owned(), number }
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record { chain, number } => write!(out, "{chain}#{number}"),
            Self::Statement { host, number } => write!(out, "{host}@{number}"),
        }
    }
}

impl FromStr for Parent {
    type Err = NoParent;

    fn from_str(text: &str) -> Result<Self, NoParent> {
        let parsed = text.rfind(['#', '@']).and_then(|at| {
            let (name, rest) = text.split_at_checked(at)?;
            let number: u64 = rest.get(1..)?.parse().ok()?;
            let one = if rest.starts_with('#') { Self::record(name, number) } else { Self::statement(name, number) };
            // One spelling: no sign, no leading zero, and a name.
            (!name.is_empty() && one.to_string() == text).then_some(one)
        });
        parsed.ok_or_else(|| NoParent(text.to_owned()))
    }
}

impl From<Parent> for String {
    fn from(parent: Parent) -> Self {
        parent.to_string()
    }
}

impl TryFrom<String> for Parent {
    type Error = NoParent;

    fn try_from(text: String) -> Result<Self, NoParent> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_each() {
        for text in ["web-01#17", "central#1", "web-01@3"] {
            assert_eq!(text.parse::<Parent>().unwrap().to_string(), text);
        }
        for wrong in ["", "web-01", "#1", "@1", "web-01#", "web-01#+1", "web-01#01", "web-01#x", "web-01@-1"] {
            assert!(wrong.parse::<Parent>().is_err(), "{wrong}");
        }
    }
}
