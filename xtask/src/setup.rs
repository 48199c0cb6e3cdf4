//! What a fresh Debian machine lacks. Nothing is upgraded; no server and no part of the login path is installed.

use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{self, program, say};

/// A program on the PATH or a file, and the package it is in.
const NEEDED: [(&str, &str); 17] = [
    ("gcc", "gcc"),
    ("make", "make"),
    ("nm", "binutils"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("mmdebstrap", "mmdebstrap"),
    ("ip", "iproute2"),
    ("unshare", "util-linux"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("bwrap", "bubblewrap"),
    ("ansible", "ansible-core"),
    ("/usr/lib/python3/dist-packages/paramiko/__init__.py", "python3-paramiko"),
    ("git", "git"),
    ("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
    ("/usr/include/security/pam_modules.h", "libpam0g-dev"),
    ("/usr/include/stdlib.h", "libc6-dev"),
    ("/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring"),
];

/// Installs what is missing; quick when nothing is.
pub(crate) fn ensure() -> Result<()> {
    let mut missing: Vec<&str> =
        NEEDED.iter().filter(|(probe, _)| !present(probe)).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    say(format!("installing {}", missing.join(" ")));
    let by_hand = || format!("cannot install them; as root, on Debian: apt-get install {}", missing.join(" "));
    run::run(&mut program("apt-get", &["update", "-qq"])).with_context(by_hand)?;
    let mut install = program("apt-get", &["install", "--yes", "-qq", "--no-install-recommends", "--no-upgrade"]);
    run::run(install.env("DEBIAN_FRONTEND", "noninteractive").args(&missing)).with_context(by_hand)
}

/// The same, and says so.
pub(crate) fn run() -> Result<()> {
    ensure()?;
    say("all build tools are here");
    Ok(())
}

fn present(probe: &str) -> bool {
    if probe.starts_with('/') {
        return Path::new(probe).exists();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(probe).exists())
}
