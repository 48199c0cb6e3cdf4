//! Keeps an image's many programs from being as many services.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// What every host starts, whatever else is in its image.
const STARTED: [&str; 5] = ["atd.service", "cron.service", "dbus.service", "remote-fs.target", "ssh.service"];

/// Takes from `root` what starts at a boot without being a host's own: links below `.wants` and of the old init.
pub(super) fn quiet(root: &Path) -> Result<()> {
    let units = root.join("etc/systemd/system");
    for folder in folders(&units)?.into_iter().filter(|folder| folder.extension().is_some_and(|end| end == "wants")) {
        empty(&folder, &STARTED)?;
    }
    for level in ["rcS.d", "rc2.d", "rc3.d", "rc4.d", "rc5.d"] {
        let folder = root.join("etc").join(level);
        if folder.is_dir() {
            empty(&folder, &[])?;
        }
    }
    Ok(())
}

fn folders(below: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(below).context("read", below)?;
    Ok(entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()).collect())
}

/// Removes links from a folder, but those of these names.
fn empty(folder: &Path, kept: &[&str]) -> Result<()> {
    for entry in fs::read_dir(folder).context("read", folder)?.flatten() {
        let path = entry.path();
        let stays = entry.file_name().to_str().is_some_and(|name| kept.contains(&name));
        if path.is_symlink() && !stays {
            fs::remove_file(&path).context("remove", &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::quiet;

    #[test]
    fn only_a_hosts_own_services_start() {
        let root = tempfile::tempdir().expect("a folder");
        let wants = root.path().join("etc/systemd/system/multi-user.target.wants");
        let level = root.path().join("etc/rc2.d");
        fs::create_dir_all(&wants).and_then(|()| fs::create_dir_all(&level)).expect("folders");
        for (folder, name) in [(&wants, "ssh.service"), (&wants, "nginx.service"), (&level, "S01nginx")] {
            symlink("/lib/target", folder.join(name)).expect("a link");
        }
        quiet(root.path()).expect("quiet");
        assert!(wants.join("ssh.service").is_symlink());
        assert!(!wants.join("nginx.service").is_symlink());
        assert!(!level.join("S01nginx").is_symlink());
    }
}
