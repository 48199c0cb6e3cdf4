//! `libnss_tether.so.2`: agents' accounts for everything that looks up a name on this host.
//!
//! It runs inside any process, setuid ones included, so it answers from account files alone: no daemon is
//! asked, and whether agentd runs, hangs or is gone makes no difference. Invariants:
//! * a name or uid that cannot be an agent's costs no system call;
//! * no environment, no threads, no output, no descriptor and no lock outlives a call;
//! * errno is the caller's: only "your buffer is too small" changes it;
//! * no panic leaves an entry (see [`guard`]).
//!
//! Accounts are not enumerated: there is no `setpwent` here, and glibc then lists the other sources only.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

/// A place where a test makes this module panic; nothing at all in what is shipped.
macro_rules! panic_point {
    ($at:ident) => {
        #[cfg(feature = "faults")]
        tether_faults::panic(tether_faults::Panic::$at);
    };
}

pub mod answer;
mod entry;
mod guard;
pub mod space;
