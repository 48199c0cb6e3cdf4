//! A package installed over an image without booting it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sched::unshare;

use super::Image;
use crate::cgroup::Hierarchies;
use crate::error::{Context, Error, Result};
use crate::scratch::{aside, remove};
use crate::sys::{Step, before_exec};
use crate::world::{NAMESPACES, World, first_steps};

/// What every program in a host starts with.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Debian's own way to say: start nothing while packages are installed (exit code 101).
const NO_SERVICES: &str = "#!/bin/sh\nexit 101\n";
const POLICY: &str = "usr/sbin/policy-rc.d";

/// Installs `deb` over `image`, in namespaces that end with dpkg; the changes are `building/root`.
pub(super) fn install(image: &Image, deb: &Path, building: &Path) -> Result<()> {
    let upper = building.join("root");
    let place = |below: &str| upper.join(below);
    fs::create_dir_all(place("usr/sbin")).context("make", place("usr/sbin"))?;
    fs::write(place(POLICY), NO_SERVICES).context("write", place(POLICY))?;
    fs::set_permissions(place(POLICY), fs::Permissions::from_mode(0o755)).context("set the mode of", place(POLICY))?;
    fs::create_dir_all(place("var/cache")).context("make", place("var/cache"))?;
    fs::copy(deb, place("var/cache/layer.deb")).context("copy", deb)?;

    run_dpkg(image, deb, building, &upper)?;

    for file in [POLICY, "var/cache/layer.deb", "etc/hostname", "etc/hosts", "etc/machine-id"] {
        fs::remove_file(place(file)).context("remove", place(file))?;
    }
    remove(&building.join("work"))
}

fn run_dpkg(image: &Image, deb: &Path, building: &Path, upper: &Path) -> Result<()> {
    let (work, mountpoint) = (building.join("work"), building.join("mount"));
    let hierarchies = Hierarchies::find()?;
    // The layer's lock is held, so whatever has this name was left by a process that was killed.
    let lab = format!("tether-testhost-layer-{}", building.file_stem().unwrap_or_default().to_string_lossy());
    hierarchies.remove_lab(&lab)?;
    hierarchies.create_lab(&lab)?;
    let cgroup = hierarchies.host(&lab, "dpkg");
    let output = aside(|| {
        cgroup.create()?;
        let mut steps = first_steps(&cgroup)?;
        steps.push(Step::DieWithParent);
        unshare(NAMESPACES).context("make namespaces for", "dpkg")?;
        let hostname = "layer";
        World { lower: image.lower(), upper, work: &work, mountpoint: &mountpoint, volatile: false, hostname }
            .enter()?;
        let mut command = Command::new("/usr/bin/dpkg");
        command.args(["--install", "/var/cache/layer.deb"]).stdin(Stdio::null());
        command.env_clear().env("PATH", PATH).env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        before_exec(&mut command, steps);
        command.output().context("run", "dpkg")
    });
    hierarchies.remove_lab(&lab)?;
    let output = output?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::command(format!("dpkg --install {} over {}", deb.display(), image.suite.name()), &output))
    }
}
