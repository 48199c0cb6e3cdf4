//! Who acts for whom: the workload principal, local accounts, sessions and key thumbprints.
//!
//! Everything here is a parsed value: it can only be made through a constructor that checks, so code
//! that holds one need not check again. No I/O, no clock.
#![forbid(unsafe_code)]

mod account;
mod address;
mod ids;
mod principal;
mod text;
mod thumbprint;

pub use account::{AccountName, AccountPair, LOGIN_NAME_MAX, Prefix, READ_ONLY_SUFFIX};
pub use address::Address;
pub use ids::{DelegationId, HostId, SessionId};
pub use principal::{Human, Name, Principal, Scheme};
pub use text::Malformed;
pub use thumbprint::Thumbprint;
