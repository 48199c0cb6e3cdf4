//! A session: exchange, certificate, files.

use crate::keygen::{load, seed, write_private};
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tether_centrallink::wire::{Certified, Exchanged};
use tether_centrallink::{Caller, Central, Credential, random};
use tether_identity::{Address, HostId, Name};
use tether_oauth::issue::{Assertion, PrivateKey};
use tether_oauth::{GRANT_TYPE, TOKEN_TYPE_ACCESS, TOKEN_TYPE_ID, TOKEN_TYPE_JWT};
use tether_sshcert::issue::KeyPair;

#[derive(Args)]
pub(crate) struct Open {
    /// Central's URL
    #[arg(long)]
    central: String,
    /// The authority that signed central's TLS certificate, a PEM file
    #[arg(long)]
    authority: PathBuf,
    /// The agent's name, as it is registered
    #[arg(long, required_unless_present = "delegated_token")]
    agent: Option<Name>,
    /// The agent's own key, from keygen
    #[arg(long, required_unless_present = "delegated_token")]
    key: Option<PathBuf>,
    /// Which running instance of the agent this is
    #[arg(long, required_unless_present = "delegated_token")]
    instance: Option<Name>,
    /// The host
    #[arg(long)]
    host: HostId,
    /// The bundle to ask for, if several are permitted
    #[arg(long)]
    bundle: Option<Name>,
    /// A file with the human's token; - for stdin. Never an argument: others could read it
    #[arg(long, required_unless_present = "delegated_token")]
    subject_token: Option<PathBuf>,
    /// The human's token is an access token, not an ID token
    #[arg(long, requires = "subject_token")]
    access_token: bool,
    /// Instead of the human's token and the agent's own key: a file with a token of a provider that does the exchange
    /// itself; - for stdin
    #[arg(long, requires = "session_key", conflicts_with_all = ["subject_token", "key", "agent", "instance"])]
    delegated_token: Option<PathBuf>,
    /// The key that this token is bound to, from keygen: a new one for each session. It is deleted
    #[arg(long, requires = "delegated_token")]
    session_key: Option<PathBuf>,
    /// The folder for the session's key and certificate; made if it is missing
    #[arg(long)]
    out: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was made.
#[derive(Debug, Serialize)]
struct Opened {
    session: String,
    account: String,
    address: String,
    key: PathBuf,
    certificate: PathBuf,
    token: PathBuf,
    bundle: String,
    valid_before: u64,
    expires_at: u64,
    ssh: Vec<String>,
}

pub(crate) fn run(open: &Open) -> Result<()> {
    let authority = std::fs::read(&open.authority).with_context(|| format!("{}", open.authority.display()))?;
    let central = Central::new(&open.central, &authority)?;
    let seed = open.session_key.as_deref().map_or_else(|| Ok(random::seed()?), seed)?;
    let session = PrivateKey::from_seed(&seed)?;
    let exchanged = match Papers::read(open)? {
        Papers::Delegated(token) => delegated(open, &central, &session, &token)?,
        Papers::Own(own) => exchange(open, &central, &session, &own)?,
    };
    let caller = Caller { key: &session, token: Some(&exchanged.access_token) };
    let certified: Certified =
        central.post("/v1/certificate", &serde_json::json!({}), Credential::Key(caller)).context("no certificate")?;
    let opened = write(open, seed, &exchanged, &certified)?;
    if let Some(path) = &open.session_key {
        std::fs::remove_file(path).with_context(|| format!("cannot delete {}", path.display()))?;
    }
    if open.json {
        println!("{}", serde_json::to_string(&opened)?);
    } else {
        println!("{}", opened.ssh.join(" "));
    }
    Ok(())
}

/// What a session is asked for with.
enum Papers<'o> {
    /// The human's token, and what the agent signs itself.
    Own(Own<'o>),
    /// One token of the provider's, for both.
    Delegated(String),
}

struct Own<'o> {
    subject: String,
    agent: &'o Name,
    instance: &'o Name,
    key: PrivateKey,
}

impl<'o> Papers<'o> {
    fn read(open: &'o Open) -> Result<Self> {
        if let Some(path) = &open.delegated_token {
            return read_token(path).map(Self::Delegated);
        }
        let (Some(agent), Some(instance), Some(key), Some(subject)) =
            (&open.agent, &open.instance, &open.key, &open.subject_token)
        else {
            anyhow::bail!("--agent, --instance, --key and --subject-token belong together");
        };
        Ok(Self::Own(Own { subject: read_token(subject)?, agent, instance, key: load(key)? }))
    }
}

fn read_token(path: &std::path::Path) -> Result<String> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("stdin")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    Ok(text.trim().to_owned())
}

fn exchange(open: &Open, central: &Central, session: &PrivateKey, own: &Own<'_>) -> Result<Exchanged> {
    let assertion = own.key.assertion(&Assertion {
        agent: own.agent,
        instance: own.instance,
        audience: central.url(),
        session: &session.thumbprint(),
        jti: &random::name(26)?,
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    });
    let papers = [
        ("subject_token", own.subject.as_str()),
        ("subject_token_type", if open.access_token { TOKEN_TYPE_ACCESS } else { TOKEN_TYPE_ID }),
        ("actor_token", &assertion),
        ("actor_token_type", TOKEN_TYPE_JWT),
    ];
    ask(open, central, session, &papers)
}

fn delegated(open: &Open, central: &Central, session: &PrivateKey, token: &str) -> Result<Exchanged> {
    ask(open, central, session, &[("subject_token", token), ("subject_token_type", TOKEN_TYPE_JWT)])
}

fn ask(open: &Open, central: &Central, session: &PrivateKey, papers: &[(&str, &str)]) -> Result<Exchanged> {
    let scope = open.bundle.as_ref().map(|bundle| format!("bundle:{bundle}"));
    let mut form = vec![("grant_type", GRANT_TYPE), ("audience", open.host.as_str())];
    form.extend(papers);
    form.extend(scope.as_deref().map(|scope| ("scope", scope)));
    central.form("/oauth/token", &form, Credential::Key(Caller { key: session, token: None })).context("no delegation")
}

fn write(open: &Open, seed: [u8; 32], exchanged: &Exchanged, certified: &Certified) -> Result<Opened> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&open.out)
        .with_context(|| format!("cannot make {}", open.out.display()))?;
    let folder = open.out.canonicalize()?;
    let at = |name: &str| folder.join(name);
    let (key, certificate, token) = (at("key"), at("key-cert.pub"), at("token"));
    for path in [&key, &certificate, &token] {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    write_private(&key, KeyPair::from_seed(seed).private_file()?.as_bytes())?;
    write_private(&certificate, format!("{}\n", certified.certificate).as_bytes())?;
    write_private(&token, exchanged.access_token.as_bytes())?;
    let option = |text: String| ["-o".to_owned(), text];
    let mut ssh = vec!["ssh".to_owned()];
    for text in [
        "IdentitiesOnly=yes".to_owned(),
        "IdentityAgent=none".to_owned(),
        format!("IdentityFile={}", key.display()),
        format!("CertificateFile={}", certificate.display()),
        "ControlMaster=auto".to_owned(),
        format!("ControlPath={}", at("control").display()),
        "ControlPersist=60".to_owned(),
    ] {
        ssh.extend(option(text));
    }
    // Somebody runs this: nothing but an address may stand there, whatever central says.
    let address: Address = certified.address.parse().context("central names an address that is none")?;
    ssh.push(format!("{}@{address}", certified.account));
    Ok(Opened {
        session: certified.session.to_string(),
        account: certified.account.to_string(),
        address: certified.address.clone(),
        key,
        certificate,
        token,
        bundle: exchanged.scope.clone(),
        valid_before: certified.valid_before,
        expires_at: certified.expires_at,
        ssh,
    })
}
