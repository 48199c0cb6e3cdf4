//! What a fresh Debian machine lacks. Nothing is upgraded; no server and no part of the login path is installed.

use std::path::Path;

use anyhow::{Context, Result};

use crate::run::{self, program, say};

/// A program on the PATH or a file, and the package it is in.
const NEEDED: [(&str, &str); 18] = [
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
    ("npm", "npm"),
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

/// The tests' identity provider, npm's oidc-provider with a node of its own, in a folder of the target's.
pub(crate) fn provider() -> Result<()> {
    let from = run::root().join("tests/provider");
    let to = run::target().join("provider");
    std::fs::create_dir_all(&to).with_context(|| format!("cannot make {}", to.display()))?;
    let lock = "package-lock.json";
    let wanted = std::fs::read(from.join(lock)).with_context(|| format!("{}", from.join(lock).display()))?;
    // npm keeps what it installed in a lock of its own; ours is copied last, so it says that all went well.
    let here = std::fs::read(to.join("installed.json")).is_ok_and(|installed| installed == wanted);
    for name in
        ["package.json", lock, "provider.mjs", "exchange.mjs", "glewlwyd.mjs", "sign_in.mjs", "totp.mjs", "ask.mjs"]
    {
        std::fs::copy(from.join(name), to.join(name)).with_context(|| format!("cannot copy {name}"))?;
    }
    if here {
        return Ok(());
    }
    say("installing the tests' identity provider (npm: oidc-provider and node) into the target folder");
    let mut npm = program("npm", &["ci", "--no-audit", "--no-fund", "--silent", "--ignore-scripts"]);
    run::run(npm.current_dir(&to))?;
    std::fs::write(to.join("installed.json"), wanted).context("installed.json")
}

/// The same, and says so.
pub(crate) fn run() -> Result<()> {
    ensure()?;
    provider()?;
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
