//! Other keys for central itself. Nothing that is signed becomes void in between, since for a while a key set names
//! both:
//!
//! 1. [`next`] makes keys beside those in use; the root signs the set that names both, and an admin publishes it.
//! 2. [`rotate`] puts the new ones in their place. The old private halves are gone with that.
//! 3. [`without_old`] is the set that names the new ones alone. Central takes it only when every host has read what
//!    the old ones signed.

use crate::keys::{self, KEYS_SECONDS, Keys};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tether_statement::{Key, KeySet, PublicKey, Role, TrustedKeys, UnixTime};

/// Where keys wait for their turn, below the folder of those in use.
const NEXT: &str = "next";

/// The role of a key by its file's name; the SSH CA has none, it stands apart.
fn role_of(name: &str) -> Option<Role> {
    match name {
        "feed" => Some(Role::Feed),
        "grant" => Some(Role::Grant),
        "revocation" => Some(Role::Revocation),
        "audit" => Some(Role::Audit),
        "token" => Some(Role::Token),
        _ => None,
    }
}

/// Makes new keys with these names beside those in use, or takes the ones that were made before; the key set in
/// which both stand.
pub fn next(own: &Path, names: &[&str], trusted: &TrustedKeys, url: &str, now: UnixTime) -> Result<KeySet> {
    ensure!(!names.is_empty(), "which keys? {}", keys::NAMES.join(", "));
    let waiting = own.join(NEXT);
    make_private(&waiting)?;
    for name in names {
        ensure!(keys::NAMES.contains(name), "{name:?} is none of central's keys: {}", keys::NAMES.join(", "));
        if !file(&waiting, name).exists() {
            keys::make(&waiting, name)?;
        }
    }
    let new = Keys::load_each(|name| place(own, name))?;
    let mut set = renewed(trusted, now)?;
    for key in new.public() {
        let known = set.keys.iter().any(|one| one.x == key.x);
        if known {
            continue;
        }
        if key.role == Role::Token {
            let issuer = set.issuers.iter_mut().find(|issuer| issuer.iss == url);
            issuer.with_context(|| format!("the key set does not name the issuer {url}"))?.kids.push(key.kid.clone());
        }
        set.keys.push(key);
    }
    let ca = new.ca.public_line()?;
    if !set.user_ca.contains(&ca) {
        set.user_ca.push(ca);
    }
    Ok(set)
}

/// Puts the new keys in the place of the old, if the key set in force names them. Which ones.
pub fn rotate(own: &Path, trusted: &TrustedKeys, url: &str) -> Result<Vec<&'static str>> {
    let waiting = own.join(NEXT);
    let names: Vec<&'static str> = keys::NAMES.into_iter().filter(|name| file(&waiting, name).exists()).collect();
    ensure!(!names.is_empty(), "no new keys wait in {}; `tether-central keys next` makes them", waiting.display());
    Keys::load_each(|name| place(own, name))?.check(trusted, url).context(
        "hosts would not believe the new keys yet: let the root sign the set that `keys next` printed, and publish it",
    )?;
    for name in &names {
        let (from, to) = (file(&waiting, name), file(own, name));
        std::fs::rename(&from, &to).with_context(|| format!("cannot put {} in its place", from.display()))?;
    }
    std::fs::File::open(own)?.sync_all()?;
    Ok(names)
}

/// The key set in force with another end.
pub fn renewed(trusted: &TrustedKeys, now: UnixTime) -> Result<KeySet> {
    let set = trusted.set();
    let version = set.version.checked_add(1).context("there is no version after this one")?;
    Ok(KeySet { version, issued_at: now, expires_at: now + KEYS_SECONDS, ..set.clone() })
}

/// The key set without what central used before: of its own roles the keys in use alone. The security team's keys and
/// other issuers' stay as they are.
pub fn without_old(own: &Path, trusted: &TrustedKeys, url: &str, now: UnixTime) -> Result<KeySet> {
    let used = Keys::load(own)?;
    used.check(trusted, url)?;
    let mut set = renewed(trusted, now)?;
    let stays: Vec<PublicKey> = used.public().into_iter().map(|key| key.x).collect();
    let ours: Vec<String> =
        set.issuers.iter().filter(|issuer| issuer.iss == url).flat_map(|issuer| issuer.kids.clone()).collect();
    set.keys.retain(|key| match key.role {
        Role::Feed | Role::Grant | Role::Revocation | Role::Audit => stays.contains(&key.x),
        Role::Token => stays.contains(&key.x) || !ours.contains(&key.kid),
        Role::Bundle | Role::Root => true,
    });
    let kept: Vec<String> = set.keys.iter().map(|key| key.kid.clone()).collect();
    for issuer in &mut set.issuers {
        issuer.kids.retain(|kid| kept.contains(kid));
    }
    set.user_ca = vec![used.ca.public_line()?];
    Ok(set)
}

/// Where a key is that is to be used next: beside, if there is a new one.
fn place(own: &Path, name: &str) -> PathBuf {
    let waiting = own.join(NEXT);
    if file(&waiting, name).exists() { waiting } else { own.to_owned() }
}

fn file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.with_context(|| format!("cannot make {}", path.display()))
}

impl Keys {
    /// The public halves that a key set names by role.
    pub fn public(&self) -> Vec<Key> {
        let all = [
            ("feed", &self.feed),
            ("grant", &self.grant),
            ("revocation", &self.revocation),
            ("token", &self.token),
            ("audit", &self.audit),
        ];
        let key = |(name, signing): (&str, &tether_statement::issue::Signing)| {
            Some(Key { kid: signing.kid.clone(), role: role_of(name)?, x: signing.public() })
        };
        all.into_iter().filter_map(key).collect()
    }
}
