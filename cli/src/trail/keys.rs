//! Central's keys for countersignatures: key sets that the offline root has signed.

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tether_identity::HostId;
use tether_statement::{Countersignature, FeedError, JwsError, PublicKey, TrustedKeys};

/// What agentd keeps of trust, the newest key set among it.
const TRUST: &str = "/var/lib/tether/trust.json";

/// The key sets of one or more `keys` statements. None: countersignatures are not looked at.
#[derive(Debug, Default)]
pub struct Keys {
    sets: Vec<TrustedKeys>,
    /// Whether there may be older sets, which are not here.
    newest_only: bool,
}

/// Why a countersignature is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unbelieved {
    /// It does not hold.
    Wrong(String),
    /// Its key is in no set that is here, and older sets are not here.
    Unchecked,
}

impl Keys {
    /// Reads key sets, each signed by a root. `roots` are `NAME=KEY`, or keys alone.
    pub fn read(files: &[PathBuf], roots: &[String]) -> Result<Self> {
        let sets = files.iter().map(|file| read_set(file, roots)).collect::<Result<Vec<_>>>()?;
        Ok(Self { sets, newest_only: false })
    }

    /// The key set that agentd has, if one of the roots has signed it. agentd keeps the newest alone, so what an older
    /// one's key has countersigned cannot be checked with it.
    pub fn of_host(roots: &[String]) -> Self {
        let text = std::fs::read_to_string(TRUST).unwrap_or_default();
        let kept: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let set = kept["keys"].as_str().and_then(|set| read_text(set, Path::new(TRUST), roots).ok());
        Self { sets: set.into_iter().collect(), newest_only: true }
    }

    /// Whether there is a key set at all.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// The countersignature, and the name of the key, if one of the sets that were good at its time has signed it.
    pub fn verify(&self, compact: &str, host: &HostId) -> Result<Countersignature, Unbelieved> {
        let mut why = "no key set was given".to_owned();
        for set in &self.sets {
            match Countersignature::verify(compact, set, host) {
                Ok(found) if set.is_valid_at(found.time) => return Ok(found),
                Ok(_) => "it was made after the end of the key set that has its key".clone_into(&mut why),
                Err(FeedError::Jws(JwsError::UnknownKey { .. })) if self.newest_only => {
                    return Err(Unbelieved::Unchecked);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(Unbelieved::Wrong(why))
    }

    /// The public keys of the role `audit`, by name: they also sign checkpoints of the log.
    pub fn audit(&self) -> Vec<(String, PublicKey)> {
        let keys = self.sets.iter().flat_map(|set| &set.set().keys);
        let of_role = keys.filter(|key| key.role == tether_statement::Role::Audit);
        of_role.map(|key| (key.kid.clone(), key.x.clone())).collect()
    }
}

/// Every `*.jws` of an export's `keys`.
pub fn in_export(folder: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(folder.join("keys")) else { return Ok(Vec::new()) };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|ending| ending == "jws"));
    files.sort();
    Ok(files)
}

fn read_set(file: &Path, roots: &[String]) -> Result<TrustedKeys> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    read_text(text.trim(), file, roots)
}

fn read_text(text: &str, file: &Path, roots: &[String]) -> Result<TrustedKeys> {
    let mut named = BTreeMap::new();
    for root in roots {
        let (name, key) = match root.split_once('=') {
            // Base64url has no padding here, so a '=' always follows a name.
            Some((name, key)) => (name.to_owned(), key),
            None => (kid_of(text).with_context(|| format!("{} is no signed key set", file.display()))?, root.as_str()),
        };
        let key: PublicKey = key.parse().with_context(|| format!("--root {root:?} is no Ed25519 key in base64url"))?;
        if TrustedKeys::verify(text, &BTreeMap::from([(name.clone(), key.clone())])).is_ok() {
            named.insert(name, key);
        }
    }
    ensure!(!roots.is_empty(), "whose key sets are believed? --root KEY, as host.toml has it under [roots]");
    if named.is_empty() {
        bail!("{} is not a key set that one of the given roots has signed", file.display());
    }
    TrustedKeys::verify(text, &named).with_context(|| format!("{} does not hold", file.display()))
}

/// The name of the key in a JWS' header; only to find out which root it says it is by.
fn kid_of(compact: &str) -> Option<String> {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let header = Base64UrlUnpadded::decode_vec(compact.split('.').next()?).ok()?;
    let header: serde_json::Value = serde_json::from_slice(&header).ok()?;
    header.get("kid")?.as_str().map(ToOwned::to_owned)
}

/// The roots of this host's settings, as `NAME=KEY`; none if there are none to be read.
pub fn roots_of_host() -> Vec<String> {
    let text = std::fs::read_to_string("/etc/tether/host.toml").unwrap_or_default();
    let settings: toml::Table = text.parse().unwrap_or_default();
    let roots = settings.get("roots").and_then(toml::Value::as_table);
    let line = |(name, key): (&String, &toml::Value)| key.as_str().map(|key| format!("{name}={key}"));
    roots.into_iter().flatten().filter_map(line).collect()
}
