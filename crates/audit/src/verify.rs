//! Reading a chain line by line: at agentd's start, at central when it comes in, and from files alone.

use crate::chain::{ChainError, Link, body_of, hash};
use crate::head::{Head, HeadKey, SignedHead};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far a chain was read, and what must come next. It is also what a reader has to begin with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Number of the last record; 0 at the beginning.
    pub number: u64,
    /// Its hash; empty at the beginning.
    pub hash: String,
    /// Number of the last record that a signed head covers.
    pub signed: u64,
    /// The key that the next head must be signed with: its number and public half. None where no key was committed to:
    /// then the first head is believed about its own.
    pub key: Option<(u64, HeadKey)>,
    /// Digest of the last head; empty if there was none.
    pub head: String,
    /// Time of the last head, microseconds since 1970; 0 if there was none.
    pub head_time_us: u64,
}

/// One line that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A record.
    Record {
        /// Its hash.
        hash: String,
        /// What it says.
        link: Box<Link>,
    },
    /// A signed head.
    Head(Box<SignedHead>),
    /// Central's countersignature of an earlier head: a compact JWS, to be verified by who has central's keys.
    Countersigned(String),
}

/// Reads a chain and stops at the first line that does not hold.
#[derive(Debug, Clone)]
pub struct Verifier {
    reached: Reached,
    lines: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine {
    hash: String,
    record: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountersignedLine {
    countersigned: String,
}

impl Verifier {
    /// A reader that continues from there.
    pub fn from(reached: Reached) -> Self {
        Self { reached, lines: 0 }
    }

    /// How far it has come.
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Takes the next line. After an error it must not be asked again: what follows is not trusted.
    pub fn take(&mut self, text: &str) -> Result<Line, ChainError> {
        self.lines += 1;
        if text.starts_with("{\"hash\"") {
            self.take_record(text)
        } else if text.starts_with("{\"head\"") {
            self.take_head(text)
        } else {
            self.take_countersigned(text)
        }
    }

    fn malformed(&self, why: impl ToString) -> ChainError {
        ChainError::Malformed { line: self.lines, why: why.to_string() }
    }

    fn take_record(&mut self, text: &str) -> Result<Line, ChainError> {
        let line: RecordLine = serde_json::from_str(text).map_err(|error| self.malformed(error))?;
        let body = crate::canonical(&line.record)?;
        if hash(&body) != line.hash || text != format!("{{\"hash\":\"{}\",\"record\":{body}}}", line.hash) {
            return Err(ChainError::Changed(self.lines));
        }
        let link: Link = serde_json::from_value(line.record).map_err(|error| self.malformed(error))?;
        if body_of(&link)? != body {
            return Err(self.malformed("it holds something that no record has"));
        }
        if link.number != self.reached.number + 1 || link.previous != self.reached.hash {
            return Err(ChainError::Broken(self.lines));
        }
        self.reached.number = link.number;
        self.reached.hash.clone_from(&line.hash);
        Ok(Line::Record { hash: line.hash, link: Box::new(link) })
    }

    fn take_head(&mut self, text: &str) -> Result<Line, ChainError> {
        let line: SignedHead = serde_json::from_str(text).map_err(|error| self.malformed(error))?;
        if line.line()? != text {
            return Err(ChainError::Changed(self.lines));
        }
        let Head { number, key, public, previous, .. } = &line.head;
        if *number != self.reached.number || line.head.hash != self.reached.hash || *previous != self.reached.head {
            return Err(ChainError::HeadBroken(self.lines));
        }
        let is_expected = self.reached.key.as_ref().is_none_or(|(index, wanted)| index == key && wanted == public);
        if !is_expected || !line.is_signed() {
            return Err(ChainError::HeadKey(self.lines));
        }
        self.reached.signed = *number;
        self.reached.key = Some((key + 1, line.head.next.clone()));
        self.reached.head = line.head.digest()?;
        self.reached.head_time_us = line.head.time_us;
        Ok(Line::Head(Box::new(line)))
    }

    fn take_countersigned(&self, text: &str) -> Result<Line, ChainError> {
        let line: CountersignedLine = serde_json::from_str(text).map_err(|error| self.malformed(error))?;
        if countersigned_line(&line.countersigned) != text {
            return Err(ChainError::Changed(self.lines));
        }
        Ok(Line::Countersigned(line.countersigned))
    }
}

/// The line that holds a countersignature, without a newline.
pub fn countersigned_line(jws: &str) -> String {
    format!("{{\"countersigned\":{}}}", Value::String(jws.to_owned()))
}
