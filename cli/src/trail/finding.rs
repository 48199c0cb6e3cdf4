//! What is wrong with a chain: named, with its place.

use super::files::Place;
use crate::render::printable;
use serde::Serialize;
use serde_json::{Value, json};

/// What was done to it. The names are stable; docs/audit.md has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A line is no line of a chain.
    Malformed,
    /// A record or head says something else than what was hashed or signed.
    Changed,
    /// Lines are missing within.
    Dropped,
    /// Lines stand in another order.
    Reordered,
    /// A line stands twice.
    Doubled,
    /// Something is missing at the end.
    Cut,
    /// Another history than what was signed or kept elsewhere.
    Forked,
    /// A head that the key whose turn it was has not signed.
    HeadKey,
    /// Time runs back, or ahead of central's.
    Clock,
    /// A whole segment is missing, or has another name.
    Segment,
    /// A countersignature that central has not made.
    Countersignature,
    /// A record of another chain.
    OtherChain,
    /// The log does not hold, or does not have it.
    Log,
    /// A recording is not what is on record of it.
    Recording,
}

impl What {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Changed => "changed",
            Self::Dropped => "dropped",
            Self::Reordered => "reordered",
            Self::Doubled => "doubled",
            Self::Cut => "cut",
            Self::Forked => "forked",
            Self::HeadKey => "head_key",
            Self::Clock => "clock",
            Self::Segment => "segment",
            Self::Countersignature => "countersignature",
            Self::OtherChain => "other_chain",
            Self::Log => "log",
            Self::Recording => "recording",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: What,
    /// In which chain.
    pub chain: String,
    /// At which record, if it is one's.
    pub number: Option<u64>,
    /// Where, if it is in a file.
    pub place: Option<Place>,
    /// In words.
    pub why: String,
}

impl Finding {
    /// As `--json` has it.
    pub fn json(&self) -> Value {
        let place = self.place.as_ref();
        json!({
            "what": self.what.as_str(), "chain": self.chain, "number": self.number, "why": self.why,
            "file": place.map(|place| place.file.display().to_string()), "line": place.map(|place| place.line),
        })
    }

    /// For a person, in up to three lines.
    pub fn words(&self) -> String {
        let number = self.number.map(|number| format!(" record {number}")).unwrap_or_default();
        let file = |at: &Place| printable(&at.file.display().to_string());
        let place = self.place.as_ref().map(|at| format!("\n  {}, line {}", file(at), at.line));
        let head = format!("{}{number}: {}", printable(&self.chain), self.what.as_str().to_uppercase());
        format!("{head}{}\n  {}", place.unwrap_or_default(), printable(&self.why))
    }
}
