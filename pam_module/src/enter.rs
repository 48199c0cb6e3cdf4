//! Into the session's namespaces, for good.

use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::{AsFd, OwnedFd};

/// Mount, IPC, network: the order in which agentd sends them.
const KINDS: [(&str, LinkNameSpaceType); 3] = [
    ("mnt", LinkNameSpaceType::Mount),
    ("ipc", LinkNameSpaceType::InterProcessCommunication),
    ("net", LinkNameSpaceType::Network),
];

/// Whether three descriptors are namespaces of the right kinds, and none is the one this process is in.
pub fn check(namespaces: &[OwnedFd; 3]) -> Result<(), Errno> {
    for (descriptor, (name, _)) in namespaces.iter().zip(KINDS) {
        if is_own(descriptor, name)? {
            return Err(Errno::EXIST);
        }
    }
    Ok(())
}

/// Enters all three and looks whether it is in them. Mounts last: /proc is then seen from inside.
pub fn enter(namespaces: &[OwnedFd; 3]) -> Result<(), Errno> {
    for (descriptor, (_, kind)) in namespaces.iter().zip(KINDS).rev() {
        move_into_link_name_space(descriptor.as_fd(), Some(kind))?;
    }
    for (descriptor, (name, _)) in namespaces.iter().zip(KINDS) {
        if !is_own(descriptor, name)? {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

/// Namespaces are files: the same device and inode is the same namespace (namespaces(7)).
fn is_own(descriptor: &OwnedFd, name: &str) -> Result<bool, Errno> {
    let theirs = fstat(descriptor)?;
    let own = rustix::fs::stat(format!("/proc/self/ns/{name}"))?;
    Ok((theirs.st_dev, theirs.st_ino) == (own.st_dev, own.st_ino))
}
