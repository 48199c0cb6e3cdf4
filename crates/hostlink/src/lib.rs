//! The local protocol between agentd and what runs inside sshd and sudo, and its blocking client.
//!
//! One connection carries one request and one reply. A frame is a version byte, a length (u32, big
//! endian) and JSON; JSON because a module that a long-lived sshd has mapped must still be understood by
//! an agentd that was upgraded since. Descriptors travel with a frame's first byte (`SCM_RIGHTS`).
//!
//! A client trusts a reply only from uid 0, waits no longer than its one deadline, and reads no more than
//! [`FRAME_MAX`] bytes. Everything else is an [`LinkError`], which callers turn into a refusal.
#![forbid(unsafe_code)]

mod client;
mod frame;
mod message;
pub mod paths;
mod rights;
mod server;
mod sink;
mod word;

pub use client::{Answer, Link, ask, ask_at};
pub use frame::{Deadline, FRAME_MAX, LinkError, VERSION};
pub use message::{
    AuditSummary, BundleSummary, Channel, CommandLine, Confinement, Continued, Ground, Identity, OpenRequest, Plan,
    PrincipalsQuery, RecordRequest, Recorder, Refusal, Reply, Request, SESSIONS_PAGE, SessionSummary, StatusReport,
    codes,
};
pub use rights::DESCRIPTORS_MAX;
pub use server::{Connection, Peer};
pub use sink::Sink;
pub use word::Word;
