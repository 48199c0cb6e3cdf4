//! `tether-confine`, which runs what agentd allowed, and `tether-shell`, the login shell of agents' accounts.
//!
//! Both are single-threaded and short: they check, give up what they have, and become another program.
#![deny(unsafe_code)]

pub mod confine;
pub mod shell;
mod sys;
