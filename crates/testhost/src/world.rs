//! What a host sees: its root file system over the overlay, fresh kernel file systems, and nothing of the machine.
//!
//! [`World::enter`] runs on a thread that has left the machine's namespaces; what only the pid 1 to be can do (its
//! `/proc`, its cgroup root) is a list of [`Step`]s for it.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::cgroup::HostCgroup;
use crate::error::{Context, Error, Result};
use crate::scratch;
use crate::sys::Step;

/// A kernel module or a changed clock would be the machine's own: `CAP_SYS_MODULE`, `CAP_SYS_TIME`.
const FORBIDDEN_CAPABILITIES: [libc::c_ulong; 2] = [16, 25];

/// Where a boot's own id waits until pid 1 mounts it over the kernel's; hidden again by then.
const BOOT_ID: &str = "run/.boot-id";

/// The namespaces of a host that its thread makes at once. The pid namespace comes last, since the next child is its pid
/// 1; the cgroup namespace is pid 1's to make, once it is in its cgroup.
pub(crate) const NAMESPACES: CloneFlags = CloneFlags::CLONE_FS
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWNET);

/// A root file system to be.
pub(crate) struct World<'a> {
    /// Folders to read from, the topmost first.
    pub(crate) lower: &'a [PathBuf],
    /// Where changes go.
    pub(crate) upper: &'a Path,
    /// The overlay's scratch folder, on the file system of `upper`; emptied first.
    pub(crate) work: &'a Path,
    /// An empty folder.
    pub(crate) mountpoint: &'a Path,
    /// Whether changes may be lost by a crash of the machine (and are faster for it).
    pub(crate) volatile: bool,
    pub(crate) hostname: &'a str,
}

impl World<'_> {
    /// Makes this the root of the calling thread, which must be in [`NAMESPACES`] of its own. Its next child is pid 1.
    pub(crate) fn enter(&self) -> Result<()> {
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .context("make private", "/")?;
        self.mount_overlay()?;
        self.mount_kernel_files()?;
        self.write_identity()?;
        nix::unistd::chdir(self.mountpoint).context("enter", self.mountpoint)?;
        nix::unistd::pivot_root(".", ".").context("make the root of", self.mountpoint)?;
        umount2(".", MntFlags::MNT_DETACH).context("unmount the old root of", self.mountpoint)?;
        nix::unistd::chdir("/").context("enter", "/")?;
        nix::unistd::sethostname(self.hostname).context("set the name", self.hostname)?;
        unshare(CloneFlags::CLONE_NEWPID).context("make a pid namespace for", self.hostname)
    }

    fn mount_overlay(&self) -> Result<()> {
        // A work folder that a volatile mount has used is refused, and /run, /tmp are new at each boot anyway.
        scratch::remove(self.work)?;
        for folder in [self.upper, self.work, self.mountpoint] {
            fs::create_dir_all(folder).context("make", folder)?;
        }
        let lower = self.lower.iter().map(|path| option_path(path)).collect::<Result<Vec<_>>>()?.join(":");
        let (upper, work) = (option_path(self.upper)?, option_path(self.work)?);
        let volatile = if self.volatile { ",volatile" } else { "" };
        let options = format!("lowerdir={lower},upperdir={upper},workdir={work},index=off,metacopy=off{volatile}");
        mount(Some("overlay"), self.mountpoint, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .context("mount the overlay", self.mountpoint)?;
        // mmdebstrap and TMPDIR may leave another mode; a host's root is 0755.
        fs::set_permissions(self.mountpoint, fs::Permissions::from_mode(0o755))
            .context("set the mode of", self.mountpoint)
    }

    fn mount_kernel_files(&self) -> Result<()> {
        let (nosuid, nodev, noexec) = (MsFlags::MS_NOSUID, MsFlags::MS_NODEV, MsFlags::MS_NOEXEC);
        self.mount("sysfs", "sys", nosuid | nodev | noexec | MsFlags::MS_RDONLY, "")?;
        self.mount("tmpfs", "run", nosuid | nodev, "mode=755")?;
        self.mount("tmpfs", "tmp", nosuid | nodev, "mode=1777")?;
        self.mount("tmpfs", "dev", nosuid, "mode=755")?;
        for folder in ["dev/pts", "dev/shm", "dev/mqueue", "run/lock"] {
            fs::create_dir(self.path(folder)).context("make", folder)?;
        }
        self.mount("devpts", "dev/pts", nosuid | noexec, "newinstance,ptmxmode=0666,mode=620,gid=5")?;
        self.mount("tmpfs", "dev/shm", nosuid | nodev, "mode=1777")?;
        self.mount("mqueue", "dev/mqueue", nosuid | nodev | noexec, "")?;
        for device in ["null", "zero", "full", "random", "urandom", "tty"] {
            let (outer, inner) = (Path::new("/dev").join(device), self.path("dev").join(device));
            File::create(&inner).context("make", &inner)?;
            mount(Some(&outer), &inner, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("mount", &inner)?;
        }
        let links =
            [("pts/ptmx", "ptmx"), ("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")];
        for (target, link) in links {
            symlink(target, self.path("dev").join(link)).context("link", link)?;
        }
        File::create(self.path("dev/console")).context("make", "dev/console").map(drop)
    }

    fn mount(&self, kind: &'static str, folder: &str, flags: MsFlags, options: &str) -> Result<()> {
        mount(Some(kind), &self.path(folder), Some(kind), flags, Some(options)).context("mount", self.path(folder))
    }

    fn write_identity(&self) -> Result<()> {
        let name = self.hostname;
        let fresh_id =
            || fs::read_to_string("/proc/sys/kernel/random/uuid").context("read", "/proc/sys/kernel/random/uuid");
        let write = |file: &str, text: String| fs::write(self.path(file), text).context("write", self.path(file));
        // Only at the first boot: what the host made of them since is its own.
        if !self.path("etc/hostname").exists() {
            write("etc/hostname", format!("{name}\n"))?;
            write("etc/hosts", format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"))?;
            write("etc/machine-id", fresh_id()?.replace('-', ""))?;
        }
        write(BOOT_ID, fresh_id()?)
    }

    fn path(&self, below: &str) -> PathBuf {
        self.mountpoint.join(below)
    }
}

/// What the host's pid 1 has to do itself, after [`World::enter`] and before it execs.
pub(crate) fn first_steps(cgroup: &HostCgroup) -> Result<Vec<Step>> {
    let mut steps: Vec<Step> = cgroup.doors()?.into_iter().map(Step::JoinCgroup).collect();
    let (bind, safe) = (MsFlags::MS_BIND, MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC);
    let locked = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | safe;
    steps.extend([
        Step::Unshare(CloneFlags::CLONE_NEWCGROUP),
        mount_step("cgroup2", "/sys/fs/cgroup", "cgroup2", safe),
        mount_step("proc", "/proc", "proc", safe),
        mount_step("/proc/sys", "/proc/sys", "", bind),
        mount_step("", "/proc/sys", "", locked),
        mount_step("/run/.boot-id", "/proc/sys/kernel/random/boot_id", "", bind),
        mount_step("", "/proc/sys/kernel/random/boot_id", "", locked),
        Step::Unlink(c"/run/.boot-id".into()),
        Step::NewSession,
        Step::ForgetLogin,
    ]);
    // Some kernels are built without it.
    if Path::new("/proc/sysrq-trigger").exists() {
        steps.push(mount_step("/proc/sysrq-trigger", "/proc/sysrq-trigger", "", bind));
        steps.push(mount_step("", "/proc/sysrq-trigger", "", locked));
    }
    steps.extend(forbid());
    Ok(steps)
}

/// Gives up what would reach the machine itself.
pub(crate) fn forbid() -> impl Iterator<Item = Step> {
    FORBIDDEN_CAPABILITIES.into_iter().map(Step::DropCapability)
}

fn mount_step(source: &str, target: &str, kind: &str, flags: MsFlags) -> Step {
    let text = |text: &str| CString::new(text).expect("the words above hold no NUL");
    Step::Mount { source: text(source), target: text(target), kind: text(kind), flags }
}

fn option_path(path: &Path) -> Result<&str> {
    let clean = path.to_str().filter(|text| !text.contains([':', ',', '\\']));
    clean.ok_or_else(|| {
        Error::Request(format!("{} cannot stand in mount options: choose a folder without : , \\", path.display()))
    })
}
