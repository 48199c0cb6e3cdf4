//! This host's side of a session: accounts, uids, namespaces, cgroups, and how they end.

pub mod accounts;
mod bpf;
pub mod cgroup;
pub mod doors;
pub mod ground;
pub mod keyrings;
pub mod namespaces;
pub mod net;
pub mod people;
pub mod process;
pub mod program;
pub mod reach;
pub mod remains;
pub mod sys;
pub mod uids;
