"""What probes are made of: the list of them, system calls by number, and the paths they share.

A probe is written once, with three halves that never run in one process:

* `prepare(warden)` and `judge(warden, loot)` run as root on the host, in the warden, and hold what the attacker must
  not know;
* the probe itself runs as the attacker: plain root (the positive control) or the confined command. It returns its
  loot, which is all that it could bring out, or raises.

Harm is what the warden sees from outside. Without a judge it is a canary in the loot; a probe whose loot is itself
the harm (a descriptor of a kind that must not be had) says so with `Claim`.
"""

import ctypes
import dataclasses
import json
import os
import struct

BASE = "/usr/local/share/tether-battery"
PARAMS = BASE + "/params.json"
# World-writable for the attacker's own marks, on the host's disk: what appears here was written by it.
GROUND = "/var/lib/battery"

# Layers of the launcher, by the names that an ablation build takes.
LANDLOCK, SECCOMP, MOUNTS, IDENTITY = "landlock", "seccomp", "mounts", "identity"
DESCRIPTORS, NO_NEW_PRIVS, LIMITS = "descriptors", "no_new_privs", "limits"


class Claim(str):
    """Loot that is harm by itself: what was got."""


@dataclasses.dataclass
class Probe:
    """One attempt."""

    name: str
    group: str
    tries: str
    oracle: str
    attack: object
    prepare: object = None
    judge: object = None
    starter: object = None
    impossible: str = ""
    timeout: float = 6.0


PROBES = {}


def add(name, group, tries, oracle, attack, **more):
    """Puts a probe into the list."""
    if name in PROBES:
        raise ValueError(f"two probes are called {name}")
    PROBES[name] = Probe(name, group, tries, oracle, attack, **more)
    return PROBES[name]


def probe(group, tries, oracle, **more):
    """The same for a function, which gives the name; `judge` and `prepare` may be set on it later."""

    def take(function):
        return add(function.__name__, group, tries, oracle, function, **more)

    return take


_params = {}


def params():
    """What the warden tells attackers: paths, process numbers, ports. No canary is in it."""
    if not _params:
        with open(PARAMS, encoding="utf-8") as file:
            _params.update(json.load(file))
    return _params


def mine():
    """What the warden tells this probe."""
    return params()[os.environ["PROBE"]]


# --- system calls -----------------------------------------------------------------------------------------------

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.syscall.restype = ctypes.c_long

NUMBERS = {
    "ptrace": 101, "syslog": 103, "personality": 135, "pivot_root": 155, "adjtimex": 159, "chroot": 161,
    "acct": 163, "mount": 165, "umount2": 166, "sethostname": 170, "setdomainname": 171, "iopl": 172,
    "ioperm": 173, "init_module": 175, "delete_module": 176, "tkill": 200, "io_setup": 206, "io_submit": 209,
    "fadvise64": 221, "clock_settime": 227, "tgkill": 234, "mq_open": 240, "mq_timedsend": 242,
    "mq_timedreceive": 243, "add_key": 248, "request_key": 249, "keyctl": 250, "ioprio_set": 251,
    "migrate_pages": 256, "mknodat": 259, "fchownat": 260, "unshare": 272, "splice": 275, "move_pages": 279,
    "rt_sigqueueinfo": 129, "perf_event_open": 298, "fanotify_init": 300, "fanotify_mark": 301, "prlimit64": 302,
    "name_to_handle_at": 303, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308,
    "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "sched_setattr": 314,
    "memfd_create": 319, "bpf": 321, "execveat": 322, "userfaultfd": 323, "copy_file_range": 326,
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435,
    "openat2": 437, "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "fchmodat2": 452,
    "semget": 64, "semctl": 66, "shmget": 29, "shmat": 30, "shmctl": 31, "msgget": 68, "msgsnd": 69, "msgrcv": 70,
    "swapon": 167, "quotactl": 179, "vhangup": 153, "memfd_secret": 447, "truncate": 76, "utimensat": 280,
    "setxattrat": 463, "open_tree_attr": 467, "getxattr": 191, "msgctl": 71, "get_mempolicy": 239,
}


def call(name, *arguments):
    """A system call; a failure is an OSError."""
    given = []
    for argument in arguments:
        if isinstance(argument, str):
            argument = argument.encode()
        given.append(ctypes.c_long(argument) if isinstance(argument, int) else argument)
    result = LIBC.syscall(ctypes.c_long(NUMBERS[name]), *given)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def buffer(size_or_bytes):
    """Memory for a system call."""
    return ctypes.create_string_buffer(size_or_bytes, len(size_or_bytes) if isinstance(size_or_bytes, bytes) else size_or_bytes)


_held = []


def address(memory):
    """Where such memory lies; it lives from now on as long as the process, since the kernel is told only a number."""
    _held.append(memory)
    return ctypes.addressof(memory)


def taken(memory, ask):
    """What a call wrote into memory, as much as it says."""
    size = ask()
    return memory.raw[:size]


def may(capability):
    """Whether root has a capability here: some machines' containers hold one back."""
    with open("/proc/self/status", encoding="utf-8") as file:
        bounding = next(int(line.split()[1], 16) for line in file if line.startswith("CapBnd:"))
    return bool(bounding >> capability & 1)


def read(path, size=65536):
    """The start of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return drain(descriptor, size)
    finally:
        os.close(descriptor)


def drain(descriptor, size=65536):
    """Reads a descriptor to its end, or as much as is there."""
    got = b""
    while len(got) < size:
        try:
            part = os.read(descriptor, size - len(got))
        except BlockingIOError:
            break
        if not part:
            break
        got += part
    return got


def write(path, data=b"written by the attacker\n", flags=os.O_WRONLY | os.O_CREAT, mode=0o644):
    """Opens for writing, and writes."""
    descriptor = os.open(path, flags, mode)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def run(*argv, input=None, timeout=5, env=None):
    """Runs a program, and gives what it printed: loot as any other."""
    import subprocess

    try:
        done = subprocess.run(argv, input=input, capture_output=True, timeout=timeout, env=env, check=False)
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"") + (late.stderr or b"") + b" [timed out]"
    return done.stdout + done.stderr + f" [rc {done.returncode}]".encode()



def lacks(option, what):
    """Why a probe is impossible: the kernel was built without what it needs. "" if it has it or does not say."""
    import gzip

    try:
        with gzip.open("/proc/config.gz", "rt") as file:
            return "" if f"{option}=y\n" in file.read() else f"this kernel has no {what} ({option})"
    except OSError:
        return ""
