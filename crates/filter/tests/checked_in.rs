//! What the programs carry is what the policy says.

use std::path::Path;
use tether_filter::{Arch, Profile, bytes};

#[test]
fn the_filters_in_the_programs_are_these() {
    for arch in Arch::ALL {
        for profile in Profile::all() {
            let folder = if profile == Profile::Session { "pam_module" } else { "confine" };
            let path = format!("{folder}/src/filters/{}/{}.bpf", arch.name(), profile.name());
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
            let found = std::fs::read(&path).unwrap_or_default();
            assert!(found == bytes(arch, profile), "{} is not: run `cargo xtask filters`", path.display());
        }
    }
}
