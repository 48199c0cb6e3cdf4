//! All of it, real: an identity provider, central, couriers, hosts, an agent with its own tool and ssh.

use crate::agent::{Agent, Ran};
use crate::central::{random_name, seed};
use crate::programs::Programs;
use crate::provider::{Provider, ask};
use crate::scene::{SHIPPED_BUNDLE, package};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tether_audit::Link;
use tether_central::store::{self, Seen, Sqlite, Which};
use tether_hostlink::StatusReport;
use tether_hostlink::paths::UID_FIRST;
use tether_identity::HostId;
use tether_testhost::{Host, HostSpec, Image, Lab, Storage, Suite};

/// How long a host may take to be ready.
pub(crate) const READY: Duration = Duration::from_secs(60);
/// Where central listens.
const PORT: u16 = 8443;
/// Analysts may have the agent on hosts with the label; admins administer.
pub const POLICIES: &str = r#"
@id("analysts-on-web") @bundle("triage") @minutes("30")
permit (principal == Agent::"triage", action == Action::"connect", resource)
when {
  context.human in Group::"analysts" && resource.labels.contains("role=web") &&
  context.multi_factor && context.signed_in < 3600
};
@id("admins")
permit (principal in Group::"tether-admins", action == Action::"administer", resource) when { context.multi_factor };
@id("auditors")
permit (principal in Group::"auditors", action == Action::"audit", resource) when { context.signed_in < 600 };
"#;

/// Central as a process. It is killed when it is dropped.
pub struct Central {
    lab: Lab,
    programs: Programs,
    folder: tempfile::TempDir,
    child: Option<Child>,
    break_glass: String,
}

fn without_limits(settings: &str) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some((name @ ("per_minute" | "connections_per_address"), _)) => format!("{name} = 0"),
        _ => line.to_owned(),
    };
    settings.lines().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

impl Central {
    /// Makes one that trusts a provider, and starts it.
    pub fn start(lab: &Lab, provider: &Provider) -> Result<Self> {
        Self::start_with(lab, provider, "")
    }

    /// The same with more settings for `central.toml`.
    pub fn start_with(lab: &Lab, provider: &Provider, more: &str) -> Result<Self> {
        Self::start_from(lab, provider, Programs::of_tests()?, Storage::Memory, more)
    }

    /// The same from these programs, with its folder on a storage.
    pub fn start_from(
        lab: &Lab,
        provider: &Provider,
        programs: Programs,
        storage: Storage,
        more: &str,
    ) -> Result<Self> {
        // Other tests' flushes would make a central on a disk slow. What it promises of flushes is the store's.
        let folder = match storage {
            Storage::Memory => tempfile::tempdir_in("/dev/shm")?,
            Storage::Disk => tempfile::tempdir()?,
        };
        let mut central = Self { lab: lab.clone(), programs, folder, child: None, break_glass: String::new() };
        let listen = central.listens();
        let made =
            central.command(&["init", "--url", &central.url(), "--listen", &listen, "--namespace", "@example.org"])?;
        let word = made.split_whitespace().find(|word| word.starts_with("break-glass-"));
        central.break_glass = word.context("init printed no break-glass token")?.to_owned();
        std::fs::write(central.path("admin.token"), &central.break_glass)?;
        std::fs::write(central.path("policies.cedar"), POLICIES)?;
        let settings = std::fs::read_to_string(central.path("central.toml"))?;
        // Hosts under test share two cores and a kernel that makes namespaces one after another.
        let mut settings = settings.replace("grant_wait_seconds = 5\n", "grant_wait_seconds = 15\n");
        settings = settings.replace("[feed]\nhead_seconds = 10\n", "");
        // Tests ask more than anybody else from one address; what tests the limits sets its own.
        settings = without_limits(&settings);
        settings.push_str(&format!(
            "{more}\n[[providers]]\nissuer = \"{}\"\naudiences = [\"{}\"]\nadmin_audiences = [\"{}\"]\nnamespaces = [\"@example.org\"]\n\
             groups_claim = \"groups\"\nauthority = \"{}\"\n[providers.signals]\n",
            provider.issuer(),
            crate::provider::CLIENT,
            crate::provider::ADMIN_CLIENT,
            provider.authority().display()
        ));
        std::fs::write(central.path("central.toml"), settings)?;
        central.serve()?;
        Ok(central)
    }

    /// Changes its settings and starts it anew.
    pub fn serve_with(&mut self, change: impl FnOnce(String) -> String) -> Result<()> {
        self.stop()?;
        let settings = std::fs::read_to_string(self.path("central.toml"))?;
        std::fs::write(self.path("central.toml"), change(settings))?;
        self.serve()
    }

    /// Tells it to stop, and waits until it has: it must end by itself, and well.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let told = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status()?;
        ensure!(told.success(), "kill: {told}");
        let ended = child.wait()?;
        ensure!(ended.success(), "central ended with {ended}:\n{}", self.log()?);
        Ok(())
    }

    /// Every request and answer since it was made.
    pub fn recorded(&self) -> Result<Vec<crate::recorder::Recorded>> {
        crate::recorder::read(&self.path("recorded"))
    }

    /// Its metrics.
    pub fn metrics(&self) -> Result<String> {
        let read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9464/metrics').read().decode())";
        let output = self.lab.client_command("python3")?.args(["-c", read]).output().context("python3")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("https://{}:{PORT}", self.lab.client_address())
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority of its TLS certificate.
    pub fn authority(&self) -> PathBuf {
        self.path("tls/authority.pem")
    }

    /// The token that administers without a provider.
    pub fn break_glass(&self) -> &str {
        &self.break_glass
    }

    /// Where it listens.
    pub fn listens(&self) -> String {
        format!("{}:{PORT}", self.lab.client_address())
    }

    /// Starts serving.
    pub fn spawn(&mut self) -> Result<()> {
        let mut command = self.lab.client_command(&self.programs.central.display().to_string())?;
        command.arg("--folder").arg(self.folder.path()).arg("serve");
        command.env(crate::recorder::RECORD, self.path("recorded"));
        let log = std::fs::File::options().create(true).append(true).open(self.path("log"))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("tether-central")?;
        self.child = Some(child);
        Ok(())
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("central does not run")?.id())
    }

    /// What it holds of the machine's memory (PSS), in KiB.
    pub fn pss(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid()?))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let number = line.and_then(|line| line.split_whitespace().next()).context("no Pss in smaps_rollup")?;
        Ok(number.parse()?)
    }

    /// Starts serving; returns once it answers.
    pub fn serve(&mut self) -> Result<()> {
        self.spawn()?;
        let begun = Instant::now();
        while self.admin(&["agents", "list"])?.code != 0 {
            if begun.elapsed() > Duration::from_secs(20) {
                bail!("central does not answer:\n{}", self.log()?);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Starts it after [`Self::kill`]; returns once every host listens again.
    pub fn serve_again(&mut self) -> Result<()> {
        self.serve()?;
        self.wait_listening()
    }

    /// Returns once every host listens.
    pub fn wait_listening(&self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let hosts = self.administer(&["hosts", "list"])?;
            if hosts.as_array().context("no list")?.iter().all(|host| host["listening"] == true) {
                return Ok(());
            }
            ensure!(begun.elapsed() < Duration::from_secs(30), "hosts do not come back: {hosts}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it has logged.
    pub fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.path("log"))?)
    }

    /// Runs `tether-central` on its folder; what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.programs.central)
            .arg("--folder")
            .arg(self.folder.path())
            .args(arguments)
            .output()
            .context("tether-central")?;
        ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `tether …` of an admin, with the break-glass token.
    pub fn admin(&self, arguments: &[&str]) -> Result<Ran> {
        self.as_admin(&self.path("admin.token"), arguments)
    }

    /// The same as people see it: no JSON.
    pub fn plain(&self, arguments: &[&str]) -> Result<Ran> {
        let mut command = self.lab.client_command(&self.programs.tether.display().to_string())?;
        command.args(arguments).stdin(Stdio::null());
        command.env("TETHER_CENTRAL", self.url()).env("TETHER_CENTRAL_AUTHORITY", self.authority());
        Ok(command.env("TETHER_TOKEN_FILE", self.path("admin.token")).output().context("tether")?.into())
    }

    /// `tether …` with a token.
    pub fn as_admin(&self, token: &Path, arguments: &[&str]) -> Result<Ran> {
        let mut command = self.lab.client_command(&self.programs.tether.display().to_string())?;
        command.args(["--json"]).args(arguments).stdin(Stdio::null());
        command.env("TETHER_CENTRAL", self.url()).env("TETHER_CENTRAL_AUTHORITY", self.authority());
        Ok(command.env("TETHER_TOKEN_FILE", token).output().context("tether")?.into())
    }

    /// The same; it must succeed, and its answer is JSON.
    pub fn administer(&self, arguments: &[&str]) -> Result<Value> {
        let ran = self.admin(arguments)?;
        ensure!(ran.code == 0, "tether {arguments:?}: {ran:?}");
        Ok(serde_json::from_str(&ran.out)?)
    }

    /// A directory's token for a provider's humans.
    pub fn directory(&self, name: &str, issuer: &str) -> Result<String> {
        Ok(self.command(&["scim", "token", name, "--issuer", issuer])?.trim().to_owned())
    }

    /// A directory's request; its answer must be a success.
    pub fn scim(&self, token: &str, method: &str, path: &str, body: &Value) -> Result<Value> {
        let mut about = json!({"url": format!("{}/scim/v2{path}", self.url()), "method": method, "headers": {
            "authorization": format!("Bearer {token}"), "content-type": "application/scim+json",
        }});
        if !body.is_null() {
            about["body"] = body.to_string().into();
        }
        let (status, answer) = ask(&self.lab, &self.authority(), &about)?;
        ensure!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        Ok(if answer.is_empty() { Value::Null } else { serde_json::from_str(&answer)? })
    }

    /// Pushes a security event; how it was answered.
    pub fn push(&self, event: &str) -> Result<(u16, String)> {
        let headers = json!({"content-type": "application/secevent+jwt"});
        let url = format!("{}/ssf/events", self.url());
        ask(&self.lab, &self.authority(), &json!({"url": url, "method": "POST", "headers": headers, "body": event}))
    }

    /// A one-time token with which a host may enrol.
    pub fn admit(&self, host: &str, address: &str, label: &str) -> Result<String> {
        let made = self.administer(&["hosts", "admit", host, "--address", address, "--label", label])?;
        Ok(made["token"].as_str().context("no token")?.to_owned())
    }

    /// Registers an agent by its public key.
    pub fn register(&self, name: &str, key: &Path) -> Result<()> {
        let path = key.display().to_string();
        let owner = "carol@example.org";
        self.administer(&["agents", "register", name, "--team", "secops", "--owner", owner, "--key", &path])?;
        Ok(())
    }

    /// All that it keeps but its audit log, in words: equal if nothing was changed.
    pub fn ledger(&self) -> Result<String> {
        let store = Sqlite::open_to_read(&self.path("central.db"))?;
        store::look(&store, |act| {
            let hosts = act.hosts()?;
            let feeds: Vec<_> = hosts.iter().map(|host| act.position(&host.id)).collect::<Result<_, _>>()?;
            let issued = act.delegations(&Which::default(), usize::MAX)?;
            Ok::<_, anyhow::Error>(format!(
                "{:?}\n{:?}\n{hosts:?}\n{feeds:?}\n{issued:?}\n{:?}",
                act.agents()?,
                act.humans()?,
                act.bundles()?
            ))
        })
    }

    /// Its audit records; the chain was checked.
    pub fn trail(&self) -> Result<Vec<Link>> {
        let text = self.command(&["audit"])?;
        let mut links = Vec::new();
        tether_audit::verify(text.lines(), |link| links.push(link.clone())).context("central's audit chain")?;
        Ok(links)
    }
}

impl Drop for Central {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A session as `tether-agent open --json` tells it.
#[derive(Debug, Clone, Deserialize)]
pub struct Opened {
    /// The session.
    pub session: String,
    /// The login name.
    pub account: String,
    /// Where the delegation token is.
    pub token: PathBuf,
    /// Where the key is.
    pub key: PathBuf,
    /// Where the certificate is.
    pub certificate: PathBuf,
}

/// What a realm is made of.
#[derive(Debug)]
pub struct Stage<'s> {
    /// The package for hosts.
    pub package: &'s Path,
    /// The programs that run on the machine.
    pub programs: Programs,
    /// Where the files of hosts and central are.
    pub storage: Storage,
    /// More settings for `central.toml`.
    pub central: &'s str,
}

/// Everything.
pub struct Realm {
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Central.
    pub central: Central,
    /// The provider.
    pub provider: Provider,
    /// The lab.
    pub lab: Lab,
    /// The agent's own files.
    pub files: tempfile::TempDir,
}

impl Realm {
    /// One host of a suite, `web-01`, enrolled and admitting, with the shipped bundle.
    pub fn new(suite: Suite) -> Result<Self> {
        Self::with_hosts(suite, &["web-01"])
    }

    /// The same with these hosts.
    pub fn with_hosts(suite: Suite, names: &[&str]) -> Result<Self> {
        Self::with_settings(suite, names, "", "")
    }

    /// The same with more settings for `central.toml`, and some for `[times]` of the hosts.
    pub fn with_settings(suite: Suite, names: &[&str], central: &str, times: &str) -> Result<Self> {
        let (package, programs) = (package()?, Programs::of_tests()?);
        let stage = Stage { package: &package, programs, storage: Storage::Memory, central };
        let realm = Self::start(suite, names, &stage)?;
        realm.enrol_all()?;
        if !times.is_empty() {
            realm.hosts.iter().try_for_each(|host| realm.set_times(host, times))?;
        }
        Ok(realm)
    }

    /// Hosts with a package, not enrolled yet; a provider; a central that knows the agent and the shipped bundle.
    pub fn start(suite: Suite, names: &[&str], stage: &Stage<'_>) -> Result<Self> {
        let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?.with_deb(stage.package)?;
        let lab = Lab::new()?;
        let boot = |name: &&str| lab.boot(HostSpec::new(name, &image).storage(stage.storage));
        let hosts: Vec<Host> = names.iter().map(boot).collect::<Result<_, _>>()?;
        let provider = Provider::start(&lab, 9443, "RS256")?;
        let central = Central::start_from(&lab, &provider, stage.programs.clone(), stage.storage, stage.central)?;
        let realm = Self { hosts, central, provider, lab, files: tempfile::tempdir()? };
        realm.set_marks()?;
        realm.register_agent("triage")?;
        realm.publish(SHIPPED_BUNDLE)?;
        Ok(realm)
    }

    /// Hosts of one kernel share what it keeps by uid, keyrings above all: each begins somewhere else.
    fn set_marks(&self) -> Result<()> {
        let first = u32::from(u16::from_le_bytes([seed()?[0], seed()?[0]])) % 14_000;
        let marked = Sqlite::open(&self.central.path("central.db"))?;
        for (number, host) in (0..).zip(&self.hosts) {
            let id: HostId = host.name().parse()?;
            let mark = UID_FIRST + (first + number * 200) * 2 - 1;
            let seen = Seen { uid_mark: mark, accepted_mark: mark, ..Seen::default() };
            store::act(&marked, |act| act.put_seen(&id, &seen))?;
        }
        Ok(())
    }

    /// Enrols all hosts, each once it is ready.
    pub fn enrol_all(&self) -> Result<()> {
        for host in &self.hosts {
            host.wait_ready(READY)?;
            self.enrol(host)?;
        }
        Ok(())
    }

    /// No host: for what concerns central alone. The provider signs with EdDSA.
    pub fn without_hosts() -> Result<Self> {
        let lab = Lab::new()?;
        let provider = Provider::start(&lab, 9443, "EdDSA")?;
        let central = Central::start(&lab, &provider)?;
        Ok(Self { hosts: Vec::new(), central, provider, lab, files: tempfile::tempdir()? })
    }

    /// The first host.
    pub fn host(&self) -> Result<&Host> {
        self.hosts.first().context("no host")
    }

    /// Makes an agent's key and registers it.
    pub fn register_agent(&self, name: &str) -> Result<()> {
        let key = self.files.path().join(format!("{name}.key"));
        let output = Command::new(&self.central.programs.agent).arg("keygen").arg(&key).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let public = self.files.path().join(format!("{name}.jwk"));
        std::fs::write(&public, output.stdout)?;
        self.central.register(name, &public)
    }

    /// The security team signs a bundle and confirms it; an admin brings both.
    pub fn publish(&self, source: &str) -> Result<()> {
        let at = |name: &str| self.files.path().join(name).display().to_string();
        let offline = self.central.path("offline").display().to_string();
        std::fs::write(at("bundle.toml"), source)?;
        std::fs::write(at("bundle.jws"), self.central.command(&["offline", "bundle", &offline, &at("bundle.toml")])?)?;
        std::fs::write(at("confirm.jws"), self.central.command(&["offline", "confirm", &offline, &at("bundle.jws")])?)?;
        self.central.administer(&["publish", "bundle", &at("bundle.jws")])?;
        self.central.administer(&["publish", "confirmation", &at("confirm.jws")])?;
        Ok(())
    }

    /// Enrols a host by its own name and address, and waits until it admits.
    pub fn enrol(&self, host: &Host) -> Result<()> {
        if host.sh("sshd -T | grep -c ^persourcepenalties; true")?.trim() != "0" {
            host.write_file("/etc/ssh/sshd_config.d/50-tests.conf", "PerSourcePenalties no\n", 0o644)?;
            host.sh("systemctl restart ssh")?;
        }
        let token = self.admit(host, "role=web")?;
        let ran = self.enrol_with(host, &token)?;
        ensure!(ran.code == 0, "tether enroll: {ran:?}\n{}", self.central.log()?);
        self.wait(host, "the host to admit", |status| {
            status.state == "admitting" && status.bundles.iter().any(|bundle| bundle.state == "usable")
        })
    }

    fn set_times(&self, host: &Host, times: &str) -> Result<()> {
        let mut settings = String::from_utf8(host.read_file("/etc/tether/host.toml")?)?;
        settings.push_str(&format!("[times]\n{times}"));
        host.write_file("/etc/tether/host.toml", settings, 0o644)?;
        host.sh("systemctl restart tether-agentd")?;
        self.wait(host, "the host to admit", |status| {
            status.state == "admitting" && status.bundles.iter().any(|bundle| bundle.state == "usable")
        })
    }

    /// What `tether doctor` says on a host.
    pub fn doctor(&self, host: &Host) -> Result<String> {
        Ok(String::from_utf8(host.exec(&["tether", "doctor"])?.stdout)?)
    }

    /// A one-time token for a host.
    pub fn admit(&self, host: &Host, label: &str) -> Result<String> {
        self.central.admit(host.name(), &host.address().to_string(), label)
    }

    /// `tether enroll` on a host.
    pub fn enrol_with(&self, host: &Host, token: &str) -> Result<Ran> {
        let url = self.central.url();
        host.write_file("/root/enrol-token", token, 0o600)?;
        let ran = host.exec(&["tether", "enroll", "--central", &url, "--token-file", "/root/enrol-token"])?;
        host.exec(&["rm", "/root/enrol-token"])?;
        Ok(ran.into())
    }

    /// How a host stands.
    pub fn status(&self, host: &Host) -> Result<StatusReport> {
        let output = host.exec(&["tether", "--json", "status"])?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("tether status: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Waits for a status. Polls: the other side is a process in another namespace.
    pub fn wait(&self, host: &Host, what: &str, until: impl Fn(&StatusReport) -> bool) -> Result<()> {
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < Duration::from_secs(15) {
            if let Ok(status) = self.status(host) {
                if until(&status) {
                    return Ok(());
                }
                last = Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let journal = |unit| host.journal(unit).unwrap_or_default();
        bail!(
            "waited 15 s for {what}; last: {last:?}\n{}\n{}\n{}",
            journal("tether-agentd"),
            journal("tether-courier"),
            self.central.log()?
        )
    }

    /// Waits until a session is gone from a host.
    pub fn wait_gone(&self, host: &Host, session: &str) -> Result<Duration> {
        let begun = Instant::now();
        self.wait(host, "the session's end", |status| {
            !status.sessions.iter().any(|one| one.session.as_str() == session)
        })?;
        Ok(begun.elapsed())
    }

    /// `tether-agent open` for a host with a human's token, by the agent `triage`.
    pub fn try_open(&self, host: &str, token: &str) -> Result<(Ran, PathBuf)> {
        self.try_open_as("triage", host, token)
    }

    /// The same by another agent.
    pub fn try_open_as(&self, agent: &str, host: &str, token: &str) -> Result<(Ran, PathBuf)> {
        self.try_open_by(agent, "run-7", host, token)
    }

    /// The same by an instance of it.
    pub fn try_open_by(&self, agent: &str, instance: &str, host: &str, token: &str) -> Result<(Ran, PathBuf)> {
        let out = self.files.path().join(format!("session-{}", random_name(8)?));
        let subject = self.files.path().join(format!("subject-{}", random_name(8)?));
        std::fs::write(&subject, token)?;
        let mut open = self.lab.client_command(&self.central.programs.agent.display().to_string())?;
        open.args(["open", "--json", "--instance", instance, "--agent", agent, "--host", host]);
        open.arg("--central").arg(self.central.url()).arg("--authority").arg(self.central.authority());
        open.arg("--key").arg(self.files.path().join(format!("{agent}.key")));
        open.arg("--subject-token").arg(&subject).arg("--out").arg(&out).stdin(Stdio::null());
        Ok((open.output().context("tether-agent")?.into(), out))
    }

    /// `tether-agent open` with a token of a provider that does the exchange itself, and the key that it is bound to.
    pub fn try_open_delegated(&self, host: &str, token: &str, session_key: &Path) -> Result<Ran> {
        let out = self.files.path().join(format!("session-{}", random_name(8)?));
        let file = self.files.path().join(format!("delegated-{}", random_name(8)?));
        std::fs::write(&file, token)?;
        let mut open = self.lab.client_command(&self.central.programs.agent.display().to_string())?;
        open.args(["open", "--json", "--host", host]);
        open.arg("--central").arg(self.central.url()).arg("--authority").arg(self.central.authority());
        open.arg("--delegated-token").arg(&file).arg("--session-key").arg(session_key);
        Ok(open.arg("--out").arg(&out).stdin(Stdio::null()).output().context("tether-agent")?.into())
    }

    /// A new session key of the agent's, and a proof of it for a URL.
    pub fn session_key(&self, url: &str) -> Result<(PathBuf, String)> {
        let path = self.files.path().join(format!("{}.key", random_name(8)?));
        let agent = |arguments: &[&str]| -> Result<String> {
            let output = Command::new(&self.central.programs.agent).args(arguments).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let key = path.display().to_string();
        agent(&["keygen", &key])?;
        let proof = agent(&["proof", "--key", &key, "--url", url])?;
        Ok((path, proof))
    }

    /// `tether-agent open` with a human's token, by the agent `triage`; it must succeed.
    pub fn open(&self, host: &Host, token: &str) -> Result<(Opened, Agent)> {
        let (ran, _) = self.try_open(host.name(), token)?;
        self.opened(host, &ran)
    }

    /// What `tether-agent open` has opened; it must have.
    pub fn opened(&self, host: &Host, ran: &Ran) -> Result<(Opened, Agent)> {
        if ran.code != 0 {
            let journal = |unit| host.journal(unit).unwrap_or_default();
            let standing = self.central.admin(&["hosts", "list"])?.out;
            let (agentd, courier) = (journal("tether-agentd"), journal("tether-courier"));
            bail!("tether-agent open: {ran:?}\n{standing}\n{}\n{agentd}\n{courier}", self.central.log()?);
        }
        let opened: Opened = serde_json::from_str(&ran.out)?;
        let agent = Agent::with_files(&self.lab, host, &opened.account, &opened.key, &opened.certificate)?;
        Ok((opened, agent))
    }
}
