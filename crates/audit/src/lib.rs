//! Audit records, the chain that holds them together, and the signed heads that keep its past.
//!
//! A record is a JSON object in one canonical form (RFC 8785). Each carries the hash of the one before, so that none
//! can be changed, dropped or put between others without the rest telling. Heads, signed with keys that evolve, keep
//! whoever takes the host from writing a new past. docs/audit.md is the format. Pure: writing to disk is agentd's.
#![forbid(unsafe_code)]

mod canonical;
mod chain;
mod head;
pub mod log;
mod parent;
mod prepared;
mod record;
mod verify;

pub use canonical::{NotCanonical, bytes, canonical};
pub use chain::{Chain, ChainError, Link, Next, Verified, verify};
pub use head::{Head, HeadAt, HeadKey, HeadSigner, SignedHead};
pub use parent::{NoParent, Parent};
pub use prepared::Prepared;
pub use record::{Event, Ids, Known, Outcome};
pub use verify::{Line, Reached, Verifier, countersigned_line};
