//! `pam_tether.so`: the gates after authentication, and the way into a session's namespaces.
//!
//! [`gate`] decides and knows nothing of PAM's C interface; [`entry`] is the six functions that libpam calls,
//! each behind one panic guard that returns the closed answer. For a user who is no agent, asked for by
//! nobody who is, every function says `PAM_IGNORE` without a word to anybody.
#![deny(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

/// A place where a test makes this module panic; nothing at all in what is shipped.
#[cfg(not(test))]
macro_rules! panic_point {
    ($at:ident) => {
        #[cfg(feature = "faults")]
        tether_faults::panic(tether_faults::Panic::$at);
    };
}

mod caller;
mod enter;
#[cfg(not(test))]
mod entry;
mod filter;
mod gate;
#[cfg(not(test))]
mod handle;

#[cfg(test)]
mod tests;
