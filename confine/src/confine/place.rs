//! Where the command runs: the host's own mounts and network, since that is where evidence lies, in a mount
//! namespace of its own that is read-only all the way down.

use super::descriptors::Given;
use super::{Refused, Step};
use crate::sys;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;

/// Enters it.
pub fn enter(given: &Given) -> Result<(), Refused> {
    const CODE: &str = "confine.place";
    move_into_link_name_space(given.network.as_fd(), Some(LinkNameSpaceType::Network))
        .step(CODE, "the host's network")?;
    move_into_link_name_space(given.mounts.as_fd(), Some(LinkNameSpaceType::Mount)).step(CODE, "the host's mounts")?;
    sys::unshare_mounts().step(CODE, "a mount namespace")?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).step(CODE, "private mounts")?;
    sys::make_all_read_only(c"/").step(CODE, "read-only mounts")?;
    rustix::process::chdir("/").step(CODE, "/")
}
