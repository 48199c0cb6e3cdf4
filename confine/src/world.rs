//! What the command sees: the host's own mount tree and network, read-only all the
//! way down, in a mount namespace of its own.
#![forbid(unsafe_code)]

use crate::refusal::failed;
use crate::sys;
use rustix::process::chdir;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};
use tether_hostlink::Refusal;

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
