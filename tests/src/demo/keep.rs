//! What is kept of the demo for an auditor: its hosts go.

use super::Kept;
use crate::evidence;
use crate::realm::Realm;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::{Duration, Instant};
use tether_testhost::Host;

/// How long recordings may take to be whole at central.
const WHOLE: Duration = Duration::from_secs(120);

/// Waits until central has everything, and writes it, and what the hosts have, into a folder that is new or empty.
pub(super) fn keep(realm: &Realm, sessions: &[String], folder: &Path) -> Result<(Kept, String)> {
    std::fs::create_dir_all(folder)?;
    for host in &realm.hosts {
        wait_whole(host)?;
        evidence::wait_shipped(realm, host)?;
    }
    let export = folder.join("export").display().to_string();
    realm.central.command(&["audit", "export", &export, "--recordings"])?;
    let mut roots = Vec::new();
    for host in &realm.hosts {
        for from in [evidence::CHAIN, evidence::RECORDINGS] {
            let name = Path::new(from).file_name().context("a folder's name")?;
            evidence::copy_out(host, from, &folder.join(host.name()).join(name))?;
        }
        roots = evidence::roots(host)?;
    }
    let kept = Kept { folder: folder.to_owned(), roots, sessions: sessions.to_vec() };
    Ok((kept, format!("{}: what central has, and {}", folder.display(), names(realm))))
}

fn names(realm: &Realm) -> String {
    realm.hosts.iter().map(|host| host.name()).collect::<Vec<_>>().join(", ")
}

/// Waits until the host knows that central has each of its recordings. Polls: both are other processes.
fn wait_whole(host: &Host) -> Result<()> {
    let folder = evidence::RECORDINGS;
    let script = format!("for each in {folder}/*/*.rec; do [ -e \"${{each%.rec}}.shipped\" ] || echo \"$each\"; done");
    let begun = Instant::now();
    loop {
        let missing = host.sh(&script)?;
        if missing.is_empty() {
            return Ok(());
        }
        ensure!(begun.elapsed() < WHOLE, "central does not have these of {}: {missing}", host.name());
        std::thread::sleep(Duration::from_millis(100));
    }
}
