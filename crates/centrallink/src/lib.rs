//! Central's protocol from the outside: a blocking client over TLS that proves its key with every request, and the
//! bodies that go either way.
//!
//! - [`Http`]: TLS to servers whose certificate one given authority signed, bounded in time and size.
//! - [`Central`]: one central; [`Caller`] is the key that requests are proved with (RFC 9449).
//! - [`wire`]: the bodies.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod client;
mod events;
mod http;
pub mod random;
pub mod wire;

pub use client::{Caller, Central, Credential, encode_form};
pub use events::{Event, Events};
pub use http::{Answer, Http, LinkError, SYSTEM_AUTHORITIES};
