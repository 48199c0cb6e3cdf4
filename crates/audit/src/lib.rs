//! Audit records and the chain that holds them together.
//!
//! A record is a JSON object in one canonical form (RFC 8785). Each carries the hash of the one before,
//! so that none can be changed, dropped or put between others without the rest telling. Pure: writing
//! them to disk is agentd's.
#![forbid(unsafe_code)]

mod canonical;
mod chain;
mod record;

pub use canonical::{NotCanonical, canonical};
pub use chain::{Chain, ChainError, Link, Next, Verified, verify};
pub use record::{Event, Ids, Known, Outcome};
