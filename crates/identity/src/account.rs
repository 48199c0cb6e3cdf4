//! Local account names. One session has two: `ag-…` logs in, `ag-…-ro` runs confined commands.

use crate::text::{Malformed, text_type};
use std::str::FromStr;

/// Longest login name that utmp, useradd and sshd agree on (`UT_NAMESIZE`, utmp(5)).
pub const LOGIN_NAME_MAX: usize = 32;

/// Ends the name of the account that runs confined commands. It may never log in.
pub const READ_ONLY_SUFFIX: &str = "-ro";

const WHAT: &str = "account name";

/// The start that all names of agents' accounts have on a host; a setting, `ag-` unless changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(String);
text_type!(Prefix);

impl Default for Prefix {
    fn default() -> Self {
        Self("ag-".to_owned())
    }
}

impl FromStr for Prefix {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fail = |why| Err(Malformed::new("account prefix", text, why));
        let Some(stem) = text.strip_suffix('-') else {
            return fail("it must end in '-'");
        };
        if !(2..=8).contains(&stem.len()) {
            return fail("it must have 2 to 8 characters before the '-'");
        }
        if !stem.bytes().all(|b| b.is_ascii_lowercase()) {
            return fail("only a-z may stand before the '-'");
        }
        Ok(Self(text.to_owned()))
    }
}

impl Prefix {
    /// Whether a login name belongs to an agent (or pretends to): all names under the prefix are ours.
    pub fn covers(&self, login_name: &str) -> bool {
        login_name.starts_with(&self.0)
    }
}

/// The name of an account that an agent logs in with: a prefix, then `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(String);
text_type!(AccountName);

impl FromStr for AccountName {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        let fail = |why| Err(Malformed::new(WHAT, text, why));
        if text.len() > LOGIN_NAME_MAX - READ_ONLY_SUFFIX.len() {
            return fail("it has more than 29 characters");
        }
        let Some((stem, rest)) = text.split_once('-') else {
            return fail("it has no prefix such as 'ag-'");
        };
        if format!("{stem}-").parse::<Prefix>().is_err() {
            return fail("its prefix is malformed");
        }
        if rest.is_empty() || rest.starts_with('-') || rest.ends_with('-') {
            return fail("a letter or digit must follow the prefix and end the name");
        }
        if !rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            return fail("only a-z, 0-9 and '-' may stand in it");
        }
        if text.ends_with(READ_ONLY_SUFFIX) {
            return fail("names that end in '-ro' are for confined commands and never log in");
        }
        Ok(Self(text.to_owned()))
    }
}

impl AccountName {
    /// The name of the account that runs this session's confined commands.
    pub fn read_only(&self) -> String {
        format!("{}{READ_ONLY_SUFFIX}", self.0)
    }

    /// Whether the name starts with this host's prefix.
    pub fn has_prefix(&self, prefix: &Prefix) -> bool {
        prefix.covers(&self.0)
    }
}

/// The two uids of a session, next to one another: `login` and `login + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AccountPair {
    /// Uid and gid of the account that logs in.
    pub login: u32,
    /// Uid and gid of the account that runs confined commands.
    pub read_only: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_agents_may_have() {
        for good in ["ag-a", "ag-triage-7f3k", "bot-0", &format!("ag-{}", "x".repeat(26))] {
            assert!(good.parse::<AccountName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn names_that_are_refused() {
        let long = format!("ag-{}", "x".repeat(27));
        for bad in [
            "",
            "root",
            "ag-",
            "ag--a",
            "ag-a-",
            "ag-A",
            "ag-a.b",
            "ag-a/../b",
            "a-b",
            "ag-x-ro",
            "ag-é",
            "ag-a\n",
            &long,
        ] {
            assert!(bad.parse::<AccountName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_prefix_covers_read_only_names_too() {
        assert!(Prefix::default().covers("ag-x-ro"));
        assert!(!Prefix::default().covers("agnes"));
    }
}
