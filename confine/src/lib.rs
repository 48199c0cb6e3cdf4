//! What an agent runs in, on a host.
//!
//! `tether-confine` ([`confine`]) is started by sudo as root with a plan from agentd and turns into the
//! planned program: the host's own view, nothing to write, no root. `tether-runner` ([`runner`]) stands in for sudo
//! under `tether run`. `tether-shell` ([`shell`]) is the login shell of agents' accounts.
//!
//! Invariants: one thread; every step that fails ends the process with a refusal and exit code 126; nothing
//! is taken from argv, environment or descriptors that was not checked. `unsafe` is in [`sys`] and [`signals`] only.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

pub mod confine;
pub mod features;
mod identity;
mod keeper;
mod landlock;
mod layers;
mod limits;
mod mounts;
mod plan;
mod proof;
mod readable;
mod recorder;
mod refusal;
pub mod runner;
mod seccomp;
pub mod shell;
mod shell_environment;
mod signals;
mod standard;
mod sys;
mod world;

pub use refusal::refuse;
