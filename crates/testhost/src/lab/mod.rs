//! A lab: a private switch, the hosts on it, and all they need on the machine, gone when the last handle is.

mod inner;

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Context, Error, Result};
use crate::host::{Host, HostSpec};
use crate::net::GATEWAY;
use crate::scratch;
pub(crate) use inner::Inner;

const RUN: &str = "/run/tether-testhost";
const STANDING: &str = "standing";
const PREFIX: &str = "tether-testhost-";

/// A private network with hosts on it. Labs do not see one another: each has `10.77.0.0/24` to itself.
///
/// The lab is torn down when it and all its [`Host`]s have been dropped.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(crate) inner: Arc<Inner>,
}

impl Lab {
    /// Makes a lab that ends with its handles. Labs that killed processes left behind are removed first.
    pub fn new() -> Result<Lab> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let _guard = guard()?;
        sweep()?;
        let name = format!("{PREFIX}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Inner::create(name, false).map(Lab::from)
    }

    /// The machine's one standing lab, whose hosts live until they are stopped, whatever becomes of the process that
    /// booted them; made now if there is none.
    pub fn standing() -> Result<Lab> {
        let _guard = guard()?;
        let name = format!("{PREFIX}{STANDING}");
        let (inner, ready) = Inner::plan(name.clone(), true)?;
        if ready { Ok(inner.into()) } else { Inner::create(name, true).map(Lab::from) }
    }

    /// Boots a host; returns when its systemd runs. See [`Host::wait_ready`].
    pub fn boot(&self, spec: HostSpec<'_>) -> Result<Host> {
        Host::boot(self, spec)
    }

    /// A host of the standing lab, by name, from whatever process booted it.
    pub fn host(&self, name: &str) -> Result<Host> {
        Host::attach(self, name)
    }

    /// The names of the lab's hosts.
    pub fn hosts(&self) -> Result<Vec<String>> {
        let folder = self.inner.folder.join("hosts");
        let entries = fs::read_dir(&folder).context("list", &folder)?;
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// A program of the machine (not of a host) that runs on the lab's network, such as an ssh client.
    pub fn client_command(&self, program: &str) -> Result<Command> {
        self.inner.switch.command(program)
    }

    /// Runs `work` on a thread of this process whose sockets are on the lab's network.
    pub fn on_switch<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        self.inner.switch.inside(work)
    }

    /// The address that hosts see such a program come from.
    pub fn client_address(&self) -> Ipv4Addr {
        GATEWAY
    }

    /// Which limits this machine lets hosts have, in words.
    pub fn limits(&self) -> String {
        self.inner.hierarchies.limits()
    }

    /// Ends the standing lab if no host is left in it.
    pub fn close_if_empty(self) -> Result<()> {
        let _guard = guard()?;
        if self.inner.standing && self.hosts()?.is_empty() { self.inner.remove() } else { Ok(()) }
    }
}

impl From<Inner> for Lab {
    fn from(inner: Inner) -> Self {
        Lab { inner: Arc::new(inner) }
    }
}

/// Held while a lab is made or swept, so that nobody takes a lab half made for an abandoned one.
fn guard() -> Result<Flock<File>> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Error::Request("test hosts need root: namespaces, mounts and cgroups of the machine".into()));
    }
    fs::create_dir_all(RUN).context("make", RUN)?;
    scratch::lock(&Path::new(RUN).join("lock"), || ())
}

/// Removes the labs whose process is gone.
fn sweep() -> Result<()> {
    for entry in fs::read_dir(RUN).context("list", RUN)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = name.strip_prefix(PREFIX).is_some_and(|rest| rest != STANDING);
        if !ours || owned(&entry.path().join("owner")) {
            continue;
        }
        Inner::plan(name, false)?.0.remove()?;
    }
    Ok(())
}

fn owned(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).is_err())
}
