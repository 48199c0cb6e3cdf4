//! The system calls that no safe wrapper has, and the descriptors that come by number. All `unsafe` of both
//! programs is here.

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, Ordering};

/// Sets close-on-exec on every descriptor but the standard three: what is not handed on by intent is gone.
pub fn close_others_at_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC.cast_signed();
    // SAFETY: close_range reads its three numbers only.
    answered(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) }.into()).map(drop)
}

/// Takes ownership of an inherited descriptor. Call it once for a number.
pub fn take_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_GETFD reads its number only.
    answered(unsafe { libc::fcntl(number, libc::F_GETFD) }.into())?;
    // SAFETY: it is open (just seen) and inherited, so nobody in this process owns it; the caller passes a
    // number once, which the parser of the argument sees to (it refuses equal numbers and 0 to 2).
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A mount namespace of this process's own.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: only FILES can make descriptors disappear under a thread, and it is not among the flags.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?)
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Sets and clears attributes of a mount, or with `recursive` of all below too, which become private.
pub fn set_mount(path: &CStr, set: u64, clear: u64, recursive: bool) -> Result<(), Errno> {
    let (flags, propagation) = if recursive { (libc::AT_RECURSIVE, libc::MS_PRIVATE) } else { (0, 0) };
    let attr = MountAttr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    // SAFETY: the path is a C string, the struct is the kernel's layout and outlives the call, its size is told.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    number(result).map(drop)
}

/// `struct landlock_ruleset_attr`. Older kernels know a shorter one, and take a longer whose rest is zero.
#[repr(C)]
struct LandlockRuleset {
    files: u64,
    tcp: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct LandlockPathBeneath {
    rights: u64,
    parent: c_int,
}

const LANDLOCK_RULE_PATH_BENEATH: c_int = 1;

/// A ruleset that handles these rights.
pub fn landlock_create(files: u64, tcp: u64, scopes: u64) -> Result<OwnedFd, Errno> {
    let attr = LandlockRuleset { files, tcp, scopes };
    // SAFETY: the struct has the kernel's layout and outlives the call, its size is told; no flag asks for anything else.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<LandlockRuleset>(), 0) };
    let number = number(result)?;
    // SAFETY: the kernel has just made it, close-on-exec, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Allows rights below an inode.
pub fn landlock_allow(ruleset: &OwnedFd, object: BorrowedFd<'_>, rights: u64) -> Result<(), Errno> {
    let attr = LandlockPathBeneath { rights, parent: object.as_raw_fd() };
    // SAFETY: the struct has the kernel's layout for this type of rule and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), LANDLOCK_RULE_PATH_BENEATH, &raw const attr, 0)
    };
    number(result).map(drop)
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct LandlockNetPort {
    rights: u64,
    port: u64,
}

const LANDLOCK_RULE_NET_PORT: c_int = 2;

/// Allows rights of TCP to a port, whatever the address.
pub fn landlock_allow_port(ruleset: &OwnedFd, port: u16, rights: u64) -> Result<(), Errno> {
    let attr = LandlockNetPort { rights, port: port.into() };
    // SAFETY: the struct has the kernel's layout for this type of rule and outlives the call.
    let result = unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), LANDLOCK_RULE_NET_PORT, &raw const attr, 0)
    };
    number(result).map(drop)
}

/// Enforces a ruleset on this thread, which is the only one.
pub fn landlock_enforce(ruleset: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: the call reads its two numbers only.
    number(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) }).map(drop)
}

/// Installs a seccomp filter, eight bytes a step, on this thread, which is the only one.
pub fn seccomp(filter: &[[u8; 8]]) -> Result<(), Errno> {
    let len = u16::try_from(filter.len()).map_err(|_| Errno::INVAL)?;
    // A step is four fields of 2, 1, 1 and 4 bytes; the alignment of `sock_filter` is met by a copy.
    let mut steps: Vec<libc::sock_filter> = filter.iter().map(step).collect();
    let program = libc::sock_fprog { len, filter: steps.as_mut_ptr() };
    // SAFETY: the program and its steps outlive the call, and the kernel copies them.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    number(result).map(drop)
}

const fn step(bytes: &[u8; 8]) -> libc::sock_filter {
    let [code0, code1, jt, jf, k0, k1, k2, k3] = *bytes;
    libc::sock_filter { code: u16::from_le_bytes([code0, code1]), jt, jf, k: u32::from_le_bytes([k0, k1, k2, k3]) }
}

/// Whether the kernel knows mount_setattr(2): it is asked for nothing, of no file.
pub fn knows_mount_setattr() -> bool {
    // SAFETY: no structure is passed, and its size is 0, which the kernel refuses.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, -1, c"".as_ptr(), 0, 0, 0) };
    number(result) != Err(Errno::NOSYS)
}

/// Whether the kernel's seccomp can end a process, which every filter of ours says of foreign calls.
pub fn knows_seccomp() -> bool {
    let action: u32 = libc::SECCOMP_RET_KILL_PROCESS;
    // SAFETY: the action outlives the call, which reads it only.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    number(result).is_ok()
}

/// Whether the kernel takes programs that look at the addresses of a cgroup's sockets: the shortest is loaded, and let
/// go. Only root is told.
pub fn knows_address_programs() -> bool {
    // Set the answer to 0; give it (`struct bpf_insn`).
    const REFUSES: [u64; 2] = [0xb7, 0x95];
    // BPF_PROG_LOAD of BPF_PROG_TYPE_CGROUP_SOCK_ADDR, for BPF_CGROUP_INET4_CONNECT.
    let (command, kind, hook) = (5, 18_u64, 10_u64 << 32);
    let (steps, licence) = (REFUSES.as_ptr() as u64, c"Apache-2.0".as_ptr() as u64);
    let attr = [kind | 2 << 32, steps, licence, 0, 0, 0, 0, 0, hook];
    // SAFETY: the steps, whose number is told, the licence's text and the parameters, whose size is told, outlive the
    // call, which reads them.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of_val(&attr)) };
    let Ok(program) = number(result) else { return false };
    // SAFETY: the kernel has just opened it for us, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(program) });
    true
}

/// unshare(2) with no flag: does nothing, and is refused by the filter.
pub fn unshare_nothing() -> Result<(), Errno> {
    // SAFETY: with no flag nothing changes.
    number(unsafe { libc::unshare(0) }.into()).map(drop)
}

fn number(result: libc::c_long) -> Result<c_int, Errno> {
    if result < 0 {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO))
    } else {
        Ok(result as c_int)
    }
}

/// Splits this process: the child's number in the parent, nothing in the child.
pub fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this program has one thread, so no lock is held by another that the child would miss.
    let child = answered(unsafe { libc::fork() }.into())?;
    Ok(Pid::from_raw(child))
}

/// Whom signals are passed on to.
static CHILD: AtomicI32 = AtomicI32::new(0);

/// What sudo sends, or passes on, to the process that it started.
const PASSED: [c_int; 8] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGCONT,
];

extern "C" fn pass_on(signal: c_int) {
    // SAFETY: kill(2) may be called in a signal handler (signal-safety(7)); the place of errno is the thread's own,
    // and it is as before afterwards.
    unsafe {
        let errno = *libc::__errno_location();
        libc::kill(CHILD.load(Ordering::Relaxed), signal);
        *libc::__errno_location() = errno;
    }
}

/// From here on signals to this process go to its child. System calls are interrupted, not restarted.
pub fn pass_signals_to(child: Pid) {
    CHILD.store(child.as_raw_nonzero().get(), Ordering::Relaxed);
    for signal in PASSED {
        // SAFETY: all zeroes is a sigaction without flags and with an empty mask; the handler does what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = pass_on as *const () as usize;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

/// Leaves the controlling terminal, if there is one. The session and the process group stay: keys still send signals.
pub fn leave_terminal() -> Result<(), Errno> {
    use rustix::fs::{Mode, OFlags, open};
    let terminal = match open("/dev/tty", OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(terminal) => terminal,
        // There is none, or no way to it: nothing that this process starts has one either.
        Err(Errno::NXIO | Errno::NOENT | Errno::IO) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // SAFETY: TIOCNOTTY takes no argument.
    number(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) }.into()).map(drop)
}

/// Ends this process by a signal, as a program ends that does not handle it.
pub fn end_by(signal: Signal) -> ! {
    // SAFETY: SIG_DFL is not a function; raise(3) sends to this thread, which is the only one.
    unsafe {
        libc::signal(signal.as_raw(), libc::SIG_DFL);
        libc::raise(signal.as_raw());
    }
    // A signal that ends nothing by default.
    std::process::exit(128 + signal.as_raw())
}

/// SIGPIPE as programs expect it: Rust's runtime ignores it, and that is inherited across exec.
pub fn default_sigpipe() {
    // SAFETY: SIG_DFL is not a function, so nothing of ours runs in a signal.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Becomes the program that a descriptor refers to. Returns only on failure.
pub fn exec(program: &OwnedFd, argv: &[CString], environment: &[CString]) -> io::Result<Infallible> {
    let (argv, environment) = (pointers(argv), pointers(environment));
    // SAFETY: both arrays end in NULL and their strings outlive the call; with AT_EMPTY_PATH the empty path
    // means the descriptor, which is open.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            program.as_raw_fd(),
            <CStr>::as_ptr(c""),
            argv.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(io::Error::last_os_error())
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

fn answered(result: libc::c_long) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as c_int) }
}
