//! System calls that no library here wraps. All of this crate's `unsafe` is in this file.
#![allow(unsafe_code)]

use rustix::io::Errno;
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;

fn last() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Makes a mount and all below it read-only (mount_setattr(2)).
pub fn make_all_read_only(path: &CStr) -> Result<(), Errno> {
    let attributes = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    // SAFETY: the path is NUL-terminated and the struct has the kernel's layout and the size that is passed;
    // both outlive the call, and the kernel only reads them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            ptr::from_ref(&attributes),
            size_of::<MountAttr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// Becomes the program behind a descriptor (execveat(2)). Returns only if that fails.
pub fn exec(program: &OwnedFd, argv: &[CString], environment: &[CString]) -> Errno {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: both arrays end in NULL and hold NUL-terminated strings that outlive the call; the path is
    // empty, as AT_EMPTY_PATH wants.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last()
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// Takes a descriptor that this process was started with.
pub fn inherited(number: i32) -> Result<OwnedFd, Errno> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_GETFD reads a flag and touches nothing else.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: the descriptor is open, and whoever started this process passed it by number and kept nothing
    // that would close it; the caller takes each number once.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Marks all descriptors from a number on as not to go through exec (close_range(2)).
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: with CLOSE_RANGE_CLOEXEC nothing is closed; only flags are set.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(last()) }
}

/// unshare(2) of the mount namespace. The process has one thread.
pub fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: only CLONE_NEWNS is asked for, which leaves the descriptor table alone.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}
