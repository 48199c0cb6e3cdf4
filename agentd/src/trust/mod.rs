//! What central says, checked: which keys, how far the feed goes, how fresh that is, which bundles.
//!
//! Pure but for the persisted form: no I/O here. [`inbox`] reads what a courier dropped.

mod bundles;
mod freshness;
pub mod inbox;
mod passed;
mod state;
#[cfg(test)]
mod tests;

pub use bundles::{BundleRefused, Bundles, MAX_STALE, MAX_STALE_WRITE, NoBundle};
pub use freshness::{Anchor, Freshness};
pub use state::{Kept, Taken, Trust, TrustError};
