//! System calls that no library here wraps safely. All of agentd's `unsafe` is in this file.
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

/// Blocks SIGTERM and SIGINT for this thread and those that it makes, and becomes readable when one comes (signalfd(2)).
pub fn termination() -> Result<OwnedFd, Errno> {
    // SAFETY: a signal set of zeros is valid memory for sigemptyset, which makes it a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is this function's own; the signals' numbers are the C library's.
    unsafe {
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
    }
    // SAFETY: the set is valid, and no old one is asked for.
    let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
    if failed != 0 {
        return Err(Errno::from_raw_os_error(failed));
    }
    // SAFETY: the set is valid, and -1 asks for a new descriptor.
    let descriptor = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC) };
    if descriptor < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just opened this descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Whether anybody has a file of ours open for writing. A lease for reading is given only where nobody has (fcntl(2)); it
/// is given back at once. Where a file system gives none, the answer is no.
pub fn has_writer(file: &std::fs::File) -> bool {
    // SAFETY: numbers only; the descriptor lives as long as the borrow.
    let lease = |kind: libc::c_int| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if lease(libc::F_RDLCK) == 0 {
        lease(libc::F_UNLCK);
        return false;
    }
    last_error() == Errno::AGAIN
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

/// The parameters of bpf(2), word by word: longer than any that we use, and than what the kernel writes back. A kernel
/// that knows fewer words takes the others if they are zero.
#[repr(C, align(8))]
struct BpfParameters([u32; 48]);

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_SOCK_ADDR: u32 = 18;
/// Programs further up are asked too.
const BPF_F_ALLOW_MULTI: u32 = 2;
/// All that are asked, not only those of the cgroup itself.
const BPF_F_QUERY_EFFECTIVE: u32 = 1;

impl BpfParameters {
    fn new(words: &[(usize, u32)], pointers: &[(usize, u64)]) -> Self {
        let halves =
            pointers.iter().flat_map(|(at, pointer)| [(*at, *pointer as u32), (*at + 1, (*pointer >> 32) as u32)]);
        let mut parameters = [0; 48];
        for (at, word) in words.iter().copied().chain(halves) {
            if let Some(place) = parameters.get_mut(at) {
                *place = word;
            }
        }
        Self(parameters)
    }

    fn word(&self, at: usize) -> u32 {
        self.0.get(at).copied().unwrap_or_default()
    }

    /// # Safety
    /// Every address among the parameters must be one that the kernel may read, or write, as the command has it.
    unsafe fn call(&mut self, command: libc::c_int) -> Result<i32, Errno> {
        // SAFETY: the kernel reads and writes the parameters, whose size it is told, and what they point to, which
        // the caller answers for.
        let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(self), size_of::<Self>()) };
        i32::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(last_error)
    }
}

fn number_of(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Has the kernel check a program that looks at addresses of sockets (bpf(2)).
pub fn load_program(steps: &[[u8; 8]], hook: u32) -> Result<OwnedFd, Errno> {
    let count = u32::try_from(steps.len()).map_err(|_| Errno::TOOBIG)?;
    let pointers = [(2, steps.as_ptr() as u64), (4, c"Apache-2.0".as_ptr() as u64)];
    let mut parameters = BpfParameters::new(&[(0, BPF_PROG_TYPE_CGROUP_SOCK_ADDR), (1, count), (17, hook)], &pointers);
    // SAFETY: the steps, whose number is told, and the licence's NUL-terminated text outlive the call, which reads them.
    let number = unsafe { parameters.call(BPF_PROG_LOAD) }?;
    // SAFETY: the kernel has just opened this descriptor (close-on-exec) for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The number by which the kernel knows a program.
pub fn program_id(program: &OwnedFd) -> Result<u32, Errno> {
    let mut info = [0_u32; 2];
    let place = [(2, info.as_mut_ptr() as u64)];
    let mut parameters = BpfParameters::new(&[(0, number_of(program)), (1, 8)], &place);
    // SAFETY: the kernel writes at most the eight bytes that it is told of, and they outlive the call.
    unsafe { parameters.call(BPF_OBJ_GET_INFO_BY_FD) }?;
    let [_, id] = info;
    Ok(id)
}

/// Has the kernel ask a program about all of a cgroup, for as long as that is there.
pub fn attach_program(cgroup: &OwnedFd, program: &OwnedFd, hook: u32) -> Result<(), Errno> {
    let words = [(0, number_of(cgroup)), (1, number_of(program)), (2, hook), (3, BPF_F_ALLOW_MULTI)];
    // SAFETY: this command's parameters are numbers.
    unsafe { BpfParameters::new(&words, &[]).call(BPF_PROG_ATTACH) }.map(drop)
}

/// The numbers of the programs that the kernel asks about a cgroup, its own and those further up.
pub fn effective_programs(cgroup: &OwnedFd, hook: u32) -> Result<Vec<u32>, Errno> {
    // The kernel takes 64 at a cgroup.
    let mut ids = [0_u32; 512];
    let words = [(0, number_of(cgroup)), (1, hook), (2, BPF_F_QUERY_EFFECTIVE), (6, 512)];
    let mut parameters = BpfParameters::new(&words, &[(4, ids.as_mut_ptr() as u64)]);
    // SAFETY: the kernel writes at most the 512 numbers that it is told there is room for, and they outlive the call.
    unsafe { parameters.call(BPF_PROG_QUERY) }?;
    Ok(ids.iter().copied().take(parameters.word(6) as usize).collect())
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
