//! The half of `tether-shell` that stays: it stands between sshd and what the channel runs, and has agentd record all
//! that comes out before anybody is shown it. What goes in is handed on and never recorded: passwords are typed.
//!
//! It runs as the agent's uid, so the agent can stop it or kill it: killed, the session ends. It cannot be looked into
//! or taken over, since it is not dumpable (ptrace(2), "ptrace access mode checking"); nor passed by, since what the
//! channel runs holds pipes or a terminal of ours and none of sshd's.
#![forbid(unsafe_code)]

mod flow;
mod sink;
mod start;
mod terminal;

pub use start::{Asked, record};
