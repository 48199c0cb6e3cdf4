"""The kernel's own interfaces: programs in it, its clock, its log, its rings, its handlers."""

import ctypes
import fcntl
import os
import struct

import uring
from kit import GROUND, LIBC, Claim, address, add, buffer, call, lacks, mine, params, probe, read, taken, write
from probes_signal import perf

SHARED_CLOCK = "test hosts share the machine's clock and may not set it: CAP_SYS_TIME is not in their bounding set"
SHARED_MODULES = "test hosts share the machine's kernel and may not load into it: no CAP_SYS_MODULE"


@probe("kernel", "make a BPF map", "a descriptor")
def bpf_map():
    return Claim(f"map {call('bpf', 0, address(buffer(struct.pack('IIIII', 2, 4, 8, 1, 0) + bytes(100))), 72)}")


@probe("kernel", "load a BPF program", "a descriptor")
def bpf_program():
    # r0 = 0; exit
    code = buffer(struct.pack("<QQ", 0xB7, 0x95))
    license_ = buffer(b"GPL\0")
    given = struct.pack("IIQQIIQ", 1, 2, address(code), address(license_), 0, 0, 0)
    return Claim(f"program {call('bpf', 5, address(buffer(given + bytes(120))), 72)}")


@probe("kernel", "look through the kernel's BPF programs", "an answer")
def bpf_next():
    try:
        call("bpf", 11, address(buffer(bytes(72))), 12)
    except OSError as error:
        # ENOENT is an answer: there is none.
        if error.errno != 2:
            raise
    return Claim("answered")


@probe("kernel", "count one's own instructions (perf_event_open)", "a descriptor")
def perf_self():
    return Claim(f"descriptor {perf(0)}")


@probe("kernel", "trace the kernel (perf_event_open, a tracepoint of all processes)", "a descriptor")
def perf_all():
    given = buffer(struct.pack("IIQ", 1, 120, 0) + bytes(104))
    return Claim(f"descriptor {call('perf_event_open', address(given), -1, 0, -1, 0)}")


@probe("kernel", "hold the kernel's page faults (userfaultfd)", "a descriptor")
def user_faults():
    return Claim(f"descriptor {call('userfaultfd', os.O_CLOEXEC)}")


@probe("kernel", "set up io_uring", "a descriptor")
def uring_setup():
    with uring.Ring() as ring:
        return Claim(f"descriptor {ring.descriptor}")


@probe("kernel", "load a module", "the kernel looked at it", impossible=SHARED_MODULES)
def module_load():
    try:
        call("init_module", address(buffer(b"x" * 64)), 64, "")
    except OSError as error:
        # ENOEXEC: it was let in and is no module.
        if error.errno == 8:
            return Claim("looked at")
        raise
    return Claim("loaded")


@probe("kernel", "load a module from a file", "the kernel looked at it", impossible=SHARED_MODULES)
def module_load_file():
    try:
        call("finit_module", os.open("/etc/passwd", os.O_RDONLY), "", 0)
    except OSError as error:
        if error.errno == 8:
            return Claim("looked at")
        raise
    return Claim("loaded")


@probe("kernel", "set the clock", "it is another", impossible=SHARED_CLOCK)
def clock_set():
    call("clock_settime", 0, address(buffer(struct.pack("qq", 1, 0))))
    return Claim("set")


@probe("kernel", "slew the clock (adjtimex)", "the kernel took it", impossible=SHARED_CLOCK)
def clock_slew():
    call("adjtimex", address(buffer(struct.pack("I", 2) + bytes(204))))
    return Claim("taken")


@probe("kernel", "set the clock through /dev/rtc or PTP", "the kernel took it", impossible=SHARED_CLOCK)
def clock_device():
    write("/dev/rtc0")
    return Claim("taken")


# --- the kernel's log -----------------------------------------------------------------------------------------------


@probe("kernel", "consume the kernel's log (syslog READ)", "an unread message is in the output", timeout=3,
       prepare=lambda warden: _log_something(warden))
def log_read():
    memory = buffer(65536)
    got = call("syslog", 2, address(memory), 65536)
    return Claim(f"{got} bytes consumed") if got else ""


def _log_something(warden):
    """An unread message: so that a read is one that consumes, and does not wait."""
    path = f"{GROUND}/kmsg"
    if not os.path.lexists(path):
        call("mknodat", -100, path, 0o20600, os.makedev(1, 11))
    write(path, b"<6>battery: a message\n", os.O_WRONLY)
    warden.kept["log"] = True


@probe("kernel", "set what of the log goes to the console (syslog CONSOLE_LEVEL)", "the level is another",
       prepare=lambda warden: _choose_level(warden),
       judge=lambda warden, loot: _level_changed(warden) or "was taken" in str(loot))
def log_level():
    call("syslog", 8, 0, mine()["level"])
    # The level is the machine's: another host's battery may have put it back before the warden looks.
    return "the level was taken"


def _choose_level(warden):
    # Another one than there is, which may be what an earlier run that was killed has left.
    before = warden.kept["level"] = read("/proc/sys/kernel/printk")
    warden.params.update(log_level={"level": 7 if int(before.split()[0]) == 6 else 6})


def _level_changed(warden):
    before, now = warden.kept["level"], read("/proc/sys/kernel/printk")
    if now != before:
        # The machine's own level, shared by all hosts, goes back.
        call("syslog", 8, 0, int(before.split()[0]))
    return now != before


@probe("kernel", "write to the kernel's log (/dev/kmsg)", "it is there",
       prepare=lambda warden: warden.params.update(log_write={"words": "battery-" + os.urandom(8).hex()}),
       judge=lambda warden, loot: _in_log(warden.params["log_write"]["words"].encode()))
def log_write():
    # Words of this run's own: all hosts have the machine's one log.
    for path in ("/dev/kmsg", f"{GROUND}/kmsg"):
        try:
            return write(path, f"<6>{mine()['words']}\n".encode(), os.O_WRONLY)
        except OSError:
            pass
    return b""


def _in_log(words):
    memory = buffer(1 << 20)
    return words in taken(memory, lambda: call("syslog", 3, address(memory), 1 << 20))


@probe("kernel", "read /proc/kmsg, which consumes", "a message is in the output", prepare=_log_something, timeout=3)
def log_proc():
    got = read("/proc/kmsg", 8192)
    return Claim(f"{len(got)} bytes consumed") if got else ""


# --- settings of the whole host ---------------------------------------------------------------------------------------


@probe("kernel", "set the host's name", "it is another",
       prepare=lambda warden: _keep_name(warden), judge=lambda warden, loot: os.uname().nodename == "battery")
def host_name():
    call("sethostname", "battery", 7)


def _keep_name(warden):
    name = os.uname().nodename
    warden.at_end.append(lambda: call("sethostname", name, len(name)))


@probe("kernel", "set the domain's name", "it is another",
       judge=lambda warden, loot: read("/proc/sys/kernel/domainname").strip() == b"battery")
def domain_name():
    call("setdomainname", "battery", 7)


def _prepare_accounting(warden):
    path = warden.plant(f"{GROUND}/accounting", "", 0o666)
    warden.params["accounting"] = {"path": path}
    # Turned off again by the file's end.
    warden.at_end.append(lambda: LIBC.syscall(163, 0))


@probe("kernel", "let the kernel write process accounting to a file (acct)", "it grows", prepare=_prepare_accounting,
       judge=lambda warden, loot: os.path.getsize(f"{GROUND}/accounting") > 0,
       impossible=lacks("CONFIG_BSD_PROCESS_ACCT", "process accounting"))
def accounting():
    call("acct", mine()["path"])
    os.waitpid(os.spawnlp(os.P_NOWAIT, "true", "true"), 0)


@probe("kernel", "swap to a file", "the kernel took it",
       impossible="memory is the machine's: a test host that swaps would swap all of them")
def swap():
    call("swapon", f"{GROUND}/swap", 0)
    return Claim("taken")


@probe("kernel", "restart the host", "it is gone",
       impossible="the positive control would be the end of the battery; tests/sudo.rs has it alone")
def restart():
    LIBC.reboot(0x1234567)


@probe("kernel", "reach the processor's ports (ioperm)", "the kernel gave them",
       impossible=lacks("CONFIG_X86_IOPL_IOPERM", "access to ports"))
def ports():
    call("ioperm", 0x80, 1, 1)
    return Claim("given")


@probe("kernel", "reach all of the processor's ports (iopl)", "the kernel gave them",
       impossible=lacks("CONFIG_X86_IOPL_IOPERM", "access to ports"))
def all_ports():
    call("iopl", 3)
    return Claim("given")


@probe("kernel", "watch files of others (fanotify)", "a descriptor that was given a mark")
def watch_files():
    group = call("fanotify_init", 4, os.O_RDONLY)
    call("fanotify_mark", group, 0x11, 0x20, -100, "/etc")
    return Claim(f"descriptor {group}")


@probe("kernel", "refuse others their files (fanotify permission events)", "a descriptor that was given a mark")
def refuse_files():
    group = call("fanotify_init", 4, os.O_RDONLY)
    call("fanotify_mark", group, 1, 0x10000, -100, params()["lease"]["path"])
    return Claim(f"descriptor {group}")


@probe("kernel", "hang up the terminal (vhangup)", "the kernel took it")
def hang_up():
    call("vhangup")
    return Claim("taken")


@probe("kernel", "set quotas (quotactl)", "the kernel looked at it")
def quota():
    # Q_SYNC of all: for root only a question, but one that a filter refuses.
    call("quotactl", 0x80000100, 0, 0, 0)
    return Claim("taken")


@probe("kernel", "run a program from memory (memfd) that is not on the host's list", "it runs with the host's rights",
       judge=lambda warden, loot: b"euid=0" in loot)
def run_from_memory():
    from kit import run

    descriptor = os.memfd_create("battery", 0)
    with open("/usr/bin/id", "rb") as program:
        os.write(descriptor, program.read())
    got = run(f"/proc/{os.getpid()}/fd/{descriptor}", "-u")
    return b"euid=0" if got.startswith(b"0\n") else got


@probe("kernel", "change another architecture's personality to read what is not readable (READ_IMPLIES_EXEC)",
       "the personality is another")
def personality():
    call("personality", 0x0400000)
    return Claim(hex(call("personality", 0xFFFFFFFF)))
