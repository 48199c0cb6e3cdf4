//! What a lab is on the machine: folders, a tmpfs, the switch, cgroups.

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::RUN;
use crate::cgroup::Hierarchies;
use crate::error::{Context, Error, Result};
use crate::image::cache_folder;
use crate::net::Switch;
use crate::scratch;

/// How much all hosts of a lab may keep in memory.
const MEMORY_OPTIONS: &str = "mode=755,size=8g";

#[derive(Debug)]
pub(crate) struct Inner {
    /// Its name in the run folder and in the cgroup trees; no other process's lab has it.
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// Where hosts with [`crate::Storage::Disk`] keep their changes.
    disk: PathBuf,
    pub(crate) switch: Switch,
    pub(crate) hierarchies: Hierarchies,
    pub(crate) standing: bool,
    /// Held while the owner lives; who can take it knows that the lab is abandoned.
    owner: Option<Flock<File>>,
}

impl Inner {
    /// The lab's handle without making anything, and whether it is there already.
    pub(super) fn plan(name: String, standing: bool) -> Result<(Inner, bool)> {
        let folder = Path::new(RUN).join(&name);
        let disk = cache_folder()?.join("disks").join(&name);
        let (switch, ready) = (Switch::at(folder.join("switch")), folder.join("ready").exists());
        let inner = Inner { name, folder, disk, switch, hierarchies: Hierarchies::find()?, standing, owner: None };
        Ok((inner, ready))
    }

    pub(super) fn create(name: String, standing: bool) -> Result<Inner> {
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
    pub(super) fn remove(&self) -> Result<()> {
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
