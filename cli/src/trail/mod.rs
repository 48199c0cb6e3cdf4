//! The audit trail as whoever looks at it has it: chains in files or at central, checked while they are read.

pub mod check;
mod copy;
mod diagnose;
pub mod export;
pub mod files;
mod filter;
pub mod finding;
pub mod keys;
mod log;
mod page;
pub mod proof;
mod recordings;
pub mod search;
pub mod shipped;
pub mod show;
pub mod source;
pub mod story;
pub mod tree;
pub mod verify;
mod words;
