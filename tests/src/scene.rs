//! A host with Tether installed from its package, enrolled with a central of the test's own.

use crate::agent::Agent;
use crate::central::{Central, seed};
use crate::draft::Draft;
use crate::trail::Trail;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tether_hostlink::paths::UID_FIRST;
use tether_hostlink::{BundleSummary, StatusReport};
use tether_testhost::{Host, HostSpec, Image, Lab, Storage, Suite};

/// How long a host may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// The bundle that the package ships.
pub const SHIPPED_BUNDLE: &str = include_str!("../../packaging/bundles/triage.toml");

/// A host, its central, and the lab that they are in.
pub struct Scene {
    /// The lab.
    pub lab: Lab,
    /// The host.
    pub host: Host,
    /// Its central.
    pub central: Central,
    nonce: Option<String>,
}

/// The package to test: `TETHER_DEB`, or the one that was built last.
pub fn package() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TETHER_DEB") {
        return Ok(path.into());
    }
    let packages = std::fs::read_dir(target().join("debian")).context("no package is built: run `cargo xtask deb`")?;
    newest(packages, "tether_")
}

/// Central's package to test: `TETHER_CENTRAL_DEB`, or the one that was built last.
pub fn central_package() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TETHER_CENTRAL_DEB") {
        return Ok(path.into());
    }
    let packages = std::fs::read_dir(target().join("debian")).context("no package is built: run `cargo xtask deb`")?;
    newest(packages, "tether-central_")
}

fn newest(packages: std::fs::ReadDir, prefix: &str) -> Result<PathBuf> {
    let of_it = |path: &PathBuf| {
        let name = path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        name.starts_with(prefix) && name.ends_with(".deb")
    };
    let mut packages: Vec<_> = packages.flatten().map(|entry| entry.path()).filter(of_it).collect();
    packages.sort();
    packages.pop().context("no package is built: run `cargo xtask deb`")
}

/// A program or module that fails where a test wants it to (`cargo xtask faulty`): in the folder `TETHER_FAULTY`, or
/// where it was built last.
pub fn faulty(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("TETHER_FAULTY").map_or_else(|| target().join("faulty"), PathBuf::from);
    let path = folder.join(name);
    anyhow::ensure!(path.exists(), "{} is not built: run `cargo xtask faulty`", path.display());
    Ok(path)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from)
}

impl Scene {
    /// A host of a suite with the package installed, enrolled and admitting.
    pub fn new(suite: Suite) -> Result<Self> {
        Self::with(suite, Storage::Memory, "")
    }

    /// The same from a package at a path.
    pub fn from_package(suite: Suite, package: &Path) -> Result<Self> {
        Self::build(suite, package, Storage::Memory, "")
    }

    /// The same with a central whose clock is so many seconds ahead of the host's.
    pub fn at(suite: Suite, ahead: i64) -> Result<Self> {
        let mut central = Central::new()?;
        central.set_clock(ahead);
        Self::with_central(suite, &package()?, Storage::Memory, "", central)
    }

    /// The same with more settings for `host.toml` and the host's files on a storage.
    pub fn with(suite: Suite, storage: Storage, settings: &str) -> Result<Self> {
        Self::build(suite, &package()?, storage, settings)
    }

    /// The same with the host's files on a real file system: for what includes a disk write.
    pub fn from_package_on_disk(suite: Suite, package: &Path) -> Result<Self> {
        Self::build(suite, package, Storage::Disk, "")
    }

    fn build(suite: Suite, package: &Path, storage: Storage, settings: &str) -> Result<Self> {
        Self::with_central(suite, package, storage, settings, Central::new()?)
    }

    /// The same with more Debian packages in the host's image, separated by commas.
    pub fn with_packages(suite: Suite, packages: &str) -> Result<Self> {
        let image = Image::ensure_with(suite, packages, &mut |line| eprintln!("{line}"))?;
        Self::boot(&image, &package()?, Storage::Memory, "", Central::new()?)
    }

    /// The same on an image of the caller's.
    pub fn from_image(image: &Image) -> Result<Self> {
        Self::boot(image, &package()?, Storage::Memory, "", Central::new()?)
    }

    fn with_central(suite: Suite, package: &Path, storage: Storage, settings: &str, central: Central) -> Result<Self> {
        let image = Image::ensure(suite, &mut |line| eprintln!("{line}"))?;
        Self::boot(&image, package, storage, settings, central)
    }

    fn boot(image: &Image, package: &Path, storage: Storage, settings: &str, central: Central) -> Result<Self> {
        let image = image.with_deb(package)?;
        let lab = Lab::new()?;
        let host = lab.boot(HostSpec::new("web-01", &image).storage(storage))?;
        let mut scene = Self { lab, host, central, nonce: None };
        scene.enrol(settings)?;
        scene.host.wait_ready(READY)?;
        Ok(scene)
    }

    /// A host that a test booted and installed the package on: it is enrolled and admits.
    pub fn on(lab: Lab, host: Host) -> Result<Self> {
        let mut scene = Self { lab, host, central: Central::new()?, nonce: None };
        scene.enrol("")?;
        Ok(scene)
    }

    fn enrol(&mut self, settings: &str) -> Result<()> {
        let toml = format!("{}{settings}", self.central.host_toml());
        self.host.write_file("/etc/tether/host.toml", toml, 0o644)?;
        self.host.wait_ready(READY)?;
        // sshd 9.8 and later shuts an address out that fails often, which is what these tests do.
        if self.host.sh("sshd -T | grep -c ^persourcepenalties; true")?.trim() != "0" {
            self.host.write_file("/etc/ssh/sshd_config.d/50-tests.conf", "PerSourcePenalties no\n", 0o644)?;
            self.host.sh("systemctl restart ssh")?;
        }
        // Each host gives out uids of its own: test hosts share a kernel, which keeps keyrings by uid.
        self.central.note(0, UID_FIRST + u32::from_le_bytes(seed()?[..4].try_into()?) % 15_000 * 2 - 1);
        let keys = self.central.keys()?;
        self.central.drop(&self.host, "keys.jws", &keys)?;
        self.host.sh("systemctl restart tether-agentd")?;
        self.resume()?;
        self.publish(SHIPPED_BUNDLE)
    }

    /// Publishes a bundle, and waits until it may be used.
    pub fn publish(&mut self, source: &str) -> Result<()> {
        let bundle = self.central.publish(&self.host, source)?;
        let here = |summary: &BundleSummary| {
            summary.name == bundle.name.as_str() && summary.version == Some(bundle.version) && summary.state == "usable"
        };
        self.wait("the bundle", |status| status.bundles.iter().any(here))
    }

    /// Answers the question that agentd asked at its last start, and waits until it admits.
    pub fn resume(&mut self) -> Result<()> {
        self.answer()?;
        self.wait("central's answer", |status| status.state == "admitting")
    }

    /// Answers the question that agentd asked at its last start.
    pub fn answer(&mut self) -> Result<()> {
        let question = self.central.question(&self.host, self.nonce.as_deref())?;
        self.nonce = Some(question.nonce.clone());
        self.central.answer(&self.host, &question)
    }

    /// Restarts agentd and answers it.
    pub fn restart_agentd(&mut self) -> Result<()> {
        self.host.sh("systemctl restart tether-agentd")?;
        self.resume()
    }

    /// Papers for a session, delivered; its account is there.
    pub fn session(&mut self) -> Result<(Draft, Agent)> {
        self.session_with(|_| {})
    }

    /// The same, with papers that are changed before they are signed.
    pub fn session_with(&mut self, change: impl FnOnce(&mut Draft)) -> Result<(Draft, Agent)> {
        let mut draft = Draft::new(&self.central)?;
        change(&mut draft);
        let agent = draft.issue(&mut self.central, &self.lab, &self.host)?;
        self.read()?;
        Ok((draft, agent))
    }

    /// Waits until the host has read the whole feed.
    pub fn read(&self) -> Result<()> {
        let number = self.central.feed.position().number;
        self.wait("the feed", |status| status.feed >= number)
    }

    /// How the host stands, as `tether status --json` says.
    pub fn status(&self) -> Result<StatusReport> {
        let output = self.host.exec(&["tether", "--json", "status"])?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str(&text)
            .with_context(|| format!("tether status: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }

    /// Waits for a status. Polls: the other side is a process in another namespace.
    pub fn wait(&self, what: &str, until: impl Fn(&StatusReport) -> bool) -> Result<()> {
        let start = Instant::now();
        let mut last = None;
        while start.elapsed() < Duration::from_secs(10) {
            if let Ok(status) = self.status() {
                if until(&status) {
                    return Ok(());
                }
                last = Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("waited 10 s for {what}; last: {last:?}\n{}", self.host.journal("tether-agentd")?)
    }

    /// Waits until a session is gone; how long that took.
    pub fn wait_gone(&self, session: &str) -> Result<Duration> {
        let start = Instant::now();
        self.wait("the session's end", |status| !status.sessions.iter().any(|s| s.session.as_str() == session))?;
        Ok(start.elapsed())
    }

    /// Waits for that many lines of sshd's with all of these words. sshd writes some when the client has left.
    pub fn sshd_says(&self, words: &[&str], times: usize) -> Result<()> {
        let start = Instant::now();
        loop {
            let said = self.host.sshd_journal()?;
            let lines = said.lines().filter(|line| words.iter().all(|word| line.contains(word))).count();
            if lines >= times {
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(10) {
                bail!("sshd said {words:?} {lines} times, not {times}:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Does something that takes long, while central goes on saying that it is there, as it does every 10 s.
    pub fn with_heads<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let (over, ended) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let heads = scope.spawn(move || {
                while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(Duration::from_secs(10))
                {
                    self.central.head(&self.host)?;
                }
                Ok::<_, anyhow::Error>(())
            });
            let done = work();
            drop(over);
            heads.join().map_err(|_| anyhow::anyhow!("the thread of the heads panicked"))??;
            done
        })
    }

    /// The host's audit records.
    pub fn trail(&self) -> Result<Trail> {
        Trail::read(&self.host)
    }
}
