//! Command bundles: which programs an agent may run under sudo, with which arguments.
//!
//! A bundle is written in TOML ([`source`]), checked and compiled to [`Bundle`], and signed by the
//! security team's key. [`Bundle::decide`] is the whole decision: silence denies. Pure: which file a name
//! resolves to, and who owns it, is found out by the caller before it asks.
#![forbid(unsafe_code)]

mod decide;
mod model;
pub mod source;

pub use decide::{Allowed, Denied};
pub use model::{Arguments, Bundle, BundleError, Rule, Target};
