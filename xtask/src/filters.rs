//! Writes the seccomp filters that the programs carry. They are checked in: what a host enforces can be read, and
//! compared, without building anything.

use std::fs;

use anyhow::{Context, Result};
use tether_filter::{Arch, Profile, bytes};

use crate::run::root;

pub(crate) fn write() -> Result<()> {
    for arch in Arch::ALL {
        for profile in Profile::all() {
            let crate_folder = if profile == Profile::Session { "pam_module" } else { "confine" };
            let folder = root().join(crate_folder).join("src/filters").join(arch.name());
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
            let file = folder.join(format!("{}.bpf", profile.name()));
            let steps = bytes(arch, profile);
            fs::write(&file, &steps).with_context(|| format!("cannot write {}", file.display()))?;
            println!("{}: {} steps", file.display(), steps.len() / 8);
        }
    }
    Ok(())
}
