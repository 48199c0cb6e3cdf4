//! A host's cgroups: its own root in the cgroup2 tree, and its limits in the v1 hierarchies or in cgroup2.

use std::fs::{self, OpenOptions};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::scratch;

const MAX_PROCESSES: &str = "4096";
const MAX_MEMORY: &str = "3221225472";

/// Where this machine keeps its cgroup trees.
#[derive(Clone, Debug)]
pub(crate) struct Hierarchies {
    unified: PathBuf,
    pids: Option<PathBuf>,
    memory: Option<PathBuf>,
}

impl Hierarchies {
    /// Reads them from the mount table.
    pub(crate) fn find() -> Result<Self> {
        let table = fs::read_to_string("/proc/self/mountinfo").context("read", "/proc/self/mountinfo")?;
        let mounts = || table.lines().filter_map(parse_mount);
        let first = |controller: &str| {
            mounts()
                .find(|(_, kind, options)| *kind == "cgroup" && options.split(',').any(|option| option == controller))
                .map(|(path, ..)| PathBuf::from(path))
        };
        let unified = mounts().find(|(_, kind, _)| *kind == "cgroup2").ok_or_else(|| {
            Error::Request("no cgroup2 file system is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified".into())
        })?;
        Ok(Hierarchies { unified: PathBuf::from(unified.0), pids: first("pids"), memory: first("memory") })
    }

    fn roots(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.unified).chain(&self.pids).chain(&self.memory)
    }

    /// Which limits hosts get, in words.
    pub(crate) fn limits(&self) -> String {
        let available = fs::read_to_string(self.unified.join("cgroup.controllers")).unwrap_or_default();
        let of = |name: &str, v1: &Option<PathBuf>| match v1 {
            Some(_) => format!("{name}: cgroup v1"),
            None if available.split_whitespace().any(|word| word == name) => format!("{name}: cgroup2"),
            None => format!("{name}: none, this machine has no such controller"),
        };
        format!("{}; {}", of("pids", &self.pids), of("memory", &self.memory))
    }

    /// Makes the lab's folder in every tree and hands its controllers down.
    pub(crate) fn create_lab(&self, lab: &str) -> Result<()> {
        for root in self.roots() {
            let folder = root.join(lab);
            fs::create_dir_all(&folder).context("make the cgroup", &folder)?;
        }
        let folder = self.unified.join(lab);
        let available =
            fs::read_to_string(folder.join("cgroup.controllers")).context("read controllers of", &folder)?;
        for controller in available.split_whitespace().filter(|name| ["pids", "memory"].contains(name)) {
            let file = folder.join("cgroup.subtree_control");
            fs::write(&file, format!("+{controller}")).context("enable a controller in", &file)?;
        }
        Ok(())
    }

    /// Kills whatever is left in the lab and removes its folders.
    pub(crate) fn remove_lab(&self, lab: &str) -> Result<()> {
        let _ = fs::write(self.unified.join(lab).join("cgroup.kill"), "1");
        self.roots().try_for_each(|root| remove_tree(&root.join(lab)))
    }

    pub(crate) fn host(&self, lab: &str, host: &str) -> HostCgroup {
        let below = |root: &PathBuf| root.join(lab).join(host);
        HostCgroup {
            unified: below(&self.unified),
            pids: self.pids.as_ref().map(below),
            memory: self.memory.as_ref().map(below),
        }
    }
}

fn parse_mount(line: &str) -> Option<(&str, &str, &str)> {
    let (place, source) = line.split_once(" - ")?;
    let mut source = source.split(' ');
    Some((place.split(' ').nth(4)?, source.next()?, source.nth(1)?))
}

/// One host's cgroups.
#[derive(Clone, Debug)]
pub(crate) struct HostCgroup {
    unified: PathBuf,
    pids: Option<PathBuf>,
    memory: Option<PathBuf>,
}

impl HostCgroup {
    pub(crate) fn create(&self) -> Result<()> {
        for folder in self.folders() {
            fs::create_dir_all(folder).context("make the cgroup", folder)?;
        }
        limit(self.pids.as_ref().map(|v1| v1.join("pids.max")), self.unified.join("pids.max"), MAX_PROCESSES)?;
        limit(
            self.memory.as_ref().map(|v1| v1.join("memory.limit_in_bytes")),
            self.unified.join("memory.max"),
            MAX_MEMORY,
        )
    }

    /// Open `cgroup.procs` files: who writes "0" to each of them is in the host's cgroups, beside its pid 1.
    pub(crate) fn doors(&self) -> Result<Vec<OwnedFd>> {
        // systemd moves itself to init.scope; before that, and where there is no systemd, the root is the place.
        let init = self.unified.join("init.scope");
        let unified = if init.is_dir() { &init } else { &self.unified };
        let open = |folder: &PathBuf| {
            let file = folder.join("cgroup.procs");
            OpenOptions::new().write(true).open(&file).map(OwnedFd::from).context("open", &file)
        };
        std::iter::once(unified).chain(&self.pids).chain(&self.memory).map(open).collect()
    }

    /// Kills all that is left in it and removes it.
    pub(crate) fn remove(&self) -> Result<()> {
        let _ = fs::write(self.unified.join("cgroup.kill"), "1");
        self.folders().try_for_each(|folder| remove_tree(folder))
    }

    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.unified).chain(&self.pids).chain(&self.memory)
    }
}

fn limit(v1: Option<PathBuf>, v2: PathBuf, value: &str) -> Result<()> {
    match v1.or_else(|| v2.exists().then_some(v2)) {
        Some(file) => fs::write(&file, value).context("set the limit", &file),
        None => Ok(()),
    }
}

/// Removes a cgroup and those below it. A killed process stays in its cgroup until it is reaped, so this waits a little.
fn remove_tree(folder: &Path) -> Result<()> {
    scratch::until(Duration::from_secs(5), || remove_once(folder)).context("remove the cgroup", folder)
}

fn remove_once(folder: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_once(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
