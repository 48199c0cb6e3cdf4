//! `sudo_tether.so`: policy, audit and I/O plugin of sudo in one (sudo_plugin(5)).
//!
//! Who asks is settled once, from the kernel ([`side`]). For a human every call reaches the stock sudoers
//! plugin beside this file ([`stock`]), so sudoers behaves to the letter as before. For an agent sudoers is
//! never loaded: agentd decides, and what it allows runs through `tether-confine` ([`agent`]).
//!
//! `unsafe` is in three places: [`entry`] (what sudo calls), [`stock`] (what we call) and [`c`] (C's arrays
//! and texts). No threads, no environment, no output but through sudo's own printf; no panic leaves an entry.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

/// A place where a test makes this module panic; nothing at all in what is shipped.
macro_rules! panic_point {
    ($at:ident) => {
        #[cfg(feature = "faults")]
        tether_faults::panic(tether_faults::Panic::$at);
    };
}

mod abi;
mod agent;
mod c;
pub mod entry;
mod guard;
mod options;
mod run;
mod side;
mod stock;
