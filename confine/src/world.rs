//! What the command sees and how much it may use: the host's own mount tree and network, read-only all the
//! way down, in a mount namespace of its own.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::sys;
use rustix::process::{Resource, Rlimit, chdir, setrlimit};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use tether_hostlink::Refusal;

/// The largest file that it may write: to a pipe or terminal there is no limit, and nothing else is open.
const FILE_BYTES: u64 = 16 << 20;
/// Its uid is the session's own, so this counts the session's confined commands only.
const PROCESSES: u64 = 256;

/// Enters the host's namespaces by descriptor, and makes a read-only copy of its mounts.
pub fn enter(mounts: &OwnedFd, network: &OwnedFd) -> Result<(), Refusal> {
    let code = "confine.namespace";
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| failed(code, "entering the host's network namespace", errno))?;
    move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
        .map_err(|errno| failed(code, "entering the host's mount namespace", errno))?;
    sys::unshare_mounts().map_err(|error| failed(code, "making a mount namespace", error))?;
    sys::lock_all_mounts().map_err(|error| failed("confine.mounts", "making every mount read-only", error))?;
    chdir("/").map_err(|errno| failed(code, "going to /", errno))
}

/// Sets the limits, hard and soft.
pub fn limit() -> Result<(), Refusal> {
    // Core size 1, not 0: at 0 the kernel still runs a core handler that is a pipe, at 1 it refuses.
    let limits = [(Resource::Core, 1), (Resource::Nproc, PROCESSES), (Resource::Fsize, FILE_BYTES)];
    for (resource, most) in limits {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
            .map_err(|errno| failed("confine.limits", &format!("limiting {resource:?}"), errno))?;
    }
    Ok(())
}
