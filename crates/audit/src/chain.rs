//! The chain: number, time, hash of the one before, hash of this.

use crate::canonical::{NotCanonical, canonical, spell};
use crate::prepared::Prepared;
use crate::record::Event;
use crate::verify::{Line, Reached, Verifier};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Separates these hashes from all others over the same bytes.
const DOMAIN: &[u8] = b"tether audit record v1\0";

/// One line of the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// From 1, without gaps.
    pub number: u64,
    /// When it was written: microseconds since 1970 by the host's clock.
    pub time_us: u64,
    /// The host's id.
    pub host: String,
    /// The kernel's boot id.
    pub boot: String,
    /// Hash of the link before; empty for the first.
    pub previous: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Makes links one after another.
#[derive(Debug, Clone)]
pub struct Chain {
    /// As they are spelled in each line.
    host: String,
    boot: String,
    number: u64,
    previous: String,
}

/// Why a chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A line is not a link.
    #[error("line {line} is not a record: {why}")]
    Malformed {
        /// Which line, from 1.
        line: u64,
        /// Why.
        why: String,
    },
    /// A line was changed.
    #[error("line {0} was changed: its hash is not that of its content")]
    Changed(u64),
    /// A line does not follow the one before it.
    #[error("line {0} does not follow the one before it: a record was removed, put in or moved")]
    Broken(u64),
    /// A head that does not belong here.
    #[error(
        "line {0}: a signed head that names another record or follows another head: the chain was cut or put together"
    )]
    HeadBroken(u64),
    /// A head that the key whose turn it was has not signed.
    #[error("line {0}: a head that is not signed with the key whose turn it was")]
    HeadKey(u64),
    /// A value that a record cannot hold.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonical),
}

/// A chain that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// How many records.
    pub records: u64,
    /// Hash of the last.
    pub head: String,
}

impl Chain {
    /// A chain that continues after `records` with the hash `head`.
    pub fn after(host: &str, boot: &str, verified: Verified) -> Self {
        Self { host: spell(host), boot: spell(boot), number: verified.records, previous: verified.head }
    }

    /// The next line, without a newline. Call [`Chain::commit`] with it once it is on disk.
    pub fn next(&self, event: Event, time_us: u64) -> Result<Next, ChainError> {
        Ok(self.link(&Prepared::new(&event)?, time_us))
    }

    /// The same of an event that was spelled before: what is left to do is short, for who holds a lock meanwhile.
    pub fn link(&self, event: &Prepared, time_us: u64) -> Next {
        // The members in the order of RFC 8785. `a_line_is_spelled_as_its_record_is` holds this to the other way.
        let body = format!(
            "{{\"boot\":{},{},\"host\":{},{},\"number\":{},{},\"previous\":\"{}\",\"time_us\":{}}}",
            self.boot,
            event.before_host,
            self.host,
            event.ids,
            self.number + 1,
            event.before_previous,
            self.previous,
            time_us
        );
        let hash = hash(&body);
        Next { line: format!("{{\"hash\":\"{hash}\",\"record\":{body}}}"), hash }
    }

    /// The line stands: the one after follows it.
    pub fn commit(&mut self, next: &Next) {
        self.number += 1;
        self.previous.clone_from(&next.hash);
    }

    /// Number of the last link.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its hash; empty if there is none.
    pub fn head(&self) -> &str {
        &self.previous
    }
}

/// A line that waits to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The line.
    pub line: String,
    hash: String,
}

impl Next {
    /// Its hash, which the line after it carries.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

/// Checks a whole chain, from its first line. `each` sees every link that holds.
pub fn verify<'t>(lines: impl Iterator<Item = &'t str>, mut each: impl FnMut(&Link)) -> Result<Verified, ChainError> {
    let mut verifier = Verifier::from(Reached::default());
    for text in lines {
        if let Line::Record { link, .. } = verifier.take(text)? {
            each(&link);
        }
    }
    let reached = verifier.reached();
    Ok(Verified { records: reached.number, head: reached.hash.clone() })
}

pub(crate) fn body_of(link: &Link) -> Result<String, ChainError> {
    let malformed = |error: serde_json::Error| ChainError::Malformed { line: link.number, why: error.to_string() };
    Ok(canonical(&serde_json::to_value(link).map_err(malformed)?)?)
}

pub(crate) fn hash(body: &str) -> String {
    let mut hasher = Sha256::new();
    hasher.update(DOMAIN);
    hasher.update(body.as_bytes());
    Base64UrlUnpadded::encode_string(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Ids, Outcome};
    use proptest::prelude::*;

    fn chain_of(count: u64) -> Vec<String> {
        let mut chain = Chain::after("web-01", "boot", Verified { records: 0, head: String::new() });
        (0..count)
            .map(|number| {
                let mut details = serde_json::Map::new();
                details.insert("number".into(), number.into());
                let event = Event {
                    event: "sudo.command".into(),
                    outcome: Outcome::Allowed,
                    code: String::new(),
                    ids: Ids::unknown("a test"),
                    parent: None,
                    details,
                };
                let next = chain.next(event, 1_000_000 + number).unwrap();
                chain.commit(&next);
                next.line
            })
            .collect()
    }

    fn check(lines: &[String]) -> Result<Verified, ChainError> {
        verify(lines.iter().map(String::as_str), |_| {})
    }

    #[test]
    fn a_chain_holds_and_shows_any_change() {
        let lines = chain_of(5);
        assert_eq!(check(&lines).unwrap().records, 5);
        for index in 0..4 {
            let mut cut = lines.clone();
            cut.remove(index);
            assert_eq!(check(&cut), Err(ChainError::Broken(index as u64 + 1)));
            let mut moved = lines.clone();
            moved.swap(index, index + 1);
            assert!(check(&moved).is_err());
        }
    }

    #[test]
    fn a_line_is_spelled_as_its_record_is() {
        let host = "web\"01\u{1}é";
        let chain = Chain::after(host, "b\\oot", Verified { records: 6, head: "abc".into() });
        let details = serde_json::json!({"z": ["\n", 1_u64 << 53, -1], "a": {"q": null, "b": true}});
        let event = Event {
            event: "e\"".into(),
            outcome: Outcome::Refused,
            code: "c\\".into(),
            ids: Ids::unknown("wh\"y"),
            parent: Some(crate::Parent::record(host, 5)),
            details: details.as_object().unwrap().clone(),
        };
        let next = chain.next(event.clone(), 1_u64 << 40).unwrap();
        let (host, boot, previous) = (host.to_owned(), "b\\oot".to_owned(), "abc".to_owned());
        let body = body_of(&Link { number: 7, time_us: 1 << 40, host, boot, previous, event }).unwrap();
        assert_eq!(next.line, format!("{{\"hash\":\"{}\",\"record\":{body}}}", hash(&body)));
    }

    proptest! {
        #[test]
        fn no_byte_can_be_changed(line in 0usize..3, at in 0usize..400, to in 0x20u8..0x7f) {
            let mut lines = chain_of(3);
            let mut bytes = lines[line].clone().into_bytes();
            let at = at % bytes.len();
            prop_assume!(bytes[at] != to);
            bytes[at] = to;
            lines[line] = String::from_utf8(bytes).unwrap();
            prop_assert!(check(&lines).is_err());
        }
    }
}
