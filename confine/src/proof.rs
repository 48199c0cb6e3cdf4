//! Tries what must not be possible, with the very errno that the layer in question gives, after the same act
//! succeeded without it; and reads back from the kernel what was set. A layer that silently did nothing ends here.
#![forbid(unsafe_code)]

use crate::identity::Who;
use crate::layers::{Layer, Layers};
use crate::mounts::{self, Mount};
use crate::refusal::failed;
use crate::sys;
use crate::world::{CONTROL, SCRATCH, World};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::path::Path;
use tether_hostlink::Refusal;

const SHADOW: &str = "/etc/shadow";

/// What was possible before.
#[derive(Debug)]
pub struct Before {
    shadow: bool,
    filters: u32,
}

/// Does everything as root, before the last layers. What is not even possible now would prove nothing later.
pub fn before(world: &World) -> Result<Before, Refusal> {
    let could = |what: &str, errno: Errno| wrong(&format!("{what} was not possible even before: {errno}"));
    let control = openat(&world.control, CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    control.map_err(|errno| could("writing the control file", errno))?;
    mkdirat(&world.control, "before", Mode::RWXU).map_err(|errno| could("making a folder", errno))?;
    let shadow = match opened(SHADOW) {
        Err(Errno::NOENT) => false,
        result => result.map(|()| true).map_err(|errno| could("reading /etc/shadow", errno))?,
    };
    opened(&maps(world)).map_err(|errno| could("reading sudo's memory map", errno))?;
    socket(AddressFamily::INET).map_err(|errno| could("making a socket", errno))?;
    sys::unshare_nothing().map_err(|errno| could("unshare", errno))?;
    let status = Status::read()?;
    let filters = status.value("Seccomp_filters").and_then(|text| text.parse().ok());
    let filters = filters.ok_or_else(|| wrong("this kernel does not count filters"))?;
    Ok(Before { shadow, filters })
}

/// What is to be proved.
#[derive(Debug)]
pub struct After<'a> {
    /// Who this is now.
    pub who: &'a Who,
    /// Which layers there are.
    pub layers: Layers,
    /// Whether Unix sockets were granted.
    pub dbus: bool,
    /// Mount points that are meant to be writable.
    pub writes: &'a [std::path::PathBuf],
}

impl After<'_> {
    /// Tries and reads everything.
    pub fn check(&self, world: &World, before: &Before) -> Result<(), Refusal> {
        let has = |layer| self.layers.has(layer);
        if has(Layer::Landlock) {
            landlock(world, before)?;
            // With root's capabilities the kernel asks no rule of files about this one.
            if has(Layer::Identity) {
                refused("reading sudo's memory map", opened(&maps(world)), Errno::ACCESS)?;
            }
        }
        if has(Layer::Mounts) {
            let name = "/.tether-proof";
            refused("making a folder in /", mkdirat(CWD, name, Mode::RWXU), Errno::ROFS)?;
            let mounts = mounts::read().map_err(|error| wrong(&error.to_string()))?;
            if let Some(mount) = open_mount(&mounts, self.writes) {
                return Err(wrong(&format!("the mount at {} is {}", mount.point.display(), mount.options)));
            }
        }
        if has(Layer::Seccomp) {
            refused("making a socket", socket(AddressFamily::INET), Errno::AFNOSUPPORT)?;
            if !self.dbus {
                refused("making a Unix socket", socket(AddressFamily::UNIX), Errno::AFNOSUPPORT)?;
            }
            refused("unshare", sys::unshare_nothing(), Errno::PERM)?;
        }
        let status = Status::read()?;
        status.differing(&self.expected(before)).map_or(Ok(()), |line| Err(wrong(&line)))
    }

    fn expected(&self, before: &Before) -> Vec<(&'static str, String)> {
        let has = |layer| self.layers.has(layer);
        let mut expected = vec![("Threads", "1".to_owned())];
        if has(Layer::Identity) {
            let four = |id: u32| [id.to_string(), id.to_string(), id.to_string(), id.to_string()].join("\t");
            let mut groups = self.who.groups.clone();
            groups.sort_unstable();
            let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
            expected.extend([("Uid", four(self.who.uid)), ("Gid", four(self.who.gid)), ("Groups", groups.join(" "))]);
            let kept = format!("{:016x}", self.who.kept.bits());
            expected.extend(["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| (name, kept.clone())));
        }
        if has(Layer::NoNewPrivs) {
            expected.push(("NoNewPrivs", "1".to_owned()));
        }
        if has(Layer::Seccomp) {
            expected.extend([("Seccomp", "2".to_owned()), ("Seccomp_filters", (before.filters + 1).to_string())]);
        }
        expected
    }
}

fn landlock(world: &World, before: &Before) -> Result<(), Refusal> {
    let control = |flags| openat(&world.control, CONTROL, flags | OFlags::CLOEXEC, Mode::empty()).map(drop);
    refused("reading the control file", control(OFlags::RDONLY), Errno::ACCESS)?;
    refused("writing the control file", control(OFlags::WRONLY), Errno::ACCESS)?;
    refused("making a folder", mkdirat(&world.control, "after", Mode::RWXU), Errno::ACCESS)?;
    if before.shadow {
        refused("reading /etc/shadow", opened(SHADOW), Errno::ACCESS)?;
    }
    Ok(())
}

/// Of the process that started this one: sudo, which is root with all that it was given.
fn maps(world: &World) -> String {
    format!("{}/{}/maps", world.proc, rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()))
}

fn opened(path: &str) -> Result<(), Errno> {
    open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
}

fn socket(family: AddressFamily) -> Result<(), Errno> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None).map(drop)
}

fn refused(what: &str, result: Result<(), Errno>, expected: Errno) -> Result<(), Refusal> {
    match result {
        Err(errno) if errno == expected => Ok(()),
        Err(errno) => Err(wrong(&format!("{what} failed as it should not: {errno}, not {expected}"))),
        Ok(()) => Err(wrong(&format!("{what} was possible"))),
    }
}

fn wrong(what: &str) -> Refusal {
    failed("confine.proof", "the confinement does not hold", what)
}

/// A mount that is not as it must be: read-only, without set-uid and devices. Ours have exceptions: the scratch is
/// writable, /dev has devices.
fn open_mount<'a>(mounts: &'a [Mount], writes: &[std::path::PathBuf]) -> Option<&'a Mount> {
    let is_wrong = |mount: &&Mount| {
        let scratch = mount.point == Path::new(SCRATCH);
        let dev = mount.point.starts_with("/dev");
        let writable = scratch || writes.contains(&mount.point);
        !(mount.has("ro") || writable) || !mount.has("nosuid") || !(mount.has("nodev") || dev || scratch)
    };
    mounts.iter().find(is_wrong)
}

/// /proc/self/status.
struct Status(String);

impl Status {
    fn read() -> Result<Self, Refusal> {
        let text = std::fs::read("/proc/self/status").map_err(|error| wrong(&error.to_string()))?;
        Ok(Self(String::from_utf8_lossy(&text).into_owned()))
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
    }

    /// The first expectation that it does not meet.
    fn differing(&self, expected: &[(&'static str, String)]) -> Option<String> {
        let (name, value) = expected.iter().find(|(name, value)| self.value(name) != Some(value))?;
        Some(format!("{name} is {}, not {value}", self.value(name).unwrap_or("missing")))
    }
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
