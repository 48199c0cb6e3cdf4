"""Mounts, namespaces, roots and devices."""

import ctypes
import os
import struct

from kit import GROUND, LIBC, Claim, address, add, buffer, call, mine, params, probe, write
from probes_route import own_device

TARGET = f"{GROUND}/mountpoint"


def _prepare_target(warden):
    os.makedirs(TARGET, exist_ok=True)


def _is_mounted(warden, loot):
    return b"mounted" in loot


def _mounted():
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        return b"mounted" if any(f" {TARGET} " in line for line in file) else b""


def mounting(tries):
    """Harm: the mount stands, seen by the attacker; it is taken away again."""

    def take(function):
        def attack():
            function()
            found = _mounted()
            if found:
                call("umount2", TARGET, 2)
            return found

        add(function.__name__, "mount", tries, "the mount stands", attack, prepare=_prepare_target, judge=_is_mounted)
        return function

    return take


@mounting("mount a tmpfs")
def mount_tmpfs():
    call("mount", "x", TARGET, "tmpfs", 0, "")


@mounting("mount another proc")
def mount_proc():
    call("mount", "proc", TARGET, "proc", 0, "")


@mounting("bind a folder elsewhere")
def mount_bind():
    call("mount", "/etc", TARGET, 0, 0x1000, 0)


@mounting("the new mount calls: fsopen, fsmount, move_mount")
def mount_new_calls():
    context = call("fsopen", "tmpfs", 0)
    call("fsconfig", context, 6, 0, 0, 0)
    call("move_mount", call("fsmount", context, 0, 0), "", -100, TARGET, 4)


@mounting("clone a tree and attach it")
def mount_tree():
    call("move_mount", call("open_tree", -100, "/etc", 1), "", -100, TARGET, 4)


@mounting("in a mount namespace of one's own")
def mount_in_namespace():
    call("unshare", 0x20000)
    call("mount", "x", TARGET, "tmpfs", 0, "")


@mounting("in a user and mount namespace of one's own")
def mount_in_user_namespace():
    call("unshare", 0x10000000 | 0x20000)
    call("mount", "x", TARGET, "tmpfs", 0, "")


def _folder_options(path):
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    best = max((line for line in lines if path == line[4] or path.startswith(line[4].rstrip("/") + "/")),
               key=lambda line: len(line[4]))
    return best[4], best[5]


def _remount(change):
    def attack():
        # A mount of the host's that was read-only before, or the root that the command sees.
        where = params()["remount"]["path"]
        change(where)
        try:
            write(where + "/written")
            return b"written"
        finally:
            call("mount", 0, where, 0, 0x1021, 0)

    return attack


def _prepare_read_only(warden):
    import subprocess

    path = f"{GROUND}/read-only"
    os.makedirs(path, exist_ok=True)
    if not os.path.ismount(path):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "x", path], check=True)
    warden.params["remount"] = {"path": path}


def _make_writable(where):
    call("mount", 0, where, 0, 0x1000 | 0x20, 0)
    call("mount", 0, where, 0, 0x20, 0)


add("remount", "mount", "make a read-only mount writable", "something was written",
    _remount(_make_writable), prepare=_prepare_read_only, judge=lambda warden, loot: b"written" in loot)
add("mount_setattr", "mount", "make a read-only mount writable with mount_setattr", "something was written",
    _remount(lambda where: (call("mount", 0, where, 0, 0x20, 0), call("mount_setattr", -100, where, 0, address(buffer(
        struct.pack("QQQQ", 0, 1, 0, 0))), 32))),
    prepare=_prepare_read_only, judge=lambda warden, loot: b"written" in loot)


@probe("mount", "take a mount away", "what lay below is seen",
       prepare=lambda warden: _prepare_cover(warden), judge=lambda warden, loot: b"below" in loot)
def unmount():
    path = params()["unmount"]["path"]
    call("umount2", path, 2)
    with open(path + "/file", "rb") as file:
        return file.read()


def _prepare_cover(warden):
    import subprocess

    path = f"{GROUND}/covered"
    os.makedirs(path, exist_ok=True)
    if os.path.ismount(path):
        subprocess.run(["umount", path], check=False)
    warden.plant(path + "/file", "below", 0o644)
    subprocess.run(["mount", "-t", "tmpfs", "x", path], check=True)
    warden.params["unmount"] = {"path": path}


@probe("mount", "change the root (chroot)", "it is another")
def change_root():
    os.chroot(GROUND)
    return Claim(" ".join(os.listdir("/"))[:60]) if not os.path.exists("/etc/passwd") else ""


@probe("mount", "change the root (pivot_root)", "it is another")
def pivot():
    call("unshare", 0x20000)
    call("mount", 0, "/", 0, 0x44000, 0)
    call("mount", "x", "/mnt", "tmpfs", 0, "")
    os.mkdir("/mnt/old")
    call("pivot_root", "/mnt", "/mnt/old")
    os.chdir("/")
    return Claim(str(os.listdir("/")))


# --- namespaces -------------------------------------------------------------------------------------------------------

for _name, _flag in {"mount": 0x20000, "user": 0x10000000, "process": 0x20000000, "network": 0x40000000,
                     "ipc": 0x08000000, "name": 0x04000000, "cgroup": 0x02000000, "time": 0x80}.items():

    def _unshare(flag=_flag, name=_name):
        call("unshare", flag)
        return Claim(f"a {name} namespace")

    add(f"namespace_{_name}", "mount", f"a {_name} namespace of one's own", "the kernel made it", _unshare)

for _name, _kind in {"mount": "mnt", "network": "net", "process": "pid", "ipc": "ipc", "name": "uts",
                     "cgroup": "cgroup"}.items():

    def _enter(kind=_kind):
        call("setns", os.open(f"/proc/1/ns/{kind}", os.O_RDONLY), 0)
        return Claim(f"entered {kind} of systemd")

    add(f"enter_{_name}", "mount", f"enter systemd's {_name} namespace", "the kernel let it", _enter)


@probe("mount", "enter all namespaces of a process by its pidfd", "the kernel let it")
def enter_by_pidfd():
    call("setns", os.pidfd_open(1), 0x20000 | 0x40000000 | 0x08000000)
    return Claim("entered")


@probe("mount", "clone into a user namespace (clone3)", "a child in it")
def clone_namespace():
    given = buffer(struct.pack("11Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0))
    child = call("clone3", address(given), 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return Claim(f"child {child}")


@probe("mount", "clone into another cgroup (clone3, CLONE_INTO_CGROUP)", "a child there")
def clone_cgroup():
    folder = os.open(params()["cgroup_move"]["folder"], os.O_RDONLY | os.O_DIRECTORY)
    given = buffer(struct.pack("11Q", 0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, folder))
    child = call("clone3", address(given), 88)
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return Claim(f"child {child}")


# --- devices ----------------------------------------------------------------------------------------------------------


@probe("mount", "make the disk's device node in the scratch folder and open it", "it was opened")
def own_disk():
    path = own_device(params()["by_device"]["path"])
    try:
        os.close(os.open(path, os.O_RDONLY))
        return Claim("opened")
    finally:
        os.unlink(path)


@probe("mount", "control a loop device (/dev/loop-control's ioctl)", "the kernel answered")
def loop_device():
    import fcntl

    status = fcntl.ioctl(os.open(params()["by_device"]["path"], os.O_RDONLY), 0x4C05, bytes(232))
    return Claim(status[:16].hex())


@probe("mount", "mount by FUSE", "the device was opened", prepare=lambda warden: _prepare_fuse(warden))
def fuse():
    descriptor = os.open(params()["fuse"]["path"], os.O_RDWR)
    return Claim(f"descriptor {descriptor}")


def _prepare_fuse(warden):
    path = f"{GROUND}/fuse"
    if not os.path.lexists(path):
        call("mknodat", -100, path, 0o20666, os.makedev(10, 229))
        os.chmod(path, 0o666)
    warden.params["fuse"] = {"path": path}
