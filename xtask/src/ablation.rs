//! The launcher in a build that leaves out the layer which /run/tether-ablation names: for tests that show what each
//! layer holds. Never packaged; `cargo xtask check` looks.

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{cargo, run, say, target};

/// Builds it apart from everything else; gives its path.
pub(crate) fn build() -> Result<PathBuf> {
    let folder = target().join("ablation");
    say("building the launcher with the feature `ablation`");
    let mut build = cargo(&["build", "--release", "--locked", "--package", "tether-confine", "--features", "ablation"]);
    run(build.args(["--bin", "tether-confine", "--target-dir"]).arg(&folder))?;
    Ok(folder.join("release/tether-confine"))
}
