//! Power cuts: state on a disk that forgets what was not flushed, and what boots from it.

use crate::realm;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tether_forgetful::{Disk, Mount};
use tether_testhost::Host;

/// agentd's state.
pub const STATE: &str = "/var/lib/tether";

/// What lies on the disk, and who uses it: they start once it is mounted, and never from what is below.
const MOVE: &str = "
systemctl stop tether-courier tether-agentd; mv /var/lib/tether /root/state; mkdir -m 711 /var/lib/tether
for unit in tether-agentd tether-courier; do
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Unit]\\nConditionPathIsMountPoint=/var/lib/tether\\n' > /etc/systemd/system/$unit.service.d/disk.conf
done
systemctl daemon-reload";

/// agentd's state on such a disk.
pub struct HostDisk {
    /// The disk.
    pub disk: Disk,
    mount: Option<Mount>,
}

impl HostDisk {
    /// Moves a host's state onto a new one, all of it flushed. agentd and courier start again.
    pub fn under(host: &Host, seed: u64) -> Result<Self> {
        host.sh(MOVE)?;
        let mut disk = Self { disk: Disk::new(seed), mount: None };
        disk.mount(host)?;
        host.sh("cp -a /root/state/. /var/lib/tether/ && rm -r /root/state")?;
        disk.disk.settle();
        Self::start(host)?;
        Ok(disk)
    }

    fn mount(&mut self, host: &Host) -> Result<()> {
        self.mount = Some(self.disk.mount(Path::new(STATE), Some(host.pid1()?)).context("FUSE")?);
        Ok(())
    }

    /// Whatever is not on it is gone from this moment on; whoever wants something of it is told that it failed.
    pub fn cut(&mut self) {
        self.disk = self.disk.cut();
    }

    /// Boots from what the cut has left; agentd and courier do not run yet.
    pub fn boot(&mut self, host: &mut Host) -> Result<()> {
        host.reboot()?;
        self.mount = None;
        self.mount(host)?;
        host.wait_ready(realm::READY)?;
        Ok(())
    }

    /// Starts agentd and courier.
    pub fn start(host: &Host) -> Result<()> {
        host.sh("systemctl start tether-agentd tether-courier")?;
        Ok(())
    }
}

/// A folder of this machine's on such a disk; only the calling thread, and what it starts, see it.
pub struct FolderDisk {
    folder: PathBuf,
    /// The disk.
    pub disk: Disk,
    mount: Option<Mount>,
}

impl FolderDisk {
    /// Moves what is in the folder onto a new one, all of it flushed. The calling thread has mounts of its own.
    pub fn under(folder: &Path, seed: u64) -> Result<Self> {
        let disk = Disk::new(seed);
        let beside = folder.with_extension("below");
        copy(folder, &beside)?;
        let mount = disk.mount(folder, None).context("FUSE")?;
        copy(&beside, folder)?;
        std::fs::remove_dir_all(&beside)?;
        disk.settle();
        Ok(Self { folder: folder.to_owned(), disk, mount: Some(mount) })
    }

    /// Whatever is not on it is gone from this moment on.
    pub fn cut(&mut self) {
        self.disk = self.disk.cut();
    }

    /// Mounts what the cut has left, once nobody uses it any more.
    pub fn mount(&mut self) -> Result<()> {
        self.mount = None;
        self.mount = Some(self.disk.mount(&self.folder, None).context("FUSE")?);
        Ok(())
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    let done = std::process::Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status()?;
    ensure!(done.success(), "cp: {done}");
    Ok(())
}
