//! What the three modules show to the processes that load them, and which glibc they and the programs need.

use std::path::Path;

use anyhow::{Context, Result};

use super::Findings;
use crate::run::{capture, cargo, program, run, target};

/// Debian 12 has this one.
const GLIBC: (u32, u32) = (2, 36);

/// The folder whose files make a faulty build fail (`crates/faults`).
const FAULTS: &[u8] = b"/run/tether-faults";

enum Exports {
    Exactly(&'static [&'static str]),
    /// At least one, and no other.
    Starting(&'static str),
}

const MODULES: [(&str, &str, Exports); 3] = [
    (
        "pam_tether",
        "libpam_tether.so",
        Exports::Exactly(&[
            "pam_sm_acct_mgmt",
            "pam_sm_authenticate",
            "pam_sm_chauthtok",
            "pam_sm_close_session",
            "pam_sm_open_session",
            "pam_sm_setcred",
        ]),
    ),
    ("nss_tether", "libnss_tether.so", Exports::Starting("_nss_tether_")),
    ("sudo_tether", "libsudo_tether.so", Exports::Exactly(&["tether_audit", "tether_io", "tether_policy"])),
];

const PROGRAMS: [&str; 7] = [
    "tether-agentd",
    "tether-courier",
    "tether-principals",
    "tether-confine",
    "tether-runner",
    "tether-shell",
    "tether",
];

pub(super) fn check() -> Findings {
    let mut build = cargo(&["build", "--release", "--locked", "--workspace"]);
    run(build.args(["--exclude=xtask", "--exclude=tether-tests", "--exclude=tether-testhost"]))?;
    let folder = target().join("release");
    let mut findings = Vec::new();
    for (package, file, exports) in &MODULES {
        let file = folder.join(file);
        if !file.exists() {
            findings.push(format!("{package} makes no {}: is its crate-type cdylib?", file.display()));
            continue;
        }
        findings.extend(exports_of(&file)?.compare(exports).map(|wrong| format!("{package} {wrong}")));
        findings.extend(glibc(&file)?);
        findings.extend(faults(&file)?);
    }
    for name in PROGRAMS {
        let file = folder.join(name);
        if file.exists() {
            findings.extend(glibc(&file)?);
            findings.extend(faults(&file)?);
        }
    }
    findings.extend(ablation(&folder.join("tether-confine"))?);
    Ok(findings)
}

/// A finding if it has the places where a test makes a program fail.
fn faults(file: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    let found = bytes.windows(FAULTS.len()).any(|window| window == FAULTS);
    Ok(found.then(|| format!("{} is built with the feature `faults`, which is for tests only", file.display())))
}

/// A finding if this launcher can be told to leave a layer out.
fn ablation(file: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = b"/run/tether-ablation";
    let is_there = bytes.windows(name.len()).any(|window| window == name);
    Ok(is_there.then(|| format!("{} has the feature `ablation`, which is for tests", file.display())))
}

struct Names(Vec<String>);

fn exports_of(file: &Path) -> Result<Names> {
    let text = capture(program("nm", &["-D", "--defined-only", "--format=just-symbols"]).arg(file))?;
    let mut names: Vec<String> =
        text.lines().map(|line| line.split('@').next().unwrap_or_default().to_owned()).collect();
    names.sort();
    Ok(Names(names))
}

impl Names {
    fn compare(&self, wanted: &Exports) -> Option<String> {
        let fits = match wanted {
            Exports::Exactly(names) => self.0 == *names,
            Exports::Starting(prefix) => !self.0.is_empty() && self.0.iter().all(|name| name.starts_with(prefix)),
        };
        let rule = match wanted {
            Exports::Exactly(names) => names.join(" "),
            Exports::Starting(prefix) => format!("{prefix}*"),
        };
        (!fits).then(|| format!("exports {:?}, not {rule}", self.0.join(" ")))
    }
}

/// A finding if the file needs a newer glibc.
fn glibc(file: &Path) -> Result<Option<String>> {
    let text = capture(program("objdump", &["-T"]).arg(file))?;
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let version = rest.split(|byte: char| !byte.is_ascii_digit() && byte != '.').next()?;
        let (major, minor) = version.split_once('.')?;
        Some((major.parse::<u32>().ok()?, minor.split('.').next()?.parse::<u32>().ok()?))
    });
    let newest = versions.max().unwrap_or_default();
    let text = |(major, minor): (u32, u32)| format!("{major}.{minor}");
    Ok((newest > GLIBC)
        .then(|| format!("{} needs glibc {}, the floor is {}", file.display(), text(newest), text(GLIBC))))
}
