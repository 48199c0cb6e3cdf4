//! The compiled form: what is signed and what a host decides by.

use serde::{Deserialize, Serialize};
use tether_identity::Name;

/// The most rules that a bundle may have.
pub const RULES_MAX: usize = 10_000;

/// A set of commands under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The name that grants use.
    pub name: Name,
    /// Grows with each change.
    pub version: u64,
    /// What it is for, for people.
    pub about: String,
    /// The rules, in the order they were written.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for refusals and records.
    pub id: String,
    /// Which programs.
    pub target: Target,
    /// With which arguments.
    pub arguments: Arguments,
}

/// Which programs a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// One program, by its resolved path.
    Program(String),
    /// Every program that lies directly in a directory, by its resolved path.
    Directory(String),
}

/// With which arguments a program may be run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arguments {
    /// With any.
    Any,
    /// With none.
    None,
    /// With exactly these.
    Exact(Vec<String>),
}

/// Why a bundle is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The text is not TOML of the right shape.
    #[error("the bundle is not TOML of the expected form: {0}")]
    Form(String),
    /// A rule breaks a rule for rules.
    #[error("rule {rule:?}: {why}")]
    Rule {
        /// Its id.
        rule: String,
        /// What is wrong and what to write instead.
        why: String,
    },
    /// There are too many rules.
    #[error("it has {0} rules, the most is {RULES_MAX}")]
    TooMany(usize),
}

impl Bundle {
    /// Checks a bundle, wherever it came from.
    pub fn check(self) -> Result<Self, BundleError> {
        if self.rules.len() > RULES_MAX {
            return Err(BundleError::TooMany(self.rules.len()));
        }
        let mut ids = std::collections::BTreeSet::new();
        for rule in &self.rules {
            rule.check()?;
            if !ids.insert(&rule.id) {
                return Err(rule.wrong("another rule has the same id"));
            }
        }
        Ok(self)
    }
}

impl Rule {
    fn check(&self) -> Result<(), BundleError> {
        let printable = |text: &str| !text.chars().any(char::is_control);
        if self.id.is_empty() || self.id.len() > 64 || !printable(&self.id) {
            return Err(self.wrong("its id must have 1 to 64 printable characters"));
        }
        let (Target::Program(path) | Target::Directory(path)) = &self.target;
        if !is_plain_absolute(path) || !printable(path) {
            return Err(self.wrong("its path must be absolute, without '.', '..', '//' or a '/' at the end"));
        }
        if let Arguments::Exact(arguments) = &self.arguments
            && arguments.is_empty()
        {
            return Err(self.wrong("an empty list of arguments is written \"none\""));
        }
        Ok(())
    }

    fn wrong(&self, why: &str) -> BundleError {
        BundleError::Rule { rule: self.id.clone(), why: why.to_owned() }
    }
}

pub(crate) fn is_plain_absolute(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}
