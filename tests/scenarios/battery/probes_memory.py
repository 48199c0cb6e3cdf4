"""Memory, maps, environment and auxiliary vector of each kind of process, and ways to write there."""

import ctypes
import os
import struct
import subprocess
import sys

import kit
from kit import BASE, LIBC, Claim, add, address, buffer, call, mine, params, probe, read, taken
from session import find

# Runs as the victim: the canary is in its environment and, another one, in its memory.
VICTIM = """
import os, sys
uid, keep = int(sys.argv[1]), sys.argv[2] == "caps"
secret = bytearray(open(0, "rb").read())
if not keep:
    import ctypes
    for capability in range(64):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
if uid or not keep:
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
    import ctypes
    if not uid:
        libc = ctypes.CDLL(None)
        header = (ctypes.c_uint32 * 2)(0x20080522, 0); data = (ctypes.c_uint32 * 6)()
        assert libc.capset(header, data) == 0
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
import ctypes
where = ctypes.addressof(ctypes.c_char.from_buffer(secret))
print(where, flush=True)
import signal
signal.pause()
"""

KINDS = {
    "root": "a process of root's with all capabilities",
    "root_without_capabilities": "a process of root's without capabilities",
    "service": "a service's process (uid 34)",
    "stranger": "a user's process (uid 4242)",
    "init": "systemd",
    "agentd": "tether-agentd",
    "login": "the login shell's side of the session",
    "sibling": "another confined command of the session",
}
PLANTED = {"root": (0, "caps"), "root_without_capabilities": (0, "none"), "service": (34, "none"),
           "stranger": (4242, "none")}


def _spawn(warden, kind):
    """A victim with canaries; its pid and where its secret lies."""
    uid, capabilities = PLANTED[kind]
    child = subprocess.Popen([sys.executable, "-c", VICTIM, str(uid), capabilities], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, env={"SECRET": warden.canary(f"{kind} environment")})
    child.stdin.write(warden.canary(f"{kind} memory").encode())
    child.stdin.close()
    where = int(child.stdout.readline())
    warden.children.append(child)
    return child.pid, where


def _first_mapping(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8") as file:
        return int(file.readline().split("-")[0], 16)


def plant(warden):
    """One victim of each kind."""
    if "kinds" in warden.params:
        return
    kinds = {}
    for kind in KINDS:
        if kind in PLANTED:
            pid, where = _spawn(warden, kind)
        else:
            pid = {"init": lambda: 1, "agentd": lambda: find("tether-agentd"),
                   "login": lambda: find("battery.py login"), "sibling": lambda: find("battery.py sibling")}[kind]()
            where = _first_mapping(pid)
        kinds[kind] = {"pid": pid, "where": where}
        warden.kept[kind, "real"] = {file: _real(pid, file) for file in ("environ", "auxv", "maps")}
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as real:
            real.seek(where)
            warden.kept[kind, "real"]["memory"] = real.read(32)
    warden.params["kinds"] = kinds


def _real(pid, file):
    """What root sees. Of the map, its first line: the rest may grow."""
    with open(f"/proc/{pid}/{file}", "rb") as real:
        return real.readline() if file == "maps" else real.read()


def victim():
    """The pid and the address that this probe is about."""
    kind = os.environ["PROBE"].split("_of_", 1)[1]
    return params()["kinds"][kind]["pid"], params()["kinds"][kind]["where"]


def _same(file):
    """Harm: the loot is what root saw there before."""

    def judge(warden, loot, kind):
        real = warden.kept[kind, "real"][file]
        return len(real) > 8 and real in loot

    return judge


def _file(name):
    return lambda: read(f"/proc/{victim()[0]}/{name}")


def _memory():
    pid, where = victim()
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        file.seek(where)
        return file.read(32)


def _vector():
    pid, where = victim()
    memory = buffer(32)
    local, remote = struct.pack("QQ", address(memory), 32), struct.pack("QQ", where, 32)
    return taken(memory, lambda: call("process_vm_readv", pid, address(buffer(local)), 1, address(buffer(remote)), 1, 0))


def _traced():
    pid, where = victim()
    call("ptrace", 0x4206, pid, 0, 0)
    call("ptrace", 0x4207, pid, 0, 0)
    os.waitpid(pid, 0x40000000)
    words = b""
    for offset in range(0, 32, 8):
        word = ctypes.c_ulong(0)
        call("ptrace", 1, pid, where + offset, ctypes.addressof(word))
        words += struct.pack("Q", word.value)
    call("ptrace", 17, pid, 0, 0)
    return words


WAYS = {
    "environ": ("read its environment", _file("environ"), _same("environ")),
    "maps": ("read its memory map", _file("maps"), _same("maps")),
    "auxv": ("read its auxiliary vector", _file("auxv"), _same("auxv")),
    "mem": ("read its memory through /proc", _memory, _same("memory")),
    "vector": ("read its memory with process_vm_readv", _vector, _same("memory")),
    "trace": ("attach to it and read its memory", _traced, _same("memory")),
}

for _kind, _about in KINDS.items():
    for _way, (_tries, _attack, _judge) in WAYS.items():
        # systemd and agentd are not stopped under a tracer: the host would stop with them.
        if _way == "trace" and _kind in ("init", "agentd"):
            continue
        add(f"{_way}_of_{_kind}", "memory", f"{_tries}: {_about}", "the loot is what root sees there", _attack,
            prepare=plant, judge=lambda warden, loot, judge=_judge, kind=_kind: judge(warden, loot, kind))


def of_root(name, tries):
    """More files of a process, read from root's own victim."""

    def judge(warden, loot):
        return len(loot) > 8 and b"Permission" not in loot

    add(f"{name}_of_root", "memory", tries, "there is something to read",
        lambda: read(f"/proc/{params()['kinds']['root']['pid']}/{name}"), prepare=plant, judge=judge)


of_root("smaps", "read the details of its memory map")
of_root("numa_maps", "read where its memory lies")
of_root("stack", "read its kernel stack")
of_root("syscall", "read its registers and addresses")
of_root("pagemap", "read which page frames it has")


@probe("memory", "list and open what it has mapped (map_files)", "there is a file", prepare=plant,
       judge=lambda warden, loot: b"ELF" in loot)
def map_files_of_root():
    folder = f"/proc/{victim()[0]}/map_files"
    for name in os.listdir(folder):
        got = read(f"{folder}/{name}", 4)
        if got == b"\x7fELF":
            return got
    return b""


def _prepare_write(warden):
    pid, where = _spawn(warden, "root")
    warden.params["write_memory"] = {"pid": pid, "where": where}


def _overwritten(warden, loot):
    where = warden.params["write_memory"]
    with open(f"/proc/{where['pid']}/mem", "rb", buffering=0) as real:
        real.seek(where["where"])
        return real.read(6) != b"CANARY"


@probe("memory", "write another process's memory through /proc", "its memory is another", prepare=_prepare_write,
       judge=_overwritten)
def write_mem():
    where = params()["write_memory"]
    descriptor = os.open(f"/proc/{where['pid']}/mem", os.O_WRONLY)
    os.pwrite(descriptor, b"attack", where["where"])


@probe("memory", "write another process's memory with process_vm_writev", "its memory is another",
       prepare=lambda warden: _prepare_write_vector(warden),
       judge=lambda warden, loot: _overwritten_vector(warden))
def write_vector():
    where = params()["write_vector"]
    data = buffer(b"attack")
    local, remote = struct.pack("QQ", address(data), 6), struct.pack("QQ", where["where"], 6)
    call("process_vm_writev", where["pid"], address(buffer(local)), 1, address(buffer(remote)), 1, 0)


def _prepare_write_vector(warden):
    pid, where = _spawn(warden, "root")
    warden.params["write_vector"] = {"pid": pid, "where": where}


def _overwritten_vector(warden):
    where = warden.params["write_vector"]
    with open(f"/proc/{where['pid']}/mem", "rb", buffering=0) as real:
        real.seek(where["where"])
        return real.read(6) != b"CANARY"


@probe("memory", "compare what two processes share (kcmp)", "an answer", prepare=plant)
def compare():
    # 1 is KCMP_VM.
    pid = params()["kinds"]["root"]["pid"]
    return Claim(f"order {call('kcmp', pid, pid, 1, 0, 0)}")


@probe("memory", "ask for where its memory is (move_pages)", "an answer", prepare=plant)
def where_pages():
    where = params()["kinds"]["root"]
    pages = buffer(struct.pack("Q", where["where"] & ~4095))
    status = ctypes.c_int(-99)
    call("move_pages", where["pid"], 1, address(pages), 0, ctypes.addressof(status), 0)
    return Claim(f"node {status.value}")


@probe("memory", "read kernel addresses (/proc/kallsyms)", "an address that is not 0")
def kernel_symbols():
    for line in read("/proc/kallsyms", 4096).decode().splitlines():
        if int(line.split()[0], 16):
            return Claim(line)
    return ""


@probe("memory", "read kernel memory (/proc/kcore)", "its ELF header",
       impossible="" if os.path.exists("/proc/kcore") else "this kernel has no /proc/kcore")
def kernel_core():
    return Claim(read("/proc/kcore", 4)[:4].hex())


@probe("memory", "read physical memory (/dev/mem)", "a byte",
       impossible="the machine's memory is not the host's: a test host has no such device, nor may it")
def physical_memory():
    return Claim(read("/dev/mem", 16).hex())
