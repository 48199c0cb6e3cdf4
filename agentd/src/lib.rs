//! agentd: decides who may log in and what may run, owns accounts, sessions and the audit chain.
//!
//! - [`trust`]: what central says, checked: keys, feed, freshness. Signatures are trusted, not channels.
//! - [`session`]: the life of a session as a pure machine; `host` turns its effects into deeds.
//! - [`requests`]: the table of who may ask what in which phase, and the answers.
//! - [`recorders`]: what sessions' terminals and outputs show, written down.
//! - [`recordings`]: what commands and sessions showed, on disk and by its digests in the chain.
//! - [`world`]: accounts, namespaces and cgroups on this host, and how they end.
#![deny(unsafe_code)]

/// A place where agentd dies when a test wants it to; nothing at all in what is shipped.
macro_rules! crash_point {
    ($at:ident) => {
        #[cfg(feature = "faults")]
        tether_faults::crash(tether_faults::Crash::$at);
    };
}

pub mod clock;
pub mod config;
pub mod host;
pub mod log;
pub mod recorders;
pub mod recordings;
pub mod redaction;
pub mod requests;
pub mod running;
pub mod server;
pub mod session;
pub mod store;
pub mod trust;
pub mod watch;
pub mod world;
