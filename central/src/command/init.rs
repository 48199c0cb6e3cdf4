//! `tether-central init`: everything that a new central needs. The offline folder is to be taken away.

use super::{AUTHORITY, CHAIN, OFFLINE, STORE, TLS_KEY, give};
use crate::app::{META_BREAK_GLASS, META_KEYS, hash};
use crate::audit::{self, Record};
use crate::clock;
use crate::config::{FILE, Settings};
use crate::keys::{self, KEYS_SECONDS, Keys, write_secret};
use crate::rules;
use crate::store::{self, Sqlite, StoreError};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use tether_audit::Ids;
use tether_statement::{Key, Role, Typ};

/// What policies there are at first: none that permits anything.
const POLICIES: &str = include_str!("../../../packaging/policies.cedar.example");

#[derive(Args)]
pub(crate) struct Init {
    /// How central is reached, https://HOST:PORT; also the issuer of its tokens
    #[arg(long)]
    pub(crate) url: String,
    /// Where it listens
    #[arg(long, default_value = "[::]:8443")]
    pub(crate) listen: SocketAddr,
    /// A namespace of humans' names, such as @example.org; once for each
    #[arg(long = "namespace", required = true)]
    pub(crate) namespaces: Vec<String>,
}

pub(crate) fn run(folder: &Path, init: &Init) -> Result<()> {
    ensure!(init.url.starts_with("https://"), "--url: {:?} does not begin with https://", init.url);
    if folder.join(FILE).exists() {
        bail!("{} is there already; a new central needs a folder of its own", folder.join(FILE).display());
    }
    let (own, offline, tls) = (folder.join(keys::FOLDER), folder.join(OFFLINE), folder.join("tls"));
    for path in [folder, &own, &offline, &tls] {
        make_private(path)?;
    }
    for name in keys::NAMES {
        keys::make(&own, name)?;
    }
    let own = Keys::load(&own)?;
    let root = keys::make(&offline, "root")?;
    let bundle = keys::make(&offline, "bundle")?;
    let bundle = Key { kid: bundle.kid.clone(), role: Role::Bundle, x: bundle.public() };
    let now = clock::now();
    let url = init.url.trim_end_matches('/');
    let set = keys::key_set(&own, bundle, url, &init.namespaces, (1, now, now + KEYS_SECONDS))?;
    let signed = root.sign(Typ::Keys, &set)?;
    make_tls(url, &offline, folder)?;
    let settings = Settings {
        url: url.to_owned(),
        listen: init.listen,
        scheme: tether_identity::Scheme::default(),
        roots: BTreeMap::from([(root.kid.clone(), root.public())]),
        sessions: crate::config::Sessions::default(),
        limits: crate::config::Limits::default(),
        metrics: crate::config::Metrics::default(),
        gateway: crate::config::Gateway::default(),
        feed: crate::config::Feed::default(),
        audit: crate::config::Audit::default(),
        recordings: crate::config::Recordings::default(),
        providers: Vec::new(),
    };
    let break_glass = format!("break-glass-{}", tether_centrallink::random::name(32)?);
    let store = Sqlite::open(&folder.join(STORE))?;
    store::act(&store, |act| -> Result<(), StoreError> {
        act.set_meta(META_KEYS, &signed)?;
        act.set_meta(META_BREAK_GLASS, &hash(&break_glass))?;
        let about = serde_json::json!({"url": url, "root": root.kid});
        audit::write(act, "init", &Record::done("central.made", Ids::unknown("of central itself"), about)).map(drop)
    })?;
    drop(store);
    std::fs::write(folder.join(rules::POLICIES), POLICIES)?;
    flush(folder)?;
    // Last: a folder without it is not a central's.
    std::fs::write(folder.join(FILE), toml::to_string(&settings)?)?;
    give_all(folder)?;
    // The token is shown once, and what it belongs to is there from then on.
    flush(folder)?;
    std::fs::File::open(folder.join(".."))?.sync_all()?;
    println!("central's folder    {}", folder.display());
    println!("take away           {}", offline.display());
    println!("                    the root's key, the security team's bundle key, the TLS authority's key:");
    println!("                    central needs none of them, and must not have them");
    println!("break-glass token   {break_glass}");
    println!("                    lets whoever has it administer while the identity provider is down; shown once");
    println!("next                name your identity provider in {}", folder.join(FILE).display());
    Ok(())
}

/// All but the offline keys, which central's user has no business with.
fn give_all(folder: &Path) -> Result<()> {
    for below in [folder.to_owned(), folder.join(keys::FOLDER), folder.join("tls")] {
        for entry in std::fs::read_dir(&below).with_context(|| format!("{}", below.display()))? {
            let path = entry?.path();
            if path != folder.join(OFFLINE) {
                give(folder, &path)?;
            }
        }
    }
    Ok(())
}

/// Puts a folder and all that is in it on stable storage.
fn flush(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            flush(&entry.path())?;
        } else {
            std::fs::File::open(entry.path())?.sync_all()?;
        }
    }
    Ok(std::fs::File::open(folder)?.sync_all()?)
}

fn make_private(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot make {}", path.display()))
}

/// An authority, whose key stays offline, and central's certificate by it.
fn make_tls(url: &str, offline: &Path, folder: &Path) -> Result<()> {
    let authority_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "Tether central's authority");
    let certificate = authority.self_signed(&authority_key)?;
    write_secret(&offline.join("tls-authority.key.pem"), authority_key.serialize_pem().as_bytes())?;
    std::fs::write(folder.join(AUTHORITY), certificate.pem())?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let name = host_of(url).context("--url: it names no host")?;
    let mut leaf = CertificateParams::new(vec![name.to_owned()])?;
    leaf.distinguished_name.push(DnType::CommonName, "Tether central");
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    // RFC 5280, 4.2.1.1, and strict clients (Python's since 3.13) insist on it.
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&authority, &authority_key))?;
    std::fs::write(folder.join(CHAIN), leaf.pem())?;
    write_secret(&folder.join(TLS_KEY), key.serialize_pem().as_bytes())
}

/// The host of `https://HOST[:PORT]`; an IPv6 address without its brackets.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://")?.split('/').next()?;
    match rest.strip_prefix('[') {
        Some(rest) => rest.split(']').next(),
        None => rest.split(':').next(),
    }
    .filter(|host| !host.is_empty())
}
