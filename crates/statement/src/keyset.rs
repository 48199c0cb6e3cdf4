//! Which keys play which role: the `keys` statement, signed by the offline root.

use crate::UnixTime;
use crate::jws::{self, JwsError, PublicKey, Role, Typ};
use crate::object::list;
use base64ct::{Base64, Encoding};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tether_identity::Human;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name in JWS headers.
    pub kid: String,
    /// What it may sign.
    pub role: Role,
    /// The key.
    pub x: PublicKey,
}

/// Who issues delegation tokens, with which keys, for which humans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// `iss` of its tokens.
    pub iss: String,
    /// Namespaces that it owns, such as `@example.org`. No two issuers may own the same.
    pub namespaces: Vec<String>,
    /// Its keys, by `kid`; each must have the role [`Role::Token`].
    pub kids: Vec<String>,
}

/// The payload of a `keys` statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// Grows; an older set is never taken after a newer one.
    pub version: u64,
    /// When it was signed.
    pub issued_at: UnixTime,
    /// When it stops being valid.
    pub expires_at: UnixTime,
    /// The keys.
    #[serde(deserialize_with = "list")]
    pub keys: Vec<Key>,
    /// The issuers of delegation tokens.
    #[serde(deserialize_with = "list")]
    pub issuers: Vec<Issuer>,
    /// Public keys of the SSH CA, as in authorized_keys(5), without comments.
    pub user_ca: Vec<String>,
}

/// A key set that was checked: ask it for keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys {
    set: KeySet,
    by_role: BTreeMap<(Role, String), PublicKey>,
}

impl TrustedKeys {
    /// Checks a `keys` statement against the root keys that the host's admin wrote down.
    pub fn verify(compact: &str, roots: &BTreeMap<String, PublicKey>) -> Result<Self, JwsError> {
        let set: KeySet = jws::verify(compact, Typ::Keys, |kid| roots.get(kid))?;
        Self::index(set, roots).map_err(|why| JwsError::Payload { typ: Typ::Keys, why })
    }

    fn index(set: KeySet, roots: &BTreeMap<String, PublicKey>) -> Result<Self, String> {
        let mut by_role = BTreeMap::new();
        let mut seen = BTreeMap::new();
        for Key { kid, role, x } in &set.keys {
            if kid.is_empty() {
                return Err("a key has no kid".to_owned());
            }
            if *role == Role::Root {
                return Err("a key set cannot name root keys".to_owned());
            }
            if roots.values().any(|root| root == x) {
                return Err(format!("the key {kid} is a root key"));
            }
            if seen.insert(x.to_string(), kid).is_some() {
                return Err(format!("the key {kid} stands in two roles"));
            }
            if by_role.insert((*role, kid.clone()), x.clone()).is_some() {
                return Err(format!("two keys have the kid {kid}"));
            }
        }
        let all: Vec<&PublicKey> = by_role.values().chain(roots.values()).collect();
        check_ca(&set.user_ca, &all)?;
        check_issuers(&set.issuers)?;
        check_kids(&set.issuers, &by_role)?;
        Ok(Self { set, by_role })
    }

    /// The set itself.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Whether the set may still be used.
    pub fn is_valid_at(&self, now: UnixTime) -> bool {
        now < self.set.expires_at
    }

    /// The key that may sign a `typ` under a `kid`. Tokens' keys belong to an issuer: see [`Self::issuer`].
    pub fn key(&self, typ: Typ, kid: &str) -> Option<&PublicKey> {
        self.by_role.get(&(typ.role(), kid.to_owned()))
    }

    /// An issuer by its `iss`.
    pub fn issuer(&self, iss: &str) -> Option<&Issuer> {
        self.set.issuers.iter().find(|issuer| issuer.iss == iss)
    }

    /// Checks a statement (not a token) and reads its payload.
    pub fn verify_statement<P: serde::de::DeserializeOwned>(&self, compact: &str, typ: Typ) -> Result<P, JwsError> {
        jws::verify(compact, typ, |kid| self.key(typ, kid))
    }
}

impl Issuer {
    /// Whether this issuer may speak for a human.
    pub fn owns(&self, human: &Human) -> bool {
        self.namespaces.iter().any(|namespace| human.is_in(namespace))
    }
}

/// These lines are written to a file of sshd's as they are: each must be one key and nothing more.
fn check_ca(lines: &[String], keys: &[&PublicKey]) -> Result<(), String> {
    for line in lines {
        let blob = ca_blob(line).ok_or_else(|| format!("the CA key {line:?} is not TYPE BASE64"))?;
        // The blob of an Ed25519 key ends with its 32 bytes.
        if keys.iter().any(|key| blob.ends_with(key.as_bytes())) {
            return Err(format!("the CA key {line:?} has another role"));
        }
    }
    Ok(())
}

/// The key's bytes, if they begin with the type that the line names (RFC 4253, 6.6).
fn ca_blob(line: &str) -> Option<Vec<u8>> {
    let (kind, text) = line.split_once(' ')?;
    let blob = Base64::decode_vec(text).ok()?;
    let length = u32::try_from(kind.len()).ok()?.to_be_bytes();
    let named = blob.strip_prefix(&length)?.starts_with(kind.as_bytes());
    (named && !kind.is_empty()).then_some(blob)
}

/// An issuer that could use another's key could speak for the other's humans.
fn check_kids(issuers: &[Issuer], keys: &BTreeMap<(Role, String), PublicKey>) -> Result<(), String> {
    let mut users: BTreeMap<&str, &str> = BTreeMap::new();
    for Issuer { iss, kids, .. } in issuers {
        for kid in kids {
            if !keys.contains_key(&(Role::Token, kid.clone())) {
                return Err(format!("{kid:?} of {iss} is no token key"));
            }
            if let Some(other) = users.insert(kid, iss) {
                return Err(format!("{other} and {iss} both use the kid {kid}"));
            }
        }
    }
    Ok(())
}

/// Domains are compared without regard to case: two spellings must not have two owners.
fn check_issuers(issuers: &[Issuer]) -> Result<(), String> {
    let mut owners: BTreeMap<String, &str> = BTreeMap::new();
    let mut names: BTreeMap<&str, ()> = BTreeMap::new();
    for issuer in issuers {
        if issuer.iss.is_empty() {
            return Err("an issuer has no name".to_owned());
        }
        if names.insert(&issuer.iss, ()).is_some() {
            return Err(format!("the issuer {} stands twice", issuer.iss));
        }
        for namespace in &issuer.namespaces {
            if !namespace.starts_with('@') || namespace.len() < 2 {
                return Err(format!("the namespace {namespace:?} of {} does not start with '@'", issuer.iss));
            }
            if let Some(other) = owners.insert(namespace.to_lowercase(), &issuer.iss) {
                return Err(format!("{other} and {} both own {namespace}", issuer.iss));
            }
        }
    }
    Ok(())
}
