//! How the base image is made: mmdebstrap, then what makes it fit to share a kernel.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use super::{Suite, mirror, short_hash};
use crate::error::{Context, Error, Result};

const PACKAGES: &str = "systemd,systemd-sysv,libpam-systemd,dbus,openssh-server,openssh-client,openssh-sftp-server,sudo,\
    iproute2,procps,netcat-openbsd,cron,at,python3,tmux,expect,gcc,libc6-dev,passwd,login,util-linux,strace,attr,\
    uidmap,ca-certificates";

/// Units that would touch the machine's kernel or devices, or only cost time.
const MASKED: &str = "apt-daily-upgrade.timer apt-daily.timer auditd.service console-getty.service dev-hugepages.mount \
    dev-mqueue.mount dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty@.service \
    kmod-static-nodes.service logrotate.timer man-db.timer modprobe@.service proc-sys-fs-binfmt_misc.automount \
    sys-fs-fuse-connections.mount sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \
    systemd-binfmt.service systemd-firstboot.service systemd-modules-load.service systemd-networkd.service \
    systemd-networkd.socket systemd-networkd-wait-online.service systemd-remount-fs.service systemd-sysctl.service \
    systemd-timesyncd.service systemd-udev-trigger.service systemd-udevd.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket tmp.mount";

/// A name for what the recipe makes: another recipe, or another list of more packages, is another image.
pub(super) fn fingerprint(more: &str) -> String {
    short_hash(&[include_bytes!("recipe.rs"), more.as_bytes()])
}

/// Makes `building/root`, with more packages (separated by commas) if they are named.
pub(super) fn build(suite: Suite, more: &str, building: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let root = building.join("root");
    bootstrap(suite, more, &root, progress)?;
    finish(&root)
}

fn bootstrap(suite: Suite, more: &str, root: &Path, progress: &mut dyn FnMut(&str)) -> Result<()> {
    let mirror = mirror::find();
    progress(&format!("making the {} image from {mirror}", suite.name()));
    let mut command = Command::new("mmdebstrap");
    command.args([
        "--mode=root",
        "--variant=minbase",
        "--format=directory",
        "--aptopt=APT::Install-Recommends \"false\"",
    ]);
    command.args(mirror::options().iter().map(|option| format!("--aptopt={option}")));
    command.args(["doc", "man", "locale", "info"].map(|what| format!("--dpkgopt=path-exclude=/usr/share/{what}/*")));
    command.arg(format!("--include={PACKAGES}"));
    if !more.is_empty() {
        command.arg(format!("--include={more}"));
    }
    command.arg(suite.name()).arg(root).arg(&mirror);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::MissingTool { tool: "mmdebstrap".into(), package: "mmdebstrap" });
        }
        child => child.context("run", "mmdebstrap")?,
    };
    let log = child.stderr.take().map(|stderr| follow(stderr, progress)).unwrap_or_default();
    let status = child.wait().context("wait for", "mmdebstrap")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Command {
        what: format!("mmdebstrap {} from {mirror}", suite.name()),
        status: status.to_string(),
        stdout: String::new(),
        stderr: log,
    })
}

/// Passes mmdebstrap's own messages on and keeps all it says, for an error. Its progress bars end in carriage returns.
fn follow(stderr: impl Read, progress: &mut dyn FnMut(&str)) -> String {
    let mut log = String::new();
    for line in BufReader::new(stderr).split(b'\n').map_while(std::io::Result::ok) {
        let line = String::from_utf8_lossy(&line);
        let line = line.rsplit('\r').next().unwrap_or_default();
        if let Some(message) = line.strip_prefix("I: ") {
            progress(message);
        }
        log.push_str(line);
        log.push('\n');
    }
    log
}

/// Masks units, and removes what is the builder's and not a host's.
fn finish(root: &Path) -> Result<()> {
    let units = root.join("etc/systemd/system");
    for unit in MASKED.split_whitespace() {
        link("/dev/null", &units.join(unit))?;
    }
    link("/lib/systemd/system/multi-user.target", &units.join("default.target"))?;
    for file in ["etc/resolv.conf", "etc/hostname", "etc/machine-id", "var/lib/dbus/machine-id"] {
        unlink(&root.join(file))?;
    }
    // Empty, not missing: then no boot takes itself for the first one; a host gets an id of its own.
    fs::write(root.join("etc/machine-id"), "").context("write", root.join("etc/machine-id"))?;
    let journal = root.join("var/log/journal");
    fs::create_dir_all(&journal).context("make", journal)
}

fn link(target: &str, at: &Path) -> Result<()> {
    unlink(at)?;
    symlink(target, at).context("link", at)
}

fn unlink(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.context("remove", file),
    }
}
