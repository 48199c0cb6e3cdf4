//! What a policy allows, for `sudo -l`: lines for people, objects for a model.

use crate::decide::Policy;
use crate::model::{Effect, Grant, Mode, Reads, Rule};
use serde::Serialize;
use std::collections::BTreeMap;

/// A bundle, as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listing<'p> {
    /// The bundle's name.
    pub bundle: &'p str,
    /// Its version.
    pub version: u64,
    /// What it is for.
    pub about: &'p str,
    /// What its commands may read.
    pub read: &'p Reads,
    /// What is allowed.
    pub allowed: Vec<ListedRule<'p>>,
    /// What is denied, whatever is allowed.
    pub denied: Vec<ListedRule<'p>>,
}

/// A rule, as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedRule<'p> {
    /// Its id, as refusals and records name it.
    pub rule: &'p str,
    /// The program, or `/folder/*`.
    pub program: String,
    /// The arguments in words, nothing left out; empty: none.
    pub arguments: String,
    /// More than reading: `proc-links`, `dbus`, `net`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<&'static str>,
    /// TCP destinations.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub net: Vec<String>,
    /// What it may write; empty: nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<&'p str>,
    /// As which account, if it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_as: Option<&'p str>,
    /// Whether it reads what is piped into it, if it writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stdin: Option<bool>,
    /// Where it starts, if not in `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<&'p str>,
    /// Variables that are set.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: &'p BTreeMap<String, String>,
    /// Seconds until it is killed, if not the host's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit_s: Option<u32>,
    /// Bytes of output until it is killed, if not the host's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<u64>,
}

impl Policy {
    /// The lines of `sudo -l`.
    pub fn commands(&self) -> Vec<String> {
        self.bundle().commands()
    }

    /// The same for a model, with everything it must know to type a command that is allowed.
    pub fn commands_json(&self) -> Listing<'_> {
        let bundle = self.bundle();
        let (allowed, denied): (Vec<&Rule>, Vec<&Rule>) =
            bundle.rules.iter().partition(|rule| rule.effect == Effect::Allow);
        Listing {
            bundle: bundle.name.as_str(),
            version: bundle.version,
            about: &bundle.about,
            read: &bundle.read,
            allowed: allowed.into_iter().map(Rule::listed).collect(),
            denied: denied.into_iter().map(Rule::listed).collect(),
        }
    }
}

impl Rule {
    /// As a model reads it.
    pub fn listed(&self) -> ListedRule<'_> {
        let run = &self.run;
        let (run_as, writes, stdin) = match &run.mode {
            Mode::ReadOnly => (None, Vec::new(), None),
            Mode::Write { run_as, paths, stdin } => {
                (Some(run_as.as_str()), paths.iter().map(String::as_str).collect(), Some(*stdin))
            }
        };
        ListedRule {
            rule: &self.id,
            program: self.target.in_words(),
            arguments: self.arguments.in_full(),
            grants: run.grants.iter().map(Grant::name).collect(),
            net: run.grants.iter().flat_map(Grant::destinations).map(ToString::to_string).collect(),
            writes,
            run_as,
            stdin,
            cwd: run.cwd.as_deref(),
            environment: &run.environment,
            time_limit_s: run.time_limit_s,
            output_limit: run.output_limit,
        }
    }
}

impl Grant {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::ProcLinks => "proc-links",
            Self::Dbus => "dbus",
            Self::Net(_) => "net",
        }
    }

    /// Its TCP destinations.
    pub fn destinations(&self) -> &[std::net::SocketAddr] {
        match self {
            Self::Net(destinations) => destinations,
            Self::ProcLinks | Self::Dbus => &[],
        }
    }
}
