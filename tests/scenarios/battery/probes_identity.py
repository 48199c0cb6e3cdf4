"""Becoming somebody else: ids, capabilities, programs with a set-user-id bit."""

import ctypes
import os
import shutil
import struct
import subprocess

import kit
from kit import GROUND, LIBC, Claim, add, mine, params, probe, read

# What a confined command keeps: CAP_DAC_READ_SEARCH and CAP_SYSLOG.
KEPT = (1 << 2) | (1 << 34)


def _capabilities(name="CapEff"):
    with open("/proc/self/status", encoding="utf-8") as file:
        return next(int(line.split()[1], 16) for line in file if line.startswith(name + ":"))


for _set in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):

    def _more(name=_set):
        more = _capabilities(name) & ~KEPT
        return Claim(f"{name} has {more:x} more") if more else ""

    if _set in ("CapInh", "CapAmb"):
        continue  # Empty for plain root too: no control. CapPrm bounds both.
    add(f"more_in_{_set.lower()}", "identity", f"have more capabilities than were meant ({_set})", "there are more",
        _more)


@probe("identity", "gain privileges by running a program (no_new_privs is not set)", "status says 0")
def new_privileges():
    with open("/proc/self/status", encoding="utf-8") as file:
        value = next(line.split()[1] for line in file if line.startswith("NoNewPrivs:"))
    return Claim("not set") if value == "0" else ""


@probe("identity", "be free of a filter (Seccomp is 0)", "status says 0")
def without_filter():
    with open("/proc/self/status", encoding="utf-8") as file:
        value = next(line.split()[1] for line in file if line.startswith("Seccomp:"))
    return Claim("none") if value == "0" else ""


@probe("identity", "be root", "geteuid says 0")
def is_root():
    return Claim("uid 0") if 0 in os.getresuid() else ""


def becoming(name, tries, change):
    def attack():
        change()
        return Claim(f"{os.getresuid()} {os.getresgid()} {os.getgroups()}")

    add(name, "identity", tries, "the ids are others", attack)


becoming("become_other_user", "become the user 34", lambda: os.setresuid(34, 34, 34))
becoming("become_root", "become root", lambda: os.setresuid(0, 0, 0))
becoming("become_other_group", "become the group shadow", lambda: os.setresgid(42, 42, 42))
becoming("join_groups", "join the groups of root's files", lambda: os.setgroups([0, 4, 6, 42]))


@probe("identity", "become root for files only (setfsuid)", "the kernel took it")
def become_for_files():
    LIBC.setfsuid(1)
    LIBC.setfsuid(4242)
    now = LIBC.setfsuid(-1)
    return Claim(f"fsuid {now}") if now == 4242 else ""


@probe("identity", "take a capability into the inheritable set (capset)", "the kernel took it")
def take_capability():
    header = kit.buffer(struct.pack("II", 0x20080522, 0))
    both = _capabilities("CapPrm") | (1 << 21)
    low, high = both & 0xFFFFFFFF, both >> 32
    data = kit.buffer(struct.pack("6I", low, low, low, high, high, high))
    if LIBC.capset(header, data):
        raise OSError(ctypes.get_errno(), "capset")
    return Claim(hex(_capabilities("CapInh")))


@probe("identity", "unlock the securebits", "the kernel took it")
def unlock_securebits():
    if LIBC.prctl(28, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    return Claim("taken")


# --- programs that become somebody ------------------------------------------------------------------------------------

SOURCE = """
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char text[100] = {0};
    FILE *file = fopen(argv[1], "r");
    printf("euid=%d egid=%d\\n", geteuid(), getegid());
    if (file && fgets(text, sizeof text, file)) printf("%s\\n", text);
    return 0;
}
"""


def plant(warden):
    if "special" in warden.params:
        return
    folder = "/usr/local/bin"
    source = warden.plant(f"{GROUND}/special.c", SOURCE)
    secret = warden.plant("/root/battery-special", warden.canary("special") + "\n")
    for name in ("setuid", "setgid", "capable", "setuid-var"):
        path = f"{folder}/battery-{name}" if name != "setuid-var" else f"{GROUND}/battery-setuid"
        subprocess.run(["gcc", "-O0", "-o", path, source], check=True)
        os.chmod(path, {"setuid": 0o4755, "setuid-var": 0o4755, "setgid": 0o2755, "capable": 0o755}[name])
        if name == "setgid":
            os.chown(path, 0, 42)
            os.chmod(path, 0o2755)
        if name == "capable":
            # cap_setuid, cap_dac_override +ep
            os.setxattr(path, "security.capability", struct.pack("<5I", 0x02000001, (1 << 7) | (1 << 1), 0, 0, 0))
    warden.params["special"] = {"secret": secret}


def special(name, tries, path, found):
    def prepare(warden):
        plant(warden)

    add(name, "identity", tries, "it is that identity, by its own words",
        lambda: kit.run(path, params()["special"]["secret"]), prepare=prepare,
        judge=lambda warden, loot: found in loot)


special("setuid_program", "run a set-user-id program in /usr", "/usr/local/bin/battery-setuid", b"euid=0 ")
special("setuid_program_var", "run a set-user-id program in /var", f"{GROUND}/battery-setuid", b"euid=0 ")
special("setgid_program", "run a set-group-id program", "/usr/local/bin/battery-setgid", b"egid=42")
special("capable_program", "run a program with file capabilities", "/usr/local/bin/battery-capable", b"euid=0 ")


@probe("identity", "run a set-user-id program from a descriptor (execveat)", "it is that identity", prepare=plant,
       judge=lambda warden, loot: b"euid=0 " in loot)
def setuid_by_descriptor():
    descriptor = os.open("/usr/local/bin/battery-setuid", os.O_PATH)
    return kit.run(f"/proc/{os.getpid()}/fd/{descriptor}", params()["special"]["secret"])


@probe("identity", "run the dynamic loader on a set-user-id program", "it is root", prepare=plant,
       judge=lambda warden, loot: b"euid=0 " in loot)
def setuid_by_loader():
    return kit.run("/lib64/ld-linux-x86-64.so.2", "/usr/local/bin/battery-setuid", params()["special"]["secret"])


@probe("identity", "make one's own set-user-id program in the scratch folder", "it is there and runs as root",
       judge=lambda warden, loot: loot.startswith(b"0\n"))
def make_setuid():
    path = f"{os.environ.get('TMPDIR', '/tmp')}/battery-id"
    shutil.copy("/usr/bin/id", path)
    os.chmod(path, 0o4755)
    return kit.run(path, "-u")
