//! Two hosts of one image on a real file system: with Tether, and stock.

use crate::scene::Scene;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;
use tether_testhost::{Host, HostSpec, Image, Storage, Suite};

const TIMER: &str = include_str!("timer.c");

/// The hosts.
pub struct Pair {
    /// With Tether.
    pub scene: Scene,
    /// Stock.
    pub stock: Host,
}

impl Pair {
    /// Boots both and compiles the timer on them.
    pub fn new(suite: Suite, package: &Path) -> Result<Self> {
        let scene = Scene::from_package_on_disk(suite, package)?;
        let image = Image::ensure(suite, &mut |_| {})?;
        let stock = scene.lab.boot(HostSpec::new("stock", &image).storage(Storage::Disk))?;
        stock.wait_ready(Duration::from_secs(60))?;
        let pair = Self { scene, stock };
        for host in [&pair.scene.host, &pair.stock] {
            host.write_file("/root/timer.c", TIMER, 0o644)?;
            host.sh("gcc -O2 -o /usr/local/bin/timer /root/timer.c")?;
            host.sh("useradd -m carol; echo 'carol ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/carol; chmod 440 /etc/sudoers.d/carol")?;
            if host.sh("sshd -T | grep -c ^persourcepenalties; true")?.trim() != "0" {
                host.write_file("/etc/ssh/sshd_config.d/50-tests.conf", "PerSourcePenalties no\n", 0o644)?;
                host.sh("systemctl restart ssh")?;
            }
        }
        Ok(pair)
    }
}

/// Runs the timer on a host, as root or as a user; what it printed.
pub fn timer(host: &Host, user: Option<&str>, arguments: &[&str]) -> Result<String> {
    let mut command = host.command("timer").args(arguments);
    if let Some(user) = user {
        command = command.user(user);
    }
    let output = command.output()?;
    anyhow::ensure!(output.status.success(), "timer {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("timer")
}
