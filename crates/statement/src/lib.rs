//! What central (and the keys above it) tells a host: signed, addressed to it, in order, fresh.
//!
//! - [`jws`]: the one signature format, EdDSA with an explicit `typ`; a key's role is bound to that `typ`.
//! - [`KeySet`]: which keys play which role, signed by the offline root.
//! - [`FeedStatement`]: numbered without gaps, each with the hash of the one before.
//! - [`Head`], [`Resume`]: how fresh the feed is, and that a restart saw all of it.
//! - [`Countersignature`]: how far central has a host's audit chain.
//! - [`Receipt`]: that central has a recording whole.
//! - [`Delegation`]: the token that says which agent acts for which human.
//!
//! Pure: no I/O and no clock; whoever calls says what time it is.
#![forbid(unsafe_code)]

mod countersignature;
mod delegation;
mod feed;
mod grant;
mod head;
#[cfg(feature = "issue")]
pub mod issue;
pub mod jws;
mod keyset;
mod object;
mod receipt;

pub use countersignature::Countersignature;
pub use delegation::{Actor, Claims, Confirmation, Delegation, DelegationError};
pub use feed::{Body, FeedError, FeedStatement, Position, digest, issued_at};
pub use grant::{BundleConfirmation, BundlePin, Grant, Revocation};
pub use head::{Head, Resume, ResumeRequest};
pub use jws::{JwsError, PublicKey, Role, Typ};
pub use keyset::{Issuer, Key, KeySet, TrustedKeys};
pub use receipt::Receipt;

/// Seconds since 1970-01-01T00:00:00Z.
pub type UnixTime = u64;
