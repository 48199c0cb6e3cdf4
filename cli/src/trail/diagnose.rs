//! A line did not hold: what was done? The files are read once more, each line on its own.

use super::files::{Files, Lines, Place};
use super::finding::What;
use anyhow::Result;
use serde_json::Value;
use std::collections::HashMap;
use tether_audit::{ChainError, Line, Reached, SignedHead, Verifier};

/// The line that did not hold, and how far the chain had come.
pub struct Broken<'b> {
    /// Where it stands.
    pub place: &'b Place,
    /// It.
    pub text: &'b str,
    /// Why it does not hold.
    pub error: &'b ChainError,
    /// How far the chain had come.
    pub reached: &'b Reached,
    /// Digests of the heads so far, with number and time.
    pub heads: &'b HashMap<String, (u64, u64)>,
}

type Diagnosis = (What, Option<u64>, String);

/// What was done to it.
pub fn diagnose(files: &Files, broken: &Broken<'_>) -> Result<Diagnosis> {
    match broken.error {
        ChainError::Malformed { why, .. } => {
            Ok((What::Malformed, Some(broken.next()), format!("it is no line of a chain: {why}")))
        }
        ChainError::NotCanonical(why) => Ok((What::Malformed, Some(broken.next()), why.to_string())),
        ChainError::Changed(_) => Ok(broken.changed()),
        ChainError::Broken(_) => broken.record(files),
        ChainError::HeadBroken(_) => Ok(broken.head()),
        ChainError::HeadKey(_) => Ok(broken.key()),
    }
}

impl Broken<'_> {
    fn next(&self) -> u64 {
        self.reached.number + 1
    }

    fn value(&self) -> Value {
        serde_json::from_str(self.text).unwrap_or_default()
    }

    fn changed(&self) -> Diagnosis {
        let value = self.value();
        let number = value["record"]["number"].as_u64().or_else(|| value["head"]["number"].as_u64());
        let why = if value["record"].is_object() {
            "what it says has another hash than it carries"
        } else {
            "it is not spelled as it was signed"
        };
        (What::Changed, number, why.to_owned())
    }

    /// The record is one, and does not follow.
    fn record(&self, files: &Files) -> Result<Diagnosis> {
        let (found, next) = (self.value()["record"]["number"].as_u64().unwrap_or_default(), self.next());
        if found == next {
            let before = self.reached.number;
            let why = format!("record {before} was replaced: record {found}, which follows it, names another hash");
            return Ok((What::Changed, Some(before), why));
        }
        if found > next {
            return Ok(match self.elsewhere(files, next)? {
                Some((at, _)) => {
                    let why =
                        format!("it stands before record {next}, which is in {}, line {}", at.file.display(), at.line);
                    (What::Reordered, Some(found), why)
                }
                None if found == next + 1 => {
                    (What::Dropped, Some(next), format!("record {next} is missing: this is {found}"))
                }
                None => {
                    (What::Dropped, Some(next), format!("records {next} to {} are missing: this is {found}", found - 1))
                }
            });
        }
        Ok(match self.elsewhere(files, found)? {
            Some((at, same)) if same => {
                (What::Doubled, Some(found), format!("it stands in {}, line {}, already", at.file.display(), at.line))
            }
            Some((at, _)) => {
                let why = format!("another record {found} stands in {}, line {}", at.file.display(), at.line);
                (What::Forked, Some(found), why)
            }
            None => (What::Reordered, Some(found), format!("here record {next} comes next")),
        })
    }

    /// A record of this number in another line, and whether it is the very same.
    fn elsewhere(&self, files: &Files, number: u64) -> Result<Option<(Place, bool)>> {
        let wanted = format!("\"number\":{number},");
        for segment in &files.segments {
            let mut lines = Lines::open(&segment.path)?;
            while let Some((at, text)) = lines.next()? {
                let Ok(text) = text else { continue };
                if at == *self.place || !text.contains(&wanted) || !is_sound(text, number) {
                    continue;
                }
                return Ok(Some((at, text == self.text)));
            }
        }
        Ok(None)
    }

    fn head(&self) -> Diagnosis {
        let Ok(line) = serde_json::from_str::<SignedHead>(self.text) else { return self.changed() };
        let (head, at) = (&line.head, self.reached.number);
        let known = head.digest().is_ok_and(|digest| self.heads.contains_key(&digest));
        let number = Some(head.number);
        if known {
            return (What::Doubled, number, "this head stood before".to_owned());
        }
        if head.number > at {
            return (
                What::Dropped,
                Some(at + 1),
                format!("a head signs up to record {}, and records after {at} are missing", head.number),
            );
        }
        if head.number < at {
            return (What::Reordered, number, format!("a head for record {} stands after record {at}", head.number));
        }
        if head.hash != self.reached.hash {
            return (What::Changed, number, "it is not the record that its head has signed".to_owned());
        }
        if self.heads.contains_key(&head.previous) {
            return (What::Forked, number, "two heads follow the same one".to_owned());
        }
        (What::Dropped, number, "the head before this one is missing".to_owned())
    }

    fn key(&self) -> Diagnosis {
        let Ok(line) = serde_json::from_str::<SignedHead>(self.text) else { return self.changed() };
        let (head, number) = (&line.head, Some(line.head.number));
        let why = match &self.reached.key {
            Some((turn, _)) if *turn != head.key => {
                format!("a head by key {}, when it was the turn of key {turn}", head.key)
            }
            Some((turn, key)) if *key != head.public => {
                format!("a head by another key {turn} than the head before, or the start, has named")
            }
            _ => format!("a head that its key {} has not signed", head.key),
        };
        (What::HeadKey, number, why)
    }
}

/// Whether a line on its own is a record of this number.
fn is_sound(text: &str, number: u64) -> bool {
    let Ok(value) = serde_json::from_str::<Value>(text) else { return false };
    let record = &value["record"];
    let hash = record["previous"].as_str().unwrap_or_default().to_owned();
    let from = Reached { number: number.saturating_sub(1), hash, ..Reached::default() };
    matches!(Verifier::from(from).take(text), Ok(Line::Record { .. }))
}
