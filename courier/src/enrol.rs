//! `tether enroll`: as root, once. The key is made here and stays here; the root's key comes with the token, so a
//! central that somebody else plays is found out at once.

use crate::audit::START_FILE;
use crate::inbox::Inbox;
use crate::recordings;
use crate::settings::{AUTHORITY_FILE, INBOX, KEY_FILE, SETTINGS_FILE, Settings};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use tether_centrallink::wire::{ChainStart, EnrolRequest, EnrolToken, Enrolled};
use tether_centrallink::{Caller, Central, Credential, random};
use tether_oauth::issue::PrivateKey;
use tether_statement::{PublicKey, TrustedKeys};

/// agentd, which makes the audit chain's first key.
const AGENTD: &str = "/usr/libexec/tether/tether-agentd";
/// agentd's settings.
const HOST_FILE: &str = "/etc/tether/host.toml";
/// How far agentd has read its feed. Enrolled anew it reads from the start: another central has another feed, and one
/// that was restored, or whose keys are others now, has signed it anew. What central has heard of this host once stays
/// used up there, so nothing that was granted before opens again.
const FEED_FILE: &str = "/var/lib/tether/trust.json";
/// The most bytes of a token: it holds an authority's certificate.
const TOKEN_MAX: u64 = 256 * 1024;
/// The units that enrolment starts.
const UNITS: [&str; 2] = ["tether-agentd.service", "tether-courier.service"];

#[derive(Args)]
pub(crate) struct Enrol {
    /// Central's URL, https://…
    #[arg(long)]
    central: String,
    /// The one-time token that an admin of central has made for this host. Others on the machine can read it here
    #[arg(long, required_unless_present = "token_file", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token; - for stdin
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Enrol anew, with another key
    #[arg(long)]
    again: bool,
}

pub(crate) fn run(enrol: &Enrol) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "this needs root; try: sudo tether enroll …");
    if Path::new(HOST_FILE).exists() && !enrol.again {
        bail!("{HOST_FILE} is there already: this host is enrolled; with --again it gets another key and central");
    }
    let text = token_of(enrol.token.as_deref(), enrol.token_file.as_deref())?;
    let token = EnrolToken::parse(text.trim()).context("it is not an enrolment token")?;
    let root: PublicKey = token.root.parse().context("the enrolment token's root key")?;
    let seed = random::seed()?;
    let key = PrivateKey::from_seed(&seed)?;
    let central = Central::new(&enrol.central, token.authority.as_bytes())?;
    let request = EnrolRequest { secret: token.secret.clone(), audit: start()? };
    let caller = Credential::Key(Caller { key: &key, token: None });
    let enrolled: Enrolled = central.post("/v1/host/enrol", &request, caller)?;
    let roots = BTreeMap::from([(token.root_kid.clone(), root)]);
    TrustedKeys::verify(&enrolled.keys, &roots)
        .context("the key set that central gave is not signed by the root that the token names; nothing was changed")?;
    write_key(&seed)?;
    write(AUTHORITY_FILE, &token.authority)?;
    write(SETTINGS_FILE, &toml::to_string(&Settings { central: central.url().to_owned() })?)?;
    write(HOST_FILE, &host_toml(&enrolled, &token))?;
    let begun = ships().and_then(|()| begin_anew(enrol.again, &enrolled));
    // Whatever came of it: without agentd nobody ends a session whose time is over.
    for unit in UNITS {
        let done = Command::new("systemctl").args(["restart", unit]).status();
        let done = done.with_context(|| format!("systemctl restart {unit}"))?;
        ensure!(done.success(), "systemctl restart {unit}: {done}");
    }
    begun?;
    println!("enrolled as {} with {}; next: tether doctor", enrolled.host, central.url());
    Ok(())
}

/// From now on there is somebody to have this host's recordings: what central does not have is not removed here.
fn ships() -> Result<()> {
    let mark = Path::new(recordings::FOLDER).join("ships");
    match std::fs::File::create(&mark).and_then(|file| file.sync_all()) {
        // agentd has never run here, and makes the folder; `tether enroll --again` makes the mark.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.with_context(|| format!("{}", mark.display())),
    }
}

/// What the host's audit chain begins with, as agentd has made it: central holds the host to it from then on. None on a
/// host whose agentd signs no chain.
fn start() -> Result<Option<ChainStart>> {
    // The key is agentd's business; one that is there stays.
    let made = Command::new(AGENTD).arg("--make-audit-key").status().with_context(|| AGENTD.to_owned())?;
    ensure!(made.success(), "{AGENTD} --make-audit-key: {made}");
    match std::fs::read(START_FILE) {
        Ok(text) => Ok(Some(serde_json::from_slice(&text).with_context(|| START_FILE.to_owned())?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| START_FILE.to_owned()),
    }
}

/// The token as it stands on the command line, in a file, or on stdin.
fn token_of(token: Option<&str>, file: Option<&Path>) -> Result<String> {
    let read = |from: &mut dyn Read, name: &str| -> Result<String> {
        let mut text = String::new();
        let read = from.take(TOKEN_MAX).read_to_string(&mut text);
        read.with_context(|| format!("cannot read the token from {name}"))?;
        Ok(text)
    };
    match (token, file) {
        (Some(token), _) => Ok(token.to_owned()),
        (None, Some(file)) if file == Path::new("-") => read(&mut std::io::stdin().lock(), "stdin"),
        (None, Some(file)) => {
            let name = file.display().to_string();
            let mut file = std::fs::File::open(file).with_context(|| format!("cannot open {name}"))?;
            read(&mut file, &name)
        }
        (None, None) => bail!("--token-file FILE, or --token TOKEN"),
    }
}

fn begin_anew(again: bool, enrolled: &Enrolled) -> Result<()> {
    if again {
        forget_feed()?;
    }
    // As the inbox's owner would have written it: agentd reads it like anything else there.
    Inbox::new(Path::new(INBOX)).put("keys.jws", &enrolled.keys)
}

/// With agentd stopped: it writes the file whenever it has read something. Without it agentd ends the sessions that it
/// finds: another central may have granted them.
fn forget_feed() -> Result<()> {
    let done = Command::new("systemctl").arg("stop").args(UNITS).status().context("systemctl stop")?;
    ensure!(done.success(), "systemctl stop: {done}");
    match std::fs::remove_file(FEED_FILE) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {FEED_FILE}"))
        }
        _ => Ok(()),
    }
}

fn host_toml(enrolled: &Enrolled, token: &EnrolToken) -> String {
    let text = |text: &str| toml::Value::String(text.to_owned()).to_string();
    format!(
        "# Written by `tether enroll`.\nhost = {}\n\n[roots]\n{} = {}\n",
        text(enrolled.host.as_str()),
        text(&token.root_kid),
        text(&token.root)
    )
}

/// Only the courier may read its key; whose the inbox is, is the courier.
fn write_key(seed: &[u8; 32]) -> Result<()> {
    let about = std::fs::metadata(INBOX).with_context(|| format!("{INBOX}; is the package installed?"))?;
    let owner = (Some(rustix::fs::Uid::from_raw(about.uid())), Some(rustix::fs::Gid::from_raw(about.gid())));
    let folder = Path::new(KEY_FILE).parent().context("the key's folder")?;
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    rustix::fs::chown(folder, owner.0, owner.1)?;
    let beside = format!("{KEY_FILE}.new");
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(seed)?;
    rustix::fs::fchown(&file, owner.0, owner.1)?;
    file.sync_all()?;
    place(&beside, KEY_FILE)
}

/// The token is used up by now: what it was for must outlive a power cut.
fn place(beside: &str, path: &str) -> Result<()> {
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    let placed = std::fs::rename(beside, path).and_then(|()| std::fs::File::open(folder)?.sync_all());
    placed.with_context(|| format!("cannot place {path}"))
}

fn write(path: &str, text: &str) -> Result<()> {
    let beside = format!("{path}.new");
    let mut file = std::fs::File::create(&beside).with_context(|| format!("cannot write {beside}"))?;
    file.write_all(text.as_bytes())?;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.sync_all()?;
    place(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_read_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "abc\n").unwrap();
        assert_eq!(token_of(None, Some(&file)).unwrap().trim(), "abc");
        assert_eq!(token_of(Some("here"), None).unwrap(), "here");
        assert!(token_of(None, None).is_err());
        assert!(token_of(None, Some(&folder.path().join("none"))).is_err());
        // Not more than a token can be: a device that never ends is no token.
        let endless = token_of(None, Some(Path::new("/dev/zero"))).unwrap();
        assert!(EnrolToken::parse(endless.trim()).is_none());
    }
}
