//! What an auditor works with: central's export, a copy of a host's files, and `tether audit verify` over both.

use crate::programs::built;
use crate::realm::Realm;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tether_testhost::Host;

/// Where a host keeps its chain.
pub const CHAIN: &str = "/var/lib/tether/audit";
/// Where a host keeps recordings.
pub const RECORDINGS: &str = "/var/lib/tether/recordings";

/// `NAME=KEY` of each root that a host believes.
pub fn roots(host: &Host) -> Result<Vec<String>> {
    let settings: toml::Table = String::from_utf8(host.read_file("/etc/tether/host.toml")?)?.parse()?;
    let roots = settings["roots"].as_table().context("no [roots]")?;
    Ok(roots.iter().filter_map(|(name, key)| Some(format!("{name}={}", key.as_str()?))).collect())
}

/// What `tether --json audit verify …` says, with its exit code.
pub fn verify(arguments: &[&str]) -> Result<(i32, Value)> {
    let mut tether = Command::new(built("test-tether")?);
    let done = tether.args(["--json", "audit", "verify"]).args(arguments).stdin(Stdio::null()).output()?;
    let code = done.status.code().context("tether was killed")?;
    ensure!(matches!(code, 0 | 3), "tether audit verify: {}", String::from_utf8_lossy(&done.stderr));
    Ok((code, serde_json::from_slice(&done.stdout)?))
}

/// Copies a folder of a host's out of it, as it is.
pub fn copy_out(host: &Host, folder: &str, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let from = host.root()?.join(folder.trim_start_matches('/'));
    let done = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).output()?;
    ensure!(done.status.success(), "cp: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// Everything that central has, as `tether-central audit export` writes it.
pub fn export(realm: &Realm, to: PathBuf) -> Result<PathBuf> {
    realm.central.command(&["audit", "export", &to.display().to_string()])?;
    Ok(to)
}

/// How a host's chain stands at central.
pub fn standing(realm: &Realm, host: &Host) -> Result<Value> {
    let hosts = realm.central.administer(&["hosts", "list"])?;
    let all = hosts.as_array().context("no list")?;
    let one = all.iter().find(|one| one["id"] == host.name());
    Ok(one.with_context(|| format!("{} is not in {hosts}", host.name()))?["audit"].clone())
}

/// The same, once it holds. Polls: central is another process.
pub fn wait_standing(realm: &Realm, host: &Host, what: &str, until: impl Fn(&Value) -> bool) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let chain = standing(realm, host)?;
        if until(&chain) {
            return Ok(chain);
        }
        if begun.elapsed() > Duration::from_secs(60) {
            let journal = |unit| host.journal(unit).unwrap_or_default();
            let (courier, agentd) = (journal("tether-courier"), journal("tether-agentd"));
            anyhow::bail!("waited 60 s for {what}: {chain}\n{courier}\n{agentd}");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The number of a host's last record.
pub fn last_record(host: &Host) -> Result<u64> {
    let line = host.sh(&format!("grep -h '^{{\"hash\"' $(ls {CHAIN}/*.jsonl | tail -n 2) | tail -n 1"))?;
    let value: Value = serde_json::from_str(line.trim()).context("a record")?;
    value["record"]["number"].as_u64().context("no number")
}

/// Waits until central has everything that the host has on record, signed.
pub fn wait_shipped(realm: &Realm, host: &Host) -> Result<u64> {
    let last = last_record(host)?;
    let what = format!("record {last} of {}", host.name());
    wait_standing(realm, host, &what, |chain| chain["signed"].as_u64() >= Some(last))?;
    Ok(last)
}
