//! A lab: a private switch, the hosts on it, and all they need on the machine, gone when the last handle is.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::cgroup::Hierarchies;
use crate::error::{Context, Error, Result};
use crate::host::{Host, HostSpec};
use crate::image::cache_folder;
use crate::net::{GATEWAY, Switch};
use crate::scratch;

const RUN: &str = "/run/tether-testhost";
const STANDING: &str = "standing";
const PREFIX: &str = "tether-testhost-";

/// How much all hosts of a lab may keep in memory.
const MEMORY_OPTIONS: &str = "mode=755,size=8g";

/// A private network with hosts on it. Labs do not see one another: each has `10.77.0.0/24` to itself.
///
/// The lab is torn down when it and all its [`Host`]s have been dropped.
#[derive(Clone, Debug)]
pub struct Lab {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    /// Its name in the run folder and in the cgroup trees; no other process's lab has it.
    name: String,
    folder: PathBuf,
    /// Where hosts with [`crate::Storage::Disk`] keep their changes.
    disk: PathBuf,
    pub(crate) switch: Switch,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) standing: bool,
    /// Held while the owner lives; who can take it knows that the lab is abandoned.
    owner: Option<Flock<File>>,
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

impl Inner {
    /// The lab's handle without making anything, and whether it is there already.
    fn plan(name: String, standing: bool) -> Result<(Inner, bool)> {
        let folder = Path::new(RUN).join(&name);
        let disk = cache_folder()?.join("disks").join(&name);
        let (switch, ready) = (Switch::at(folder.join("switch")), folder.join("ready").exists());
        let inner = Inner { name, folder, disk, switch, hierarchies: Hierarchies::find()?, standing, owner: None };
        Ok((inner, ready))
    }

    fn create(name: String, standing: bool) -> Result<Inner> {
        let (mut inner, _) = Inner::plan(name, standing)?;
        inner.remove()?;
        for folder in [inner.folder.join("hosts"), inner.folder.join("addresses"), inner.folder.join("memory")] {
            fs::create_dir_all(&folder).context("make", &folder)?;
        }
        inner.owner = Some(scratch::lock(&inner.folder.join("owner"), || ())?);
        let memory = inner.folder.join("memory");
        mount(Some("tether-testhost"), &memory, Some("tmpfs"), MsFlags::empty(), Some(MEMORY_OPTIONS))
            .context("mount", &memory)?;
        inner.switch = Switch::create(inner.folder.join("switch"))?;
        inner.hierarchies.create_lab(&inner.name)?;
        File::create(inner.folder.join("ready")).context("make", &inner.folder)?;
        Ok(inner)
    }

    /// Removes the lab from the machine: processes, network, mounts, cgroups, folders.
    fn remove(&self) -> Result<()> {
        self.hierarchies.remove_lab(&self.name)?;
        self.switch.remove()?;
        let memory = self.folder.join("memory");
        match umount2(&memory, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(errno) => return Err(errno).context("unmount", &memory),
        }
        scratch::remove(&self.disk)?;
        scratch::remove(&self.folder)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The host's folder: its record, its log, the place where its root is mounted.
    pub(crate) fn host_folder(&self, host: &str) -> PathBuf {
        self.folder.join("hosts").join(host)
    }

    /// The folder of a host's changes.
    pub(crate) fn changes(&self, host: &str, durable: bool) -> PathBuf {
        if durable { self.disk.join(host) } else { self.folder.join("memory").join(host) }
    }

    /// Takes the lowest free address of the lab's network.
    pub(crate) fn take_address(&self) -> Result<Ipv4Addr> {
        for last in 1..=250 {
            let address = Ipv4Addr::new(10, 77, 0, last);
            let file = self.folder.join("addresses").join(address.to_string());
            match File::create_new(&file) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                created => return created.context("make", &file).map(|_| address),
            }
        }
        Err(Error::Request("this lab has 250 hosts, which is all its network holds: make another lab".into()))
    }

    pub(crate) fn free_address(&self, address: Ipv4Addr) -> Result<()> {
        let file = self.folder.join("addresses").join(address.to_string());
        fs::remove_file(&file).context("remove", &file)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without the owner's lock this is a plan, or the standing lab.
        if self.owner.is_some()
            && !self.standing
            && let Err(error) = self.remove()
        {
            eprintln!("tether-testhost: {} is not removed whole: {}", self.name, error.chain());
        }
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
