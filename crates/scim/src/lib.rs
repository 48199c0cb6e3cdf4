//! SCIM 2.0 (RFC 7643, RFC 7644) as central speaks it: what a directory sends, read into types that cannot be wrong.
//!
//! - [`NewUser`], [`NewAgent`]: bodies that make or replace a resource.
//! - [`Patch`]: changes, in every form in which the large directories write them.
//! - [`Filter`], [`Page`]: what a list is asked for.
//! - [`Problem`]: why a request is refused, with the standard's `scimType` and a stable code.
//! - [`discovery`]: what central says of itself.
//!
//! Pure: no I/O, no clock. What is kept of a human is their name, the directory's own name for them, and whether they
//! may be acted for; all other attributes are read over. Nothing that could mean `active` is: it is understood, or the
//! whole request is refused, so that no deactivation gets lost.
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing))]

mod attributes;
pub mod discovery;
mod list;
mod patch;
mod problem;
mod resource;

pub use attributes::{AGENT, Kind, USER};
pub use list::{Filter, PAGE_MAX, Page, list};
pub use patch::{PATCH_SCHEMA, Patch};
pub use problem::{Problem, ScimType};
pub use resource::{NewAgent, NewUser, Shown};
