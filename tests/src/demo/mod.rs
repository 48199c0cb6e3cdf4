//! The main job, whole, as `cargo xtask demo` tells it: a person signs in, an agent acts for them on two hosts, and
//! their right is taken back.

mod keep;
mod story;
mod teller;

pub use story::run_with;
pub use teller::{Step, Told};

use anyhow::Result;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tether_audit::Link;
use tether_testhost::Suite;

/// What the demo found.
#[derive(Debug, Serialize)]
pub struct Story {
    /// Whether everything went as it must.
    pub ok: bool,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// The audit records as they are: of central and of both hosts, in the order of their times.
    pub events: Vec<Link>,
    /// What was kept for an auditor, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// What an auditor has of the demo, in a folder: central's export with its recordings (`export`), and of each host
/// what `/var/lib/tether` has of chain and recordings (`NAME/audit`, `NAME/recordings`).
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The folder.
    pub folder: PathBuf,
    /// `NAME=KEY` of the root that the hosts believe.
    pub roots: Vec<String>,
    /// The sessions, in their order.
    pub sessions: Vec<String>,
}

/// Tells the story on one suite with the package that was built last.
pub fn run(suite: Suite, folder: Option<&Path>, tell: &mut dyn FnMut(Told<'_>)) -> Result<Story> {
    run_with(suite, &crate::scene::package()?, folder, tell)
}
