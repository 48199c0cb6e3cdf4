//! The main job, whole, as `cargo xtask demo` tells it: a person signs in, an agent acts for them on two hosts, and
//! their right is taken back.

mod story;
mod teller;

pub use story::run_with;
pub use teller::{Step, Told};

use anyhow::Result;
use serde::Serialize;
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
}

/// Tells the story on one suite with the package that was built last.
pub fn run(suite: Suite, tell: &mut dyn FnMut(Told<'_>)) -> Result<Story> {
    run_with(suite, &crate::scene::package()?, tell)
}
