//! This host's side of a session: accounts, uids, namespaces, cgroups, and how they end.

pub mod accounts;
pub mod cgroup;
pub mod doors;
pub mod keyrings;
pub mod namespaces;
pub mod people;
pub mod process;
pub mod program;
pub mod reach;
pub mod remains;
mod sys;
pub mod uids;
