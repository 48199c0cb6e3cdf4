//! `tether-central init`: everything that a new central needs. The offline folder is to be taken away.

use crate::app::{META_BREAK_GLASS, META_KEYS, hash};
use crate::audit::{self, Record};
use crate::clock;
use crate::config::{FILE, Settings};
use crate::keys::{self, Keys, write_secret};
use crate::store::{self, Sqlite, StoreError};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use tether_audit::Ids;
use tether_statement::{Key, Role, Typ};

/// How long the first key set holds, in seconds.
const KEYS_SECONDS: u64 = 90 * 24 * 3600;
/// What policies there are at first: none that permits anything.
const POLICIES: &str = include_str!("../../../packaging/policies.cedar.example");

#[derive(Args)]
pub(super) struct Init {
    /// How central is reached, https://HOST:PORT; also the issuer of its tokens
    #[arg(long)]
    url: String,
    /// Where it listens
    #[arg(long, default_value = "[::]:8443")]
    listen: SocketAddr,
    /// A namespace of humans' names, such as @example.org; once for each
    #[arg(long = "namespace", required = true)]
    namespaces: Vec<String>,
}

pub(super) fn run(folder: &Path, init: &Init) -> Result<()> {
    ensure!(init.url.starts_with("https://"), "--url: {:?} does not begin with https://", init.url);
    if folder.join(FILE).exists() {
        bail!("{} is there already; a new central needs a folder of its own", folder.join(FILE).display());
    }
    let (own, offline, tls) = (folder.join("keys"), folder.join("offline"), folder.join("tls"));
    for path in [folder, &own, &offline, &tls] {
        make_private(path)?;
    }
    for name in ["feed", "grant", "revocation", "token", "ca"] {
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
    make_tls(url, &offline, &tls)?;
    let settings = Settings {
        url: url.to_owned(),
        listen: init.listen,
        scheme: tether_identity::Scheme::default(),
        roots: BTreeMap::from([(root.kid.clone(), root.public())]),
        sessions: crate::config::Sessions::default(),
        feed: crate::config::Feed::default(),
        providers: Vec::new(),
    };
    let break_glass = format!("break-glass-{}", tether_centrallink::random::name(32)?);
    let store = Sqlite::open(&folder.join("central.db"))?;
    store::act(&store, |act| -> Result<(), StoreError> {
        act.set_meta(META_KEYS, &signed)?;
        act.set_meta(META_BREAK_GLASS, &hash(&break_glass))?;
        let about = serde_json::json!({"url": url, "root": root.kid});
        audit::write(act, "init", &Record::done("central.made", Ids::unknown("of central itself"), about))
    })?;
    std::fs::write(folder.join("policies.cedar"), POLICIES)?;
    // Last: a folder without it is not a central's.
    std::fs::write(folder.join(FILE), toml::to_string(&settings)?)?;
    println!("central's folder    {}", folder.display());
    println!("take away           {}", offline.display());
    println!("                    the root's key, the security team's bundle key, the TLS authority's key:");
    println!("                    central needs none of them, and must not have them");
    println!("break-glass token   {break_glass}");
    println!("                    lets whoever has it administer while the identity provider is down; shown once");
    println!("next                name your identity provider in {}", folder.join(FILE).display());
    Ok(())
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
fn make_tls(url: &str, offline: &Path, tls: &Path) -> Result<()> {
    let authority_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    authority.distinguished_name.push(DnType::CommonName, "Tether central's authority");
    let certificate = authority.self_signed(&authority_key)?;
    write_secret(&offline.join("tls-authority.key.pem"), authority_key.serialize_pem().as_bytes())?;
    std::fs::write(tls.join("authority.pem"), certificate.pem())?;
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let name = host_of(url).context("--url: it names no host")?;
    let mut leaf = CertificateParams::new(vec![name.to_owned()])?;
    leaf.distinguished_name.push(DnType::CommonName, "Tether central");
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = leaf.signed_by(&key, &Issuer::from_params(&authority, &authority_key))?;
    std::fs::write(tls.join("chain.pem"), leaf.pem())?;
    write_secret(&tls.join("key.pem"), key.serialize_pem().as_bytes())
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
