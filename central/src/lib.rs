//! Central: from a human's sign-in to a grant on a host, and back by revocation.
//!
//! - [`app`]: the acts, each one transaction: exchange, certificate, enrolment, report, revocation.
//! - [`access`]: who may, decided by policies in Cedar.
//! - [`store`]: what is kept, behind a trait.
//! - [`shelf`]: the files of recordings.
//! - [`hub`]: hosts that listen, and how far they have read.
//! - [`group`]: questions of many that are answered together.
//! - [`providers`]: identity providers, who sends signals for them, and the keys of both.
//! - [`rules`]: policies and providers, which can be read anew while central runs.
//! - [`limits`], [`metrics`]: how much one caller may ask for; what is counted.
//! - [`keys`]: central's own keys, a role each. The root and the bundle key are not among them.
//! - [`http`]: the protocol.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

pub mod access;
pub mod app;
pub mod audit;
pub mod clock;
mod command;
pub mod config;
pub mod delegating;
pub mod group;
pub mod http;
pub mod hub;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod nonces;
pub mod providers;
pub mod rotation;
pub mod rules;
pub mod shelf;
pub mod store;
#[cfg(test)]
mod tests;

pub use command::{main, main_with};
