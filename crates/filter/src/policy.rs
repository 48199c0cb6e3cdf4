//! Which system calls a confined command and a session may make.
//!
//! A confined command has an allow-list; what is on no list is EPERM. What is not allowed is refused with the errno
//! that makes programs do without: ENOSYS for calls that have an older way, EAFNOSUPPORT for sockets, ENOTTY for
//! ioctl. Locks are answered with 0 and not taken: a command that locks a root file would hold up the host.

/// What the kernel answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The call is made.
    Allow,
    /// It is not, with this errno; 0 is "done".
    Errno(u16),
    /// The process ends.
    Kill,
}

impl Action {
    /// As in seccomp(2).
    #[must_use]
    pub const fn answer(self) -> u32 {
        match self {
            Self::Allow => 0x7fff_0000,
            Self::Errno(errno) => 0x0005_0000 | errno as u32,
            Self::Kill => 0x8000_0000,
        }
    }
}

const EPERM: Action = Action::Errno(1);
const ENOTTY: Action = Action::Errno(25);
const ENOSYS: Action = Action::Errno(38);
const EAFNOSUPPORT: Action = Action::Errno(97);
const DONE: Action = Action::Errno(0);

/// Whether the lower half of an argument, masked, is one of some values. The kernel's own parameters are 32 bits
/// wide wherever this is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Test {
    /// Which argument.
    pub argument: u8,
    /// Which bits.
    pub mask: u32,
    /// The values.
    pub values: Vec<u32>,
}

/// What happens to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Whatever its arguments.
    Always(Action),
    /// The first whose tests all hold, or the last.
    Tests(Vec<(Vec<Test>, Action)>, Action),
}

/// A whole filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// By name. A later one wins.
    pub rules: Vec<(&'static str, Rule)>,
    /// Every other call.
    pub other: Action,
    /// Calls by another processor's numbers: i386, x32.
    pub foreign: Action,
}

/// A filter that we ship.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A confined command.
    Confined {
        /// It writes, by a write rule.
        writes: bool,
        /// It has the grant `dbus`.
        dbus: bool,
        /// It may send signals: those that leave it are stopped elsewhere.
        signals: bool,
    },
    /// A login session, sudo in it included. It must allow what sudo and the launcher need.
    Session,
}

impl Profile {
    /// Every one.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let confined = |writes, dbus, signals| Self::Confined { writes, dbus, signals };
        vec![
            confined(false, false, true),
            confined(false, true, true),
            confined(true, false, true),
            confined(true, false, false),
            Self::Session,
        ]
    }

    /// The name of its file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Confined { writes: false, dbus: false, .. } => "read-only",
            Self::Confined { writes: false, dbus: true, .. } => "read-only-dbus",
            Self::Confined { writes: true, signals: true, .. } => "write",
            Self::Confined { writes: true, signals: false, .. } => "write-silent",
            Self::Session => "session",
        }
    }

    /// What it says.
    #[must_use]
    pub fn policy(self) -> Policy {
        match self {
            Self::Confined { writes, dbus, signals } => confined(writes, dbus, signals),
            Self::Session => session(),
        }
    }
}

/// Allowed with any argument.
const ALLOWED: &[&str] = &[
    // Files by descriptor and by name. What may be opened is Landlock's and the mounts' to say.
    "read",
    "write",
    "open",
    "openat",
    "openat2",
    "creat",
    "close",
    "close_range",
    "stat",
    "fstat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "lseek",
    "pread64",
    "pwrite64",
    "readv",
    "writev",
    "preadv",
    "pwritev",
    "preadv2",
    "pwritev2",
    "sendfile",
    "splice",
    "tee",
    "vmsplice",
    "copy_file_range",
    "dup",
    "dup2",
    "dup3",
    "pipe",
    "pipe2",
    "readlink",
    "readlinkat",
    "getdents",
    "getdents64",
    "getcwd",
    "chdir",
    "fchdir",
    "umask",
    "statfs",
    "fstatfs",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "fadvise64",
    "readahead",
    "sync_file_range",
    "rename",
    "renameat",
    "renameat2",
    "mkdir",
    "mkdirat",
    "rmdir",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "symlink",
    "symlinkat",
    "getxattr",
    "lgetxattr",
    "fgetxattr",
    "listxattr",
    "llistxattr",
    "flistxattr",
    "statmount",
    "listmount",
    "inotify_init",
    "inotify_init1",
    "inotify_add_watch",
    "inotify_rm_watch",
    // Waiting and events.
    "poll",
    "ppoll",
    "select",
    "pselect6",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "eventfd",
    "eventfd2",
    "signalfd",
    "signalfd4",
    "timerfd_create",
    "timerfd_settime",
    "timerfd_gettime",
    "timer_create",
    "timer_settime",
    "timer_gettime",
    "timer_getoverrun",
    "timer_delete",
    "getitimer",
    "setitimer",
    "alarm",
    "pause",
    "nanosleep",
    "clock_nanosleep",
    "clock_gettime",
    "clock_getres",
    "gettimeofday",
    "time",
    "times",
    // Memory of its own.
    "mmap",
    "mprotect",
    "munmap",
    "brk",
    "mremap",
    "msync",
    "mincore",
    "madvise",
    "mlock",
    "mlock2",
    "munlock",
    "mlockall",
    "munlockall",
    "membarrier",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "get_mempolicy",
    // Processes and threads of its own.
    "fork",
    "vfork",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "wait4",
    "waitid",
    "futex",
    "futex_waitv",
    "futex_wake",
    "futex_wait",
    "futex_requeue",
    "set_tid_address",
    "set_robust_list",
    "get_robust_list",
    "restart_syscall",
    "rseq",
    "sched_yield",
    "getpid",
    "getppid",
    "gettid",
    "setpgid",
    "getpgid",
    "getpgrp",
    "getsid",
    "setsid",
    "getpriority",
    "sched_getparam",
    "sched_getscheduler",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getattr",
    "sched_getaffinity",
    "sched_rr_get_interval",
    "ioprio_get",
    "getcpu",
    "getrlimit",
    "setrlimit",
    "getrusage",
    "prctl",
    "arch_prctl",
    "uname",
    "sysinfo",
    "getrandom",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigsuspend",
    "sigaltstack",
    // Who it is; it has no right to become another.
    "getuid",
    "geteuid",
    "getgid",
    "getegid",
    "getresuid",
    "getresgid",
    "getgroups",
    "setgroups",
    "setuid",
    "setgid",
    "setreuid",
    "setregid",
    "setresuid",
    "setresgid",
    "setfsuid",
    "setfsgid",
    "capget",
    "capset",
    // Sockets, of the families that `socket` lets through. Descriptors pass over Unix sockets only.
    "bind",
    "connect",
    "listen",
    "accept",
    "accept4",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "sendmmsg",
    "recvmmsg",
    "shutdown",
    // To be held closer still.
    "seccomp",
    "landlock_create_ruleset",
    "landlock_add_rule",
    "landlock_restrict_self",
];

/// Signals: to whom is the kernel's and Landlock's to say.
const SIGNALS: &[&str] = &["kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo"];

/// Refused so that programs take the older way.
const ABSENT: &[&str] = &[
    "clone3",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "memfd_create",
    "memfd_secret",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "fchmodat2",
    "map_shadow_stack",
    "set_mempolicy_home_node",
    "process_mrelease",
    "modify_ldt",
];

/// Changes of what is around a file's content; only where something may be written.
const METADATA: &[&str] = &[
    "truncate",
    "fchown",
    "lchown",
    "chown",
    "fchownat",
    "utime",
    "utimes",
    "futimesat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "removexattr",
    "lremovexattr",
    "fremovexattr",
    "sync",
    "syncfs",
];

/// `CLONE_NEW…`, all of them.
const NEW_NAMESPACES: u32 = 0x7e02_0000;
const NEW_USER: u32 = 0x1000_0000;
const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
/// `SOCK_STREAM`, without its flags.
const STREAM: u32 = 1;
const TYPE: u32 = 0xf;
/// Protocols of netlink: routes, socket diagnosis, device events, generic.
const NETLINK: [u32; 4] = [0, 4, 15, 16];
const O_CREAT: u32 = 0o100;
/// `S_ISUID`, `S_ISGID`.
const SET_ID: u32 = 0o6000;

/// ioctl requests: of terminals, pipes and files, without TIOCSTI and its like; and what interfaces are, which ip(8)
/// and ethtool(8) ask.
const IOCTLS: &[u32] = &[
    0x5401,
    0x5402,
    0x5403,
    0x5404,
    0x5405,
    0x5406,
    0x5407,
    0x5408,
    0x5409,
    0x540a,
    0x540b,
    0x540f,
    0x5410,
    0x5411,
    0x5413,
    0x5414,
    0x541b,
    0x5421,
    0x5422,
    0x5429,
    0x5450,
    0x5451,
    0x5460,
    0x802c_542a,
    0x402c_542b,
    0x402c_542c,
    0x402c_542d,
    0x0001,
    0x0002,
    0x8008_6601,
    0x8008_7601,
    0x801c_581f,
    0xc020_660b,
    0x8906,
    0x8907,
    0x8910,
    0x8912,
    0x8913,
    0x8915,
    0x8917,
    0x8919,
    0x891b,
    0x891d,
    0x8921,
    0x8927,
    0x8933,
    0x8938,
    0x8942,
    0x8946,
    0x8947,
    0x8948,
    0x8970,
    0x89f0,
    0x8b01,
];

/// fcntl: F_SETLK, F_SETLKW, their open-file and lease kin, F_NOTIFY.
const LOCKS: &[u32] = &[6, 7, 37, 38, 1024, 1026];
/// fcntl: F_SETOWN, F_SETSIG, F_SETOWN_EX send signals.
const OWNERS: &[u32] = &[8, 10, 15];

fn test(argument: u8, values: &[u32]) -> Test {
    masked(argument, u32::MAX, values)
}

fn masked(argument: u8, mask: u32, values: &[u32]) -> Test {
    Test { argument, mask, values: values.to_vec() }
}

fn allow_if(tests: Vec<Test>, otherwise: Action) -> Rule {
    Rule::Tests(vec![(tests, Action::Allow)], otherwise)
}

fn confined(writes: bool, dbus: bool, signals: bool) -> Policy {
    let mut rules: Vec<(&'static str, Rule)> = Vec::new();
    let always = |names: &[&'static str], action| -> Vec<(&'static str, Rule)> {
        names.iter().map(|name| (*name, Rule::Always(action))).collect()
    };
    rules.extend(always(ALLOWED, Action::Allow));
    rules.extend(always(ABSENT, ENOSYS));
    if signals {
        rules.extend(always(SIGNALS, Action::Allow));
    }
    rules.push(("clone", allow_if(vec![masked(0, NEW_NAMESPACES, &[0])], EPERM)));
    rules.push(("ioctl", allow_if(vec![test(1, IOCTLS)], ENOTTY)));
    rules.push(("socket", sockets(dbus)));
    // A datagram socket that is one of a pair can still be sent from to any name.
    rules.push(("socketpair", allow_if(vec![test(0, &[AF_UNIX]), masked(1, TYPE, &[STREAM])], EAFNOSUPPORT)));
    // Itself only: 0.
    for name in ["prlimit64", "sched_setaffinity", "sched_setscheduler", "sched_setparam", "sched_setattr"] {
        rules.push((name, allow_if(vec![test(0, &[0])], EPERM)));
    }
    rules.push(("setpriority", allow_if(vec![test(0, &[0]), test(1, &[0])], EPERM)));
    // Reading all of it, how much there is, how large the buffer is: nothing that takes.
    rules.push(("syslog", allow_if(vec![test(0, &[3, 9, 10])], EPERM)));
    rules.push(("personality", allow_if(vec![test(0, &[0, 8, 0x0004_0000, u32::MAX])], EPERM)));
    if writes {
        rules.extend(always(METADATA, Action::Allow));
        rules.extend(writing());
    } else {
        rules.push(("flock", Rule::Always(DONE)));
        let locks = (vec![test(1, LOCKS)], DONE);
        rules.push(("fcntl", Rule::Tests(vec![locks, (vec![test(1, OWNERS)], EPERM)], Action::Allow)));
    }
    Policy { rules, other: EPERM, foreign: Action::Kill }
}

fn sockets(dbus: bool) -> Rule {
    let mut allowed = vec![(vec![test(0, &[AF_NETLINK]), test(2, &NETLINK)], Action::Allow)];
    if dbus {
        allowed.push((vec![test(0, &[AF_UNIX]), masked(1, TYPE, &[STREAM])], Action::Allow));
    }
    Rule::Tests(allowed, EAFNOSUPPORT)
}

/// No file that makes whoever runs it another: a command that writes as root could leave a root shell behind.
fn writing() -> Vec<(&'static str, Rule)> {
    let set_id = |argument| masked(argument, SET_ID, &[0o2000, 0o4000, 0o6000]);
    let refuse_if = |tests| Rule::Tests(vec![(tests, EPERM)], Action::Allow);
    vec![
        ("chmod", refuse_if(vec![set_id(1)])),
        ("fchmod", refuse_if(vec![set_id(1)])),
        ("fchmodat", refuse_if(vec![set_id(2)])),
        ("creat", refuse_if(vec![set_id(1)])),
        ("open", refuse_if(vec![masked(1, O_CREAT, &[O_CREAT]), set_id(2)])),
        ("openat", refuse_if(vec![masked(2, O_CREAT, &[O_CREAT]), set_id(3)])),
        // Its mode is in memory, where no filter sees it.
        ("openat2", Rule::Always(ENOSYS)),
        ("flock", Rule::Always(Action::Allow)),
        ("fcntl", refuse_if(vec![test(1, OWNERS)])),
    ]
}

/// What no session needs: user namespaces (in one, everybody is root), keyrings (they outlive the session, and their
/// owner can shut root out), the kernel's programmable interfaces, families of sockets that know no network
/// namespace, and the option of ptrace(2) with which two processes that trace each other cannot be killed.
fn session() -> Policy {
    let mut rules: Vec<(&'static str, Rule)> = Vec::new();
    for name in ["add_key", "request_key", "keyctl", "bpf", "perf_event_open", "userfaultfd"] {
        rules.push((name, Rule::Always(EPERM)));
    }
    for name in ["clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"] {
        rules.push((name, Rule::Always(ENOSYS)));
    }
    let no_user = |argument| allow_if(vec![masked(argument, NEW_USER, &[0])], EPERM);
    rules.push(("clone", no_user(0)));
    rules.push(("unshare", no_user(0)));
    rules.push(("socket", allow_if(vec![test(0, &[AF_UNIX, AF_INET, AF_INET6, AF_NETLINK])], EAFNOSUPPORT)));
    /// `PTRACE_SETOPTIONS`, `PTRACE_SEIZE`.
    const WITH_OPTIONS: [u32; 2] = [0x4200, 0x4206];
    /// `PTRACE_O_TRACEEXIT`.
    const TRACE_EXIT: u32 = 0x40;
    let ptrace = (vec![test(0, &WITH_OPTIONS), masked(3, TRACE_EXIT, &[TRACE_EXIT])], EPERM);
    rules.push(("ptrace", Rule::Tests(vec![ptrace], Action::Allow)));
    Policy { rules, other: Action::Allow, foreign: ENOSYS }
}
