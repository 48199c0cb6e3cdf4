//! One event.

use crate::parent::Parent;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// An id in a record, or why it is not known yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Known {
    /// The id.
    Id(String),
    /// Not known, and why.
    Unknown {
        /// Always null: a reader that looks for an id finds that there is none.
        id: (),
        /// Why.
        why: String,
    },
}

impl Known {
    /// An id that is not known, and why.
    pub fn unknown(why: &str) -> Self {
        Self::Unknown { id: (), why: why.to_owned() }
    }

    /// The id if it is known.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Id(id) => Some(id),
            Self::Unknown { .. } => None,
        }
    }
}

/// The five ids that stand in every record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// The human.
    pub human: Known,
    /// The agent.
    pub agent: Known,
    /// Which running instance of the agent.
    pub instance: Known,
    /// `jti` of the delegation.
    pub delegation: Known,
    /// The session.
    pub session: Known,
}

impl Ids {
    /// None of the five is known, for one reason.
    pub fn unknown(why: &str) -> Self {
        let unknown = || Known::unknown(why);
        Self { human: unknown(), agent: unknown(), instance: unknown(), delegation: unknown(), session: unknown() }
    }
}

/// How an event came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was allowed, or it happened.
    Allowed,
    /// It was refused.
    Refused,
    /// Something went wrong; a person should look.
    Error,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// What, for example `sudo.command`.
    pub event: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The stable code of a refusal or error; empty if allowed.
    pub code: String,
    /// Who.
    pub ids: Ids,
    /// What it came of: with it one session is one tree. None at a root, and where the cause is no record.
    pub parent: Option<Parent>,
    /// What belongs to this event. Integers and texts only; raw bytes as [`crate::bytes`] writes them.
    pub details: Map<String, Value>,
}
