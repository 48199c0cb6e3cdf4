//! Central's own keys, one file each, one role each. None of them signs bundles or key sets.

use anyhow::{Context, Result, ensure};
use base64ct::{Base64UrlUnpadded, Encoding};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tether_audit::log::NoteSigner;
use tether_sshcert::issue::KeyPair;
use tether_statement::issue::Signing;
use tether_statement::{Issuer, Key, KeySet, Role, TrustedKeys};

/// Where they are in central's folder.
pub const FOLDER: &str = "keys";
/// Their names, a file and a role each.
pub const NAMES: [&str; 6] = ["feed", "grant", "revocation", "token", "audit", "ca"];
/// How long a key set holds, in seconds.
pub const KEYS_SECONDS: u64 = 90 * 24 * 3600;

/// A private key as a file holds it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    kid: String,
    /// 32 bytes, base64url.
    seed: String,
}

/// What central signs with.
pub struct Keys {
    /// Heads and resumes.
    pub feed: Signing,
    /// Grants and pins.
    pub grant: Signing,
    /// Revocations.
    pub revocation: Signing,
    /// Delegation tokens.
    pub token: Signing,
    /// Countersignatures of hosts' audit heads, and checkpoints of the log.
    pub audit: Signing,
    /// The same as the log's key signs notes.
    audit_seed: [u8; 32],
    /// SSH certificates.
    pub ca: KeyPair,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Keys")
    }
}

/// Makes a new key in a file that only its owner may read.
pub fn make(folder: &Path, name: &str) -> Result<Signing> {
    let seed = tether_centrallink::random::seed()?;
    let kid = format!("{name}-{}", tether_centrallink::random::name(6)?);
    let file = KeyFile { kid: kid.clone(), seed: Base64UrlUnpadded::encode_string(&seed) };
    write_secret(&folder.join(format!("{name}.json")), &serde_json::to_vec_pretty(&file)?)?;
    Ok(Signing::from_seed(&kid, seed))
}

/// Writes a new file that only its owner may read.
pub fn write_secret(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot make {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let flushed = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| File::open(folder)?.sync_all());
    flushed.with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a key.
pub fn load(folder: &Path, name: &str) -> Result<Signing> {
    let (kid, seed) = read(folder, name)?;
    Ok(Signing::from_seed(&kid, seed))
}

fn read(folder: &Path, name: &str) -> Result<(String, [u8; 32])> {
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: KeyFile = serde_json::from_str(&text).with_context(|| format!("{}", path.display()))?;
    let seed = Base64UrlUnpadded::decode_vec(&file.seed).ok().and_then(|bytes| bytes.try_into().ok());
    Ok((file.kid, seed.with_context(|| format!("{}: the seed is not base64url of 32 bytes", path.display()))?))
}

impl Keys {
    /// Reads all of them.
    pub fn load(folder: &Path) -> Result<Self> {
        Self::load_each(|_| folder.to_owned())
    }

    /// The same, where each may be in another folder.
    pub fn load_each(folder_of: impl Fn(&str) -> PathBuf) -> Result<Self> {
        let load = |name: &str| load(&folder_of(name), name);
        Ok(Self {
            feed: load("feed")?,
            grant: load("grant")?,
            revocation: load("revocation")?,
            audit: load("audit")?,
            audit_seed: read(&folder_of("audit"), "audit")?.1,
            token: load("token")?,
            ca: KeyPair::from_seed(read(&folder_of("ca"), "ca")?.1),
        })
    }

    /// Who signs the checkpoints of a log with this name: the audit key. What it signs there is text of lines, and no
    /// JWS is.
    pub fn note_signer(&self, origin: &str) -> Option<NoteSigner> {
        NoteSigner::new(origin, &self.audit_seed)
    }

    /// Whether a key set gives each key its role: what is signed with the others no host would believe.
    pub fn check(&self, trusted: &TrustedKeys, url: &str) -> Result<()> {
        for (key, role) in [
            (&self.feed, Role::Feed),
            (&self.grant, Role::Grant),
            (&self.revocation, Role::Revocation),
            (&self.audit, Role::Audit),
            (&self.token, Role::Token),
        ] {
            let known =
                trusted.set().keys.iter().any(|one| one.kid == key.kid && one.role == role && one.x == key.public());
            ensure!(known, "the key set does not name {} for the role {role:?}", key.kid);
        }
        let issuer = trusted.issuer(url).with_context(|| format!("the key set does not name the issuer {url}"))?;
        ensure!(issuer.kids.contains(&self.token.kid), "the key set does not give {} the key {}", url, self.token.kid);
        ensure!(trusted.set().user_ca.contains(&self.ca.public_line()?), "the key set does not name the SSH CA");
        Ok(())
    }
}

/// The key set that the root is to sign for these keys.
pub fn key_set(
    keys: &Keys,
    bundle: Key,
    url: &str,
    namespaces: &[String],
    (version, issued_at, expires_at): (u64, u64, u64),
) -> Result<KeySet> {
    let key = |signing: &Signing, role| Key { kid: signing.kid.clone(), role, x: signing.public() };
    Ok(KeySet {
        version,
        issued_at,
        expires_at,
        keys: vec![
            key(&keys.feed, Role::Feed),
            key(&keys.grant, Role::Grant),
            key(&keys.revocation, Role::Revocation),
            key(&keys.audit, Role::Audit),
            key(&keys.token, Role::Token),
            bundle,
        ],
        issuers: vec![Issuer {
            iss: url.to_owned(),
            namespaces: namespaces.to_vec(),
            kids: vec![keys.token.kid.clone()],
        }],
        user_ca: vec![keys.ca.public_line()?],
    })
}
