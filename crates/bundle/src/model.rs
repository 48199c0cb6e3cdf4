//! The compiled form: what is signed and what a host decides by.
//!
//! What is left out of the JSON is empty, none, or the least: a signed bundle of 10,000 rules stays small.
//! `effect`, `target` and `arguments` are always written.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tether_identity::Name;

/// A set of commands under one name, and what they may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    /// The name that grants use.
    pub name: Name,
    /// Grows with each change.
    pub version: u64,
    /// What it is for, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// What its commands may read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub read: Reads,
    /// The rules, in the order they were written.
    pub rules: Vec<Rule>,
}

/// What commands may read: an allow-list, less what no bundle lifts (password hashes, private keys,
/// key stores, our own state).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reads {
    /// Trees, by resolved absolute path. Below /etc, /opt, /usr and /var/lib a file that others cannot read
    /// is not part of a tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trees: Vec<String>,
    /// Files (or whole folders) that are named although others cannot read them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named: Vec<String>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name, for refusals and records.
    pub id: String,
    /// Whether it allows or denies: a denial wins over every allowance.
    pub effect: Effect,
    /// Which programs.
    pub target: Target,
    /// With which arguments.
    pub arguments: Arguments,
    /// How an allowed command runs.
    #[serde(default, skip_serializing_if = "is_default")]
    pub run: Run,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The command may run.
    Allow,
    /// It may not, whatever other rules say.
    Deny,
}

/// Which programs a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// One program, by its resolved path.
    Program {
        /// Its resolved path.
        path: String,
        /// If not empty: SHA-256 of the file, in hex, one of these.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sha256: Vec<String>,
    },
    /// Every program that lies directly in a directory, by its resolved path.
    Directory(String),
    /// Every program: only in a rule that denies.
    Every,
}

/// With which arguments a program may be run.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arguments {
    /// With any.
    Any,
    /// With none.
    None,
    /// One pattern per argument, then perhaps more.
    Each {
        /// One for each argument, in order.
        first: Vec<Pattern>,
        /// What each further argument must be; none: there are no further ones.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rest: Option<Rest>,
    },
}

/// Further arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// What each must be.
    pub pattern: Pattern,
    /// At least so many.
    pub min: u32,
    /// At most so many.
    pub max: u32,
}

/// What one argument must be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// One of these.
    OneOf(Vec<String>),
    /// A decimal integer without sign `+` or leading zeros, in this range, both ends included.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A regular expression that must match the whole argument (linear time; the syntax of the crate
    /// `regex-lite`). An argument longer than [`crate::REGEX_ARGUMENT_MAX`] fits none.
    Regex(String),
    /// A path to something below one of these folders, or one of them itself. The host opens it when it decides,
    /// without following links out of the folder, and the command may read that inode.
    Path {
        /// The folders, by resolved absolute path.
        under: Vec<String>,
        /// What stands before the path in the same argument, for example `--file=`.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        prefix: String,
    },
    /// Any of these patterns, the first that fits.
    AnyOf(Vec<Pattern>),
    /// Anything at all.
    Anything,
}

/// How an allowed command runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Read-only unless it says what may be written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: Mode,
    /// More than the read-only ground.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// Where it starts; `/` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Variables set for it, besides the host's few. Never names that loaders, interpreters or shells obey.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Wall-clock seconds until it is killed; the host's setting if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit_s: Option<u32>,
    /// Bytes of output, both streams together, until it is killed; the host's setting if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_limit: Option<u64>,
}

/// Whether a command may change anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// Nothing: the session's read-only uid, two capabilities.
    #[default]
    ReadOnly,
    /// These paths, as this account.
    Write {
        /// The local account, `root` included.
        run_as: String,
        /// The files and trees that it may write, by resolved absolute path. Files that are to be made
        /// anew need their folder.
        paths: Vec<String>,
        /// Whether it may read what the agent pipes in; otherwise its input is empty.
        #[serde(default, skip_serializing_if = "is_default")]
        stdin: bool,
    },
}

/// What a rule may add to the read-only ground.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Grant {
    /// Names, programs and descriptors of all processes as plain files, for `ss -p`; no memory.
    ProcLinks,
    /// Status queries over D-Bus. The bus's peers, not the kernel, refuse changes: enforced by peer.
    Dbus,
    /// TCP connections to these destinations, `address:port` or `[address]:port`, and nothing else.
    Net(Vec<std::net::SocketAddr>),
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
