//! Programs that fail on purpose: agentd and the modules with the places of `crates/faults`. They are never packed; a
//! test puts them in the place of the installed ones.

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{cargo, run, say, target};
use crate::setup;

/// Cargo's profile, and so the folder's name.
const PROFILE: &str = "faulty";

const PACKAGES: [&str; 4] = ["tether-agentd", "pam_tether", "nss_tether", "sudo_tether"];

/// Builds them; gives their folder.
pub(crate) fn build() -> Result<PathBuf> {
    setup::ensure()?;
    say("building the faulty programs");
    let mut build = cargo(&["build", "--locked", "--profile", PROFILE]);
    for package in PACKAGES {
        build.args(["--package", package, "--features", &format!("{package}/faults")]);
    }
    run(&mut build)?;
    Ok(target().join(PROFILE))
}
