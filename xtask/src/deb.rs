//! The Debian packages: `tether` for hosts, `tether-central` for central.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::run::{capture, cargo, cargo_tool, program, root, run, say, target};
use crate::{seal, setup};

const CARGO_DEB: &str = "3.8.0";

/// What is not in the host's package.
const EXCLUDED: [&str; 5] = ["tether-tests", "xtask", "tether-testhost", "tether-central", "tether-agent"];

/// What other programs load, and must not die of.
const MODULES: [&str; 3] = ["libnss_tether.so", "libpam_tether.so", "libsudo_tether.so"];

/// Whether the package is described yet.
pub(crate) fn is_described() -> Result<bool> {
    let manifest = root().join("agentd/Cargo.toml");
    let text = std::fs::read_to_string(&manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
    Ok(text.lines().any(|line| line.trim() == "[package.metadata.deb]"))
}

/// The package that `TETHER_DEB` names, as for the tests; without one it is built.
pub(crate) fn package() -> Result<PathBuf> {
    match std::env::var_os("TETHER_DEB") {
        Some(path) => {
            say(format!("with the package that TETHER_DEB names: {}", path.display()));
            Ok(path.into())
        }
        None => build(),
    }
}

/// Builds all that runs on a host and packs it; gives the package's path.
pub(crate) fn build() -> Result<PathBuf> {
    setup::ensure()?;
    if !is_described()? {
        bail!("agentd/Cargo.toml has no [package.metadata.deb]: there is nothing to pack yet");
    }
    say("building the release binaries");
    let excluded = EXCLUDED.iter().map(|name| format!("--exclude={name}"));
    run(cargo(&["build", "--release", "--locked", "--workspace"]).args(excluded))?;
    for module in MODULES {
        seal::seal(&target().join("release").join(module))?;
    }
    pack("tether-agentd")
}

/// Builds central and packs it; gives the package's path.
pub(crate) fn build_central() -> Result<PathBuf> {
    setup::ensure()?;
    say("building central");
    run(&mut cargo(&["build", "--release", "--locked", "--package", "tether-central"]))?;
    pack("tether-central")
}

/// Packs what was built, as the crate's manifest says.
fn pack(crate_name: &str) -> Result<PathBuf> {
    let cargo_deb = cargo_tool("cargo-deb", CARGO_DEB)?;
    let folder = target().join("debian");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut pack = program(cargo_deb, &["--package", crate_name, "--no-build", "--locked", "--output"]);
    // The time of the last commit stands in the package, so that the same files make the same package.
    if let Ok(time) = capture(&mut program("git", &["log", "-1", "--format=%ct"])) {
        pack.env("SOURCE_DATE_EPOCH", time.trim());
    }
    let printed = capture(pack.arg(&folder))?;
    let path = printed.lines().last().map(PathBuf::from).context("cargo-deb did not say what it made")?;
    say(format!("made {}", path.display()));
    Ok(path)
}
