//! What the command sees: the host's own mount tree and network, read-only all the way down, in a mount namespace
//! of its own; with devices of its own, and one small place to write.
#![forbid(unsafe_code)]

mod bus;
mod own;
mod processes;
mod writes;

pub use bus::SOCKET as BUS;

use crate::identity::Who;
use crate::layers::{Layer, Layers};
use crate::refusal::failed;
use crate::sys;
use rustix::fs::Stat;
use rustix::io::Errno;
use rustix::process::chdir;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use tether_hostlink::{Confinement, Refusal};

/// Where a command may write: files of no meaning to the host, gone with it. `HOME` and `TMPDIR` name it. The host's
/// own /tmp stays what it is: evidence lies there.
pub const SCRATCH: &str = tether_hostlink::paths::HOME;
/// The environment's part of it.
pub const ENVIRONMENT: [&str; 2] = ["HOME=/run/tether/home", "TMPDIR=/run/tether/home"];

/// What [`enter`] leaves behind for the proof.
#[derive(Debug)]
pub struct World {
    /// A folder on a writable mount, out of reach for everybody, with [`CONTROL`] in it.
    pub control: OwnedFd,
    /// Mount points that are writable, by a write rule.
    pub writes: Vec<PathBuf>,
    /// Where the kernel's own /proc is.
    pub proc: &'static str,
}

/// A file in [`World::control`] that everybody may read and write, as far as its mode goes.
pub const CONTROL: &str = "control";
/// Where the kernel's own /proc is seen when lists lie over its processes. An empty folder of the package.
const REAL_PROC: &str = "/run/tether/proc";

/// Enters the host's namespaces by descriptor, and makes a read-only copy of its mounts. `terminal` is what the
/// command's own terminal is, if it has one.
pub fn enter(
    mounts: &OwnedFd,
    network: &OwnedFd,
    who: &Who,
    orders: &Confinement,
    terminal: Option<&Stat>,
    layers: Layers,
) -> Result<World, Refusal> {
    let code = "confine.namespace";
    let terminal = terminal.and_then(own::Lifted::of);
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| failed(code, "entering the host's network namespace", errno))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(|errno| failed(code, "entering the host's mount namespace", errno))?;
    sys::unshare_mounts().map_err(|error| failed(code, "making a mount namespace", error))?;
    let lock = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    let lock = if layers.has(Layer::Mounts) { lock } else { 0 };
    sys::set_mount(c"/", lock, 0, true).map_err(|errno| step("making every mount read-only", errno))?;
    let writes = writes::open(&orders.writes)?;
    let control = own::make(who, orders, terminal.as_ref(), layers)?;
    chdir("/").map_err(|errno| failed(code, "going to /", errno))?;
    let proc = if orders.proc_links { REAL_PROC } else { "/proc" };
    Ok(World { control, writes, proc })
}

fn step(what: &str, errno: Errno) -> Refusal {
    failed("confine.mounts", what, errno)
}
