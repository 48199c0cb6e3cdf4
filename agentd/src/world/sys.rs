//! Four system calls that no library here wraps safely. All of agentd's `unsafe` is in this file.
#![allow(unsafe_code)]

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

/// Makes a mount, and with `recursive` all below it, read-only (mount_setattr(2)).
pub fn make_read_only(path: &CStr, recursive: bool) -> Result<(), Errno> {
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    mount_setattr(path, flags, &MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 })
}

/// Makes one mount writable again.
pub fn make_writable(path: &CStr) -> Result<(), Errno> {
    mount_setattr(path, 0, &MountAttr { set: 0, clear: MOUNT_ATTR_RDONLY, propagation: 0, userns: 0 })
}

/// Invalidates the calling thread's user keyring and user session keyring, with all keys in them (keyctl(2)).
/// The kernel keeps both after a uid's last process, for as long as the machine runs.
pub fn invalidate_user_keyrings() {
    const KEYCTL_GET_KEYRING_ID: libc::c_ulong = 0;
    const KEYCTL_INVALIDATE: libc::c_ulong = 21;
    const USER_SESSION_KEYRING: libc::c_long = -5;
    const USER_KEYRING: libc::c_long = -4;
    // SAFETY: the operation takes numbers only and touches no memory of this process.
    let keyctl =
        |operation: libc::c_ulong, id: libc::c_long| unsafe { libc::syscall(libc::SYS_keyctl, operation, id, 0) };
    // Both ids first: looking one up makes the other anew.
    let ids = [USER_SESSION_KEYRING, USER_KEYRING].map(|special| keyctl(KEYCTL_GET_KEYRING_ID, special));
    for id in ids.into_iter().filter(|id| *id > 0) {
        keyctl(KEYCTL_INVALIDATE, id);
    }
}

/// The user namespace that a namespace belongs to (ioctl_ns(2), `NS_GET_USERNS`).
pub fn owner_of(namespace: &OwnedFd) -> Result<OwnedFd, Errno> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: this request takes no argument and touches no memory.
    let result = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if result < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// unshare(2) for the calling thread alone. Not for `CLONE_FILES`, which would part it from the descriptors
/// that Rust counts on; that flag is taken out.
pub fn unshare_thread(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: without CLONE_FILES the thread keeps the process's descriptor table, and so every OwnedFd
    // stays what it says it is.
    unsafe { unshare_unsafe(flags.difference(UnshareFlags::FILES)) }
}

fn mount_setattr(path: &CStr, flags: i32, attributes: &MountAttr) -> Result<(), Errno> {
    // SAFETY: the path is NUL-terminated and the struct has the kernel's layout and the size that is passed;
    // both outlive the call, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            std::ptr::from_ref(attributes),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(last_error())
}
