//! Central's word that it has the chain up to a head: it must be a head of this chain.

use super::LogError;
use super::segments::{first_of, name_of};
use super::writer::{Mark, Shared};
use tether_audit::{SignedHead, countersigned_line};
use tether_statement::Countersignature;

/// A countersignature that is not added.
#[derive(Debug, thiserror::Error)]
pub enum Uncountersigned {
    /// It names a head that this chain does not have.
    #[error("central countersigned record {number} with a head that this host's chain does not have")]
    OtherChain {
        /// The record.
        number: u64,
    },
    /// The disk.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Uncountersigned {
    /// Its stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OtherChain { .. } => "audit.other_chain",
            Self::Log(error) => error.code(),
        }
    }
}

pub fn take(shared: &Shared, jws: &str, found: &Countersignature) -> Result<(), Uncountersigned> {
    let known = shared.lock().standing.countersigned;
    let wanted = Mark { number: found.number, hash: found.hash.clone(), digest: found.head.clone() };
    let is_ours = shared.lock().marks.contains(&wanted) || is_on_disk(shared, &wanted);
    if !is_ours {
        return Err(Uncountersigned::OtherChain { number: found.number });
    }
    if found.number <= known {
        return Ok(());
    }
    Ok(shared.add_countersignature(&countersigned_line(jws), found.number)?)
}

/// Looks through the segments in which the head may stand: the record's own, and the next.
fn is_on_disk(shared: &Shared, wanted: &Mark) -> bool {
    let mut firsts: Vec<u64> = shared.disk.list().unwrap_or_default().iter().filter_map(|n| first_of(n)).collect();
    firsts.sort_unstable();
    let own = firsts.partition_point(|first| *first <= wanted.number).saturating_sub(1);
    firsts.iter().skip(own).take(2).any(|first| {
        let bytes = shared.disk.read(&name_of(*first)).unwrap_or_default();
        let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"head\""));
        lines.any(|line| serde_json::from_slice::<SignedHead>(line).is_ok_and(|head| mark_of(&head) == *wanted))
    })
}

pub fn mark_of(signed: &SignedHead) -> Mark {
    let digest = signed.head.digest().unwrap_or_default();
    Mark { number: signed.head.number, hash: signed.head.hash.clone(), digest }
}
