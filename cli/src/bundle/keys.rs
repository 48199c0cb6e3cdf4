//! `sign`, `confirm` and `verify`: Ed25519 keys as files.

use super::input::{load, text, write};
use crate::Found;
use anyhow::{Context, Result, anyhow, bail};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tether_bundle::Bundle;
use tether_identity::Thumbprint;
use tether_statement::issue::Signing;
use tether_statement::{BundleConfirmation, PublicKey, Typ, digest, jws};

/// What stands before the 32 bytes of an Ed25519 private key in PKCS#8 (RFC 8410, 7).
const PRIVATE: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The same for a public key.
const PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Signs what a host would take, and nothing else.
pub fn sign(file: &Path, key: &Path, kid: Option<&str>, output: Option<&Path>, json: bool) -> Result<Found> {
    let loaded = load(file)?;
    let signing = signing(key, kid)?;
    let compact = signing.sign(Typ::Bundle, &loaded.bundle)?;
    if compact.len() > Typ::Bundle.longest() {
        bail!("the signed bundle has {} characters, a host takes at most {}", compact.len(), Typ::Bundle.longest());
    }
    let Bundle { name, version, .. } = &loaded.bundle;
    let sha256 = digest(&compact);
    if json && output.is_some() {
        println!("{}", json!({"name": name, "version": version, "kid": signing.kid, "sha256": sha256}));
    }
    write(output, &(compact + "\n"))?;
    eprintln!("tether: {name} version {version}, signed by {}; a pin names it by {sha256}", signing.kid);
    Ok(Found::Fine)
}

/// Says that a bundle which this very key signed holds now. It names the key as the bundle does, unless told otherwise.
pub fn confirm(file: &Path, key: &Path, kid: Option<&str>, output: Option<&Path>) -> Result<Found> {
    let compact = text(file)?;
    let compact = compact.trim_end();
    let seed = private(key)?;
    let (bundle, found) = verified(compact, &Signing::from_seed("", seed).public())
        .with_context(|| format!("{}: only who signed a bundle can confirm it", file.display()))?;
    let signing = Signing::from_seed(kid.unwrap_or(&found), seed);
    let Bundle { name, version, .. } = bundle;
    let time = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs();
    let word = BundleConfirmation { name: name.clone(), version, sha256: digest(compact), time };
    write(output, &(signing.sign(Typ::Confirmation, &word)? + "\n"))?;
    eprintln!("tether: {name} version {version} confirmed at {time}, signed by {}", signing.kid);
    Ok(Found::Fine)
}

/// A bundle that a key signed and a host would take, and how it names the key.
fn verified(compact: &str, key: &PublicKey) -> Result<(Bundle, String)> {
    let mut kid = String::new();
    let bundle: Bundle = jws::verify(compact, Typ::Bundle, |found| {
        kid = found.to_owned();
        Some(key)
    })?;
    Ok((bundle.check()?, kid))
}

fn signing(key: &Path, kid: Option<&str>) -> Result<Signing> {
    let seed = private(key)?;
    let thumbprint = Thumbprint::of_ed25519(Signing::from_seed("", seed).public().as_bytes());
    Ok(Signing::from_seed(kid.unwrap_or(thumbprint.as_str()), seed))
}

/// Prints what a signed bundle is, if the key signed it and a host would take it.
pub fn verify(file: &Path, key: &Path, json: bool) -> Result<Found> {
    let compact = text(file)?;
    let compact = compact.trim_end();
    let key = public(key)?;
    let (bundle, kid) = match verified(compact, &key) {
        Ok(found) => found,
        Err(error) => {
            if json {
                println!("{}", json!({"holds": false, "why": format!("{error:#}")}));
            } else {
                println!("{} does NOT hold: {error:#}", file.display());
            }
            return Ok(Found::Something);
        }
    };
    let (name, version, rules, sha256) = (&bundle.name, bundle.version, bundle.rules.len(), digest(compact));
    if json {
        let found =
            json!({"holds": true, "name": name, "version": version, "rules": rules, "kid": kid, "sha256": sha256});
        println!("{found}");
    } else {
        println!("{} holds: {name} version {version}, {rules} rules, signed by {kid}, digest {sha256}", file.display());
    }
    Ok(Found::Fine)
}

fn private(path: &Path) -> Result<[u8; 32]> {
    let text = text(path)?;
    let mode = std::fs::metadata(path).map(|about| about.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        eprintln!("tether: hint: others can read {}; chmod 600", path.display());
    }
    let bytes = match pem(&text, "PRIVATE KEY") {
        Some(der) => der.strip_prefix(PRIVATE.as_slice()).map(<[u8]>::to_vec),
        None => bare(&text),
    };
    bytes.and_then(|bytes| bytes.try_into().ok()).with_context(|| {
        format!(
            "{} is no Ed25519 private key: PKCS#8 PEM without a password, or 32 bytes in base64url or hex",
            path.display()
        )
    })
}

fn public(path: &Path) -> Result<PublicKey> {
    let text = text(path)?;
    let bytes = match pem(&text, "PUBLIC KEY") {
        Some(der) => der.strip_prefix(PUBLIC.as_slice()).map(<[u8]>::to_vec),
        None => bare(&text),
    };
    let wrong = || anyhow!("{} is no Ed25519 public key: PEM, or 32 bytes in base64url", path.display());
    let bytes = bytes.filter(|bytes| bytes.len() == 32).ok_or_else(wrong)?;
    Base64UrlUnpadded::encode_string(&bytes).parse().map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// The bytes between the two lines that name it.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, after) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (inside, _) = after.split_once(&format!("-----END {label}-----"))?;
    let base64: String = inside.split_ascii_whitespace().collect();
    Base64::decode_vec(&base64).ok()
}

/// One line of base64url or hex.
fn bare(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    if text.len() != 64 {
        return Base64UrlUnpadded::decode_vec(text).ok();
    }
    let digit = |at: usize| text.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    (0..64).step_by(2).map(digit).collect()
}
