//! Lines one by one: what each is, and why one does not hold.

use crate::app::App;
use crate::store::{Found, TroubleKind};
use std::cell::OnceCell;
use tether_audit::log::ENTRY_MAX;
use tether_audit::{ChainError, Line, Reached, SignedHead, Verifier};
use tether_identity::HostId;
use tether_statement::{Countersignature, FeedError, JwsError, TrustedKeys};

/// A line that follows what is there.
#[derive(Debug)]
pub(super) enum New {
    Record { number: u64, hash: String, found: Found },
    Head(Box<SignedHead>),
    Mark,
}

/// Why a chain does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub kind: TroubleKind,
    pub code: &'static str,
    pub number: u64,
    pub why: String,
}

pub(super) fn broken(code: &'static str, number: u64, why: impl ToString) -> Bad {
    Bad { kind: TroubleKind::Broken, code, number, why: why.to_string() }
}

impl App {
    /// Reads lines that follow `start`, up to the first that does not hold.
    pub(super) fn read(
        &self,
        host: &HostId,
        start: Reached,
        lines: &[&[u8]],
    ) -> (Vec<(New, String)>, Reached, Option<Bad>) {
        let mut verifier = Verifier::from(start);
        let older = OnceCell::new();
        let mut new = Vec::with_capacity(lines.len());
        for line in lines {
            let reached = verifier.reached().clone();
            match self.read_one(host, &mut verifier, &older, line) {
                Ok(one) => new.push(one),
                Err(bad) => return (new, reached, Some(bad)),
            }
        }
        (new, verifier.reached().clone(), None)
    }

    fn read_one(
        &self,
        host: &HostId,
        verifier: &mut Verifier,
        older: &OnceCell<Vec<TrustedKeys>>,
        line: &[u8],
    ) -> Result<(New, String), Bad> {
        let next = verifier.reached().number + 1;
        if line.len() > ENTRY_MAX {
            return Err(broken("audit.too_long", next, format!("a line has {} bytes", line.len())));
        }
        let text = std::str::from_utf8(line).map_err(|_| broken("audit.malformed", next, "a line is not UTF-8"))?;
        let read = verifier.take(text).map_err(|error| broken(code_of(&error), next, words(&error)))?;
        let other = |found: &str| broken("audit.other_host", next, format!("a line is of {found:?}"));
        let one = match read {
            Line::Record { link, .. } if link.host != host.as_str() => return Err(other(&link.host)),
            Line::Record { hash, link } => New::Record { number: link.number, hash, found: Found::of(&link) },
            Line::Head(head) if head.head.host != host.as_str() => return Err(other(&head.head.host)),
            Line::Head(head) => New::Head(head),
            Line::Countersigned(jws) => {
                if !self.has_signed(&jws, host, older) {
                    return Err(broken("audit.countersignature", next, "a countersignature that is not ours"));
                }
                New::Mark
            }
        };
        Ok((one, text.to_owned()))
    }

    /// Whether we have signed that, with a key of now or of before. One of a key that never was ours says nothing here:
    /// a host that moved to us brings what another central has said.
    /// Keys of before are read once for all lines: thousands of them may name a key that never was.
    fn has_signed(&self, jws: &str, host: &HostId, older: &OnceCell<Vec<TrustedKeys>>) -> bool {
        let of = |keys: &TrustedKeys| match Countersignature::verify(jws, keys, host) {
            Ok(_) => Some(true),
            Err(FeedError::Jws(JwsError::UnknownKey { .. })) => None,
            Err(_) => Some(false),
        };
        if let Some(known) = of(&self.trusted()) {
            return known;
        }
        let older = older.get_or_init(|| {
            let sets = self.look(|act| Ok(act.key_sets()?)).unwrap_or_default();
            let sets = sets.iter().rev().filter_map(|(_, text)| TrustedKeys::verify(text, &self.settings.roots).ok());
            sets.collect()
        });
        older.iter().find_map(of).unwrap_or(true)
    }
}

fn code_of(error: &ChainError) -> &'static str {
    match error {
        ChainError::Malformed { .. } | ChainError::NotCanonical(_) => "audit.malformed",
        ChainError::Changed(_) => "audit.changed",
        ChainError::Broken(_) => "audit.broken",
        ChainError::HeadBroken(_) => "audit.head_broken",
        ChainError::HeadKey(_) => "audit.head_key",
    }
}

/// The text of an error, without its count of lines, which are the batch's.
fn words(error: &ChainError) -> String {
    match error {
        ChainError::Malformed { why, .. } => format!("a line is no record and no head: {why}"),
        ChainError::Changed(_) => "a line was changed: its hash is not that of its content".to_owned(),
        ChainError::Broken(_) => "a record does not follow the one before it".to_owned(),
        ChainError::HeadBroken(_) => "a head names another record or follows another head".to_owned(),
        ChainError::HeadKey(_) => "a head is not signed with the key whose turn it was".to_owned(),
        ChainError::NotCanonical(error) => error.to_string(),
    }
}
