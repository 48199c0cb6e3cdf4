//! Central's issuing side for one host, played: keys, feed, heads, resumes, and whatever forgery a test wants. The
//! real one is in `realm`.

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tether_bundle::Bundle;
use tether_identity::{HostId, Name};
use tether_sshcert::issue::KeyPair;
use tether_statement::issue::{FeedWriter, Signing};
use tether_statement::{
    Body, BundleConfirmation, BundlePin, Head, Issuer, Key, KeySet, Resume, ResumeRequest, Revocation, Role, Typ,
    digest,
};
use tether_testhost::Host;

/// `iss` of the tokens that this central issues.
pub const ISSUER: &str = "https://idp.example.org";
/// A second issuer, with a namespace of its own.
pub const SECOND_ISSUER: &str = "https://idp.example.net";
/// The bundle that grants name.
pub const BUNDLE: &str = "triage";
/// The host's id.
pub const HOST: &str = "web-01.example.org";

/// Signs for one host.
pub struct Central {
    /// Signs key sets.
    pub root: Signing,
    /// Signs heads and resumes.
    pub feed_key: Signing,
    /// Signs grants and pins.
    pub grant_key: Signing,
    /// Signs revocations.
    pub revocation_key: Signing,
    /// Countersigns hosts' audit heads.
    pub audit_key: Signing,
    /// The security team's.
    pub bundle_key: Signing,
    /// Signs the first issuer's tokens.
    pub token_key: Signing,
    /// Signs the second issuer's tokens.
    pub second_token_key: Signing,
    /// Signs certificates.
    pub ca: KeyPair,
    /// The host's feed.
    pub feed: FeedWriter,
    key_version: u64,
    uid_mark: u32,
    seen: u64,
    clock: i64,
    history: Vec<(u64, String)>,
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// 32 bytes from the kernel.
pub fn seed() -> Result<[u8; 32]> {
    use std::io::Read;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Random lower-case letters and digits.
pub fn random_name(length: usize) -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    Ok(seed()?.iter().take(length).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

impl Central {
    /// With new keys.
    pub fn new() -> Result<Self> {
        let signing = |kid: &str| Ok::<_, anyhow::Error>(Signing::from_seed(kid, seed()?));
        Ok(Self {
            root: signing("root-1")?,
            feed_key: signing("feed-1")?,
            grant_key: signing("grant-1")?,
            revocation_key: signing("revocation-1")?,
            audit_key: signing("audit-1")?,
            bundle_key: signing("bundle-1")?,
            token_key: signing("token-1")?,
            second_token_key: signing("token-2")?,
            ca: KeyPair::from_seed(seed()?),
            feed: FeedWriter::new(HOST.parse::<HostId>()?),
            key_version: 0,
            uid_mark: 0,
            seen: 0,
            clock: 0,
            history: Vec::new(),
        })
    }

    /// Central's clock, which a test may set apart from the machine's.
    pub fn now(&self) -> u64 {
        now().saturating_add_signed(self.clock)
    }

    /// Sets central's clock so many seconds apart.
    pub fn set_clock(&mut self, seconds: i64) {
        self.clock = seconds;
    }

    /// A new version of the key set.
    pub fn keys(&mut self) -> Result<String> {
        self.key_version += 1;
        let key = |signing: &Signing, role| Key { kid: signing.kid.clone(), role, x: signing.public() };
        let issuer = |iss: &str, namespace: &str, kid: &Signing| Issuer {
            iss: iss.to_owned(),
            namespaces: vec![namespace.to_owned()],
            kids: vec![kid.kid.clone()],
        };
        let set = KeySet {
            version: self.key_version,
            issued_at: self.now(),
            expires_at: self.now() + 30 * 24 * 3600,
            keys: vec![
                key(&self.feed_key, Role::Feed),
                key(&self.grant_key, Role::Grant),
                key(&self.revocation_key, Role::Revocation),
                key(&self.audit_key, Role::Audit),
                key(&self.bundle_key, Role::Bundle),
                key(&self.token_key, Role::Token),
                key(&self.second_token_key, Role::Token),
            ],
            issuers: vec![
                issuer(ISSUER, "@example.org", &self.token_key),
                issuer(SECOND_ISSUER, "@example.net", &self.second_token_key),
            ],
            user_ca: vec![self.ca.public_line()?],
        };
        Ok(self.root.sign(Typ::Keys, &set)?)
    }

    /// The host's settings: who it is, and the one root that it believes.
    pub fn host_toml(&self) -> String {
        format!("host = \"{HOST}\"\n[roots]\n{} = \"{}\"\n", self.root.kid, self.root.public())
    }

    /// Puts a file into the host's inbox as a courier does: written beside, renamed.
    pub fn drop(&self, host: &Host, name: &str, text: &str) -> Result<()> {
        let inbox = inbox(host)?;
        let beside = inbox.join(format!(".{name}"));
        // A hostile courier of a test may take the file away before it has its name.
        for _ in 0..20 {
            std::fs::write(&beside, text).with_context(|| format!("{}", beside.display()))?;
            match std::fs::rename(&beside, inbox.join(name)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => return Ok(other?),
            }
        }
        bail!("{} is taken away each time", beside.display())
    }

    /// Whether a file lies in the host's inbox.
    pub fn lies_there(&self, host: &Host, name: &str) -> Result<bool> {
        Ok(inbox(host)?.join(name).exists())
    }

    /// Signs and delivers the newest head.
    pub fn head(&self, host: &Host) -> Result<()> {
        let head = Head { host: HOST.parse()?, position: self.feed.position().clone(), time: self.now() };
        self.drop(host, "head.jws", &self.feed_key.sign(Typ::Head, &head)?)
    }

    /// Signs the next statement of the feed and delivers it, and a head with it.
    pub fn say(&mut self, host: &Host, body: &Body) -> Result<u64> {
        let (number, text) = self.sign_next(body)?;
        self.drop(host, &format!("feed-{number}.jws"), &text)?;
        self.head(host)?;
        Ok(number)
    }

    /// Signs the next statement of the feed without delivering it.
    pub fn sign_next(&mut self, body: &Body) -> Result<(u64, String)> {
        let key = match body {
            Body::Grant(_) | Body::Pin(_) => &self.grant_key,
            Body::Revocation(_) => &self.revocation_key,
        };
        let now = now().saturating_add_signed(self.clock);
        let statement = self.feed.append(key, body, now)?;
        self.history.push(statement.clone());
        Ok(statement)
    }

    /// The whole feed: number and text of every statement.
    pub fn history(&self) -> Vec<(u64, String)> {
        self.history.clone()
    }

    /// Signs a bundle's source, says that its name means it, delivers it, and confirms it.
    pub fn publish(&mut self, host: &Host, source: &str) -> Result<Bundle> {
        let (bundle, text) = self.sign_bundle(source)?;
        self.pin(host, &bundle, &text)?;
        self.deliver_bundle(host, &text)?;
        self.confirm(host, &bundle, &text, self.now())?;
        Ok(bundle)
    }

    /// A bundle, and its text as the security team signed it.
    pub fn sign_bundle(&self, source: &str) -> Result<(Bundle, String)> {
        let bundle = tether_bundle::source::compile(source)
            .map_err(|problems| anyhow!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
        let text = self.bundle_key.sign(Typ::Bundle, &bundle)?;
        Ok((bundle, text))
    }

    /// Says that a name means a bundle.
    pub fn pin(&mut self, host: &Host, bundle: &Bundle, text: &str) -> Result<()> {
        let pin = BundlePin { name: bundle.name.clone(), version: bundle.version, sha256: digest(text) };
        self.say(host, &Body::Pin(pin)).map(drop)
    }

    /// Delivers a bundle's text, whatever it is.
    pub fn deliver_bundle(&self, host: &Host, text: &str) -> Result<()> {
        self.drop(host, &format!("bundle-{}.jws", digest(text)), text)
    }

    /// The security team's word that a bundle held at a time.
    pub fn confirm(&self, host: &Host, bundle: &Bundle, text: &str, time: u64) -> Result<()> {
        let (name, version) = (bundle.name.clone(), bundle.version);
        let word = BundleConfirmation { name, version, sha256: digest(text), time };
        self.drop(host, &format!("confirm-{}.jws", bundle.name), &self.bundle_key.sign(Typ::Confirmation, &word)?)
    }

    /// Takes something back.
    pub fn revoke(&mut self, host: &Host, revocation: Revocation) -> Result<u64> {
        self.say(host, &Body::Revocation(revocation))
    }

    /// The host's question at start, once it is another than `before`.
    pub fn question(&self, host: &Host, before: Option<&str>) -> Result<ResumeRequest> {
        let start = Instant::now();
        let path = host.root()?.join("run/tether/resume-request.json");
        loop {
            let request =
                std::fs::read(&path).ok().and_then(|text| serde_json::from_slice::<ResumeRequest>(&text).ok());
            match request {
                Some(request) if Some(request.nonce.as_str()) != before => return Ok(request),
                _ if start.elapsed() > Duration::from_secs(10) => {
                    bail!("agentd asked nothing:\n{}", host.journal("tether-agentd")?)
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Answers the host's question.
    pub fn answer(&mut self, host: &Host, request: &ResumeRequest) -> Result<()> {
        self.uid_mark = self.uid_mark.max(request.uid_mark);
        self.seen = self.seen.max(request.position.number);
        let resume = Resume {
            host: HOST.parse()?,
            nonce: request.nonce.clone(),
            position: self.feed.position().clone(),
            seen: self.seen,
            uid_mark: self.uid_mark,
            time: self.now(),
        };
        self.drop(host, "resume.jws", &self.feed_key.sign(Typ::Resume, &resume)?)
    }

    /// What central has noted about the host: how far it read, and its greatest uid.
    pub fn note(&mut self, position: u64, uid_mark: u32) {
        self.seen = self.seen.max(position);
        self.uid_mark = self.uid_mark.max(uid_mark);
    }
}

/// The host's inbox, from outside.
pub fn inbox(host: &Host) -> Result<PathBuf> {
    Ok(host.root()?.join("var/spool/tether/inbox"))
}

/// The bundle's name as grants have it.
pub fn bundle_name() -> Result<Name> {
    Ok(BUNDLE.parse()?)
}

/// A token's header as this central writes it.
pub fn token_header(kid: &str) -> serde_json::Value {
    json!({"alg": "EdDSA", "typ": "delegation+jwt", "kid": kid})
}
