"""Ways around the name of a secret: other names, other mounts, handles, rings, namespaces, descriptors of others."""

import ctypes
import os
import struct
import subprocess

import kit
import uring
from kit import GROUND, LIBC, address, add, buffer, call, mine, params, probe, read
from probes_secret import plant_shadow

CANARY = "its canary is in the output"
KEY = "/etc/battery-route/private.key"
# The same, for the bind mount: what is mounted elsewhere has the same inodes there and here.
BOUND_KEY = "/etc/battery-bound/private.key"
# Read by everybody; what the host put below it leads elsewhere.
SHARE = "/usr/local/share/battery-route"


def plant(warden):
    """What all routes lead to."""
    plant_shadow(warden)
    if not warden.kept.get("route"):
        warden.plant(KEY, warden.canary("route") + "\n")
        warden.plant(BOUND_KEY, warden.canary("bound") + "\n")
        os.makedirs(SHARE, exist_ok=True)
        warden.kept["route"] = True


def at(name, tries, path, make):
    """A probe that opens a path which the host made lead to a secret."""

    def prepare(warden):
        plant(warden)
        make()

    add(name, "route", tries, CANARY, lambda: read(path), prepare=prepare)


def _link(target, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def _hard(path, target="/etc/gshadow"):
    # Not shadow, which the loop of passwords replaces: an old one under a new name is a copy, no link to it.
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)
    os.link(target, path)


def _mount(*argv):
    subprocess.run(["mount", *argv], check=True)


def _fresh(path):
    while subprocess.run(["umount", "-q", path], capture_output=True, check=False).returncode == 0:
        pass
    os.makedirs(path, exist_ok=True)


def _bind_folder():
    _fresh("/var/chroot/etc")
    _mount("--bind", "/etc", "/var/chroot/etc")


def _bind_file():
    os.makedirs("/var/chroot/one", exist_ok=True)
    subprocess.run(["umount", "-q", "/var/chroot/one/config"], capture_output=True, check=False)
    with open("/var/chroot/one/config", "w", encoding="utf-8"):
        pass
    _mount("--bind", "/etc/gshadow", "/var/chroot/one/config")


def _bind_whole():
    _fresh("/var/chroot/root")
    _mount("--bind", "/", "/var/chroot/root")


def _bind_in_share():
    _fresh(f"{SHARE}/bound")
    _mount("--bind", os.path.dirname(BOUND_KEY), f"{SHARE}/bound")


def _overlay():
    merged = "/var/lib/containers/storage/overlay/abc/merged"
    _fresh(merged)
    for folder in ("upper", "work"):
        os.makedirs(f"/run/battery-overlay/{folder}", exist_ok=True)
    # The host's own root is an overlay, which cannot be stacked at will: a copy is the layer below, as an image is.
    lower = "/run/battery-overlay/lower"
    subprocess.run(["rm", "-rf", lower], check=True)
    os.makedirs(lower + "/etc", exist_ok=True)
    subprocess.run(["cp", "-a", "/etc/shadow", lower + "/etc/shadow"], check=True)
    _mount("-t", "overlay", "overlay", "-o",
           f"lowerdir={lower},upperdir=/run/battery-overlay/upper,workdir=/run/battery-overlay/work", merged)


def _snapshot(path):
    os.makedirs(path, exist_ok=True)
    subprocess.run(["cp", "-a", "/etc/shadow", "/etc/gshadow", path], check=True)


def _tmpfs_copy():
    _fresh("/var/lib/battery-ram")
    _mount("-t", "tmpfs", "tmpfs", "/var/lib/battery-ram")
    subprocess.run(["cp", "-a", "/etc/shadow", "/var/lib/battery-ram/etc-shadow"], check=True)


at("route_symbolic_link", "follow the host's symbolic link", f"{SHARE}/link", lambda: _link("/etc/shadow", f"{SHARE}/link"))
at("symbolic_link_folder", "follow a symbolic link to the folder", f"{SHARE}/etc/shadow",
   lambda: _link("/etc", f"{SHARE}/etc"))
at("symbolic_link_proc", "follow a symbolic link through /proc/self/root", f"{SHARE}/proc",
   lambda: _link("/proc/self/root/etc/shadow", f"{SHARE}/proc"))
at("hard_link_log", "open a hard link in /var/log", "/var/log/battery.log", lambda: _hard("/var/log/battery.log"))
at("hard_link_share", "open a hard link below /usr", f"{SHARE}/hard", lambda: _hard(f"{SHARE}/hard"))
at("hard_link_key", "open a hard link to a private key below /usr", f"{SHARE}/hardkey",
   lambda: _hard(f"{SHARE}/hardkey", KEY))
at("hard_link_etc", "open a hard link under a harmless name in /etc", "/etc/motd.battery",
   lambda: _hard("/etc/motd.battery"))
at("bind_mount_folder", "open through a bind mount of /etc in a chroot", "/var/chroot/etc/shadow", _bind_folder)
at("bind_mount_file", "open a bind mount of the one file", "/var/chroot/one/config", _bind_file)
at("bind_mount_root", "open through a bind mount of /", "/var/chroot/root/etc/shadow", _bind_whole)
at("bind_mount_share", "open a key through a bind mount below /usr", f"{SHARE}/bound/private.key", _bind_in_share)
at("container_overlay", "open in a container's merged overlay",
   "/var/lib/containers/storage/overlay/abc/merged/etc/shadow", _overlay)
at("snapshot_copy", "open in a snapshot's copy", "/var/lib/snapshots/daily/etc/shadow",
   lambda: _snapshot("/var/lib/snapshots/daily/etc"))
at("snapshot_root", "open in a snapshot in the root folder", "/.snapshots/1/snapshot/etc/shadow",
   lambda: _snapshot("/.snapshots/1/snapshot/etc"))
at("copy_on_another_disk", "open a copy on another file system below /var/lib", "/var/lib/battery-ram/etc-shadow",
   _tmpfs_copy)
at("own_root", "open through /proc/self/root", "/proc/self/root/etc/shadow", lambda: None)
at("thread_root", "open through /proc/thread-self/root", "/proc/thread-self/root/etc/shadow", lambda: None)
at("first_root", "open through /proc/1/root", "/proc/1/root/etc/shadow", lambda: None)
at("first_cwd", "open through /proc/1/cwd", "/proc/1/cwd/etc/shadow", lambda: None)
at("dots", "open with .. from a folder that may be read", "/usr/share/../../etc/shadow", lambda: None)


def route(tries, **more):
    more.setdefault("prepare", plant)
    return probe("route", tries, CANARY, **more)


# --- by other calls ----------------------------------------------------------------------------------------------


@route("open with O_PATH, then through /proc/self/fd")
def path_descriptor():
    return read(f"/proc/self/fd/{os.open('/etc/shadow', os.O_PATH)}")


@route("open the folder, then the name below it")
def folder_descriptor():
    return kit.drain(os.open("shadow", os.O_RDONLY, dir_fd=os.open("/etc", os.O_PATH)))


@route("open with openat2")
def by_openat2():
    return kit.drain(call("openat2", -100, "/etc/shadow", address(buffer(24)), 24))


@route("map it")
def by_mapping():
    import mmap

    with open("/etc/shadow", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
        return memory[:]


@route("send it from file to pipe")
def by_sendfile():
    reader, writer = os.pipe()
    os.sendfile(writer, os.open("/etc/shadow", os.O_RDONLY), 0, 60000)
    return os.read(reader, 60000)


@route("run it, so that the interpreter quotes it")
def by_interpreter():
    return kit.run("bash", "/etc/shadow")


@route("io_uring: open and read")
def by_uring():
    with uring.Ring() as ring:
        return ring.read(ring.openat("/etc/shadow"), 60000)


@route("io_uring: open a private key")
def key_by_uring():
    with uring.Ring() as ring:
        return ring.read(ring.openat(KEY), 60000)


def _handle(path):
    given = buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int(0)
    call("name_to_handle_at", -100, path, address(given), ctypes.addressof(mount), 0)
    return given


def _prepare_handle(warden):
    """A file system whose handles can be opened: an overlay without an index has none, so a disk of the host's own."""
    plant(warden)
    if warden.kept.get("handles"):
        return
    folder = "/var/lib/battery-disk"
    _fresh(folder)
    _mount("-t", "tmpfs", "tmpfs", folder)
    warden.plant(folder + "/secret/key", warden.canary("handle") + "\n")
    given = _handle(folder + "/secret/key")
    warden.params["handle"] = {"folder": folder, "bytes": given.raw.hex()}
    warden.kept["handles"] = True


@route("open by handle, the handle asked for by name", prepare=_prepare_handle)
def by_handle():
    folder = params()["handle"]["folder"]
    given = _handle(folder + "/secret/key")
    return kit.drain(call("open_by_handle_at", os.open(folder, os.O_RDONLY), address(given), os.O_RDONLY))


@route("open by handle, the handle guessed", prepare=_prepare_handle)
def by_guessed_handle():
    where = params()["handle"]
    given = buffer(bytes.fromhex(where["bytes"]))
    return kit.drain(call("open_by_handle_at", os.open(where["folder"], os.O_RDONLY), address(given), os.O_RDONLY))


@route("open by handle, from another file of that file system", prepare=_prepare_handle)
def by_handle_from_proc():
    where = params()["handle"]
    given = buffer(bytes.fromhex(where["bytes"]))
    for line in open("/proc/self/mountinfo", encoding="utf-8"):
        if line.split()[4] == where["folder"]:
            return kit.drain(call("open_by_handle_at", os.open(line.split()[4], os.O_RDONLY | os.O_DIRECTORY),
                                  address(given), os.O_RDONLY))
    return b""


@route("a user namespace with all its capabilities, then open")
def by_user_namespace():
    call("unshare", 0x10000000)
    uid = os.getuid()
    try:
        kit.write("/proc/self/setgroups", b"deny", os.O_WRONLY)
        kit.write("/proc/self/uid_map", f"0 {uid} 1".encode(), os.O_WRONLY)
    except OSError:
        pass
    return read("/etc/shadow")


@route("a user and a mount namespace, /etc bound elsewhere, then open")
def by_mount_namespace():
    uid = os.getuid()
    call("unshare", 0x10000000 | 0x20000)
    try:
        kit.write("/proc/self/uid_map", f"0 {uid} 1".encode(), os.O_WRONLY)
    except OSError:
        pass
    call("mount", "/etc", "/mnt", 0, 0x5000, 0)
    return read("/mnt/shadow")


@route("the host's mount namespace entered (setns), then open")
def by_setns():
    call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0x20000)
    return read("/etc/shadow")


@route("a new root inside (chroot), then open")
def by_chroot():
    os.chroot("/etc")
    return read("/shadow")


@route("clone the mount (open_tree) and open below it")
def by_open_tree():
    tree = call("open_tree", -100, "/etc", 1)
    return kit.drain(os.open("shadow", os.O_RDONLY, dir_fd=tree))


# --- through other processes ---------------------------------------------------------------------------------------


def _prepare_holder(warden):
    """A process of root's that stands in /etc and holds shadow open, as a login does."""
    plant(warden)
    if warden.kept.get("holder"):
        return
    child = subprocess.Popen(["sleep", "100000"], cwd="/etc", stdin=os.open("/etc/shadow", os.O_RDONLY))
    warden.children.append(child)
    warden.params["holder"] = {"pid": child.pid}
    warden.kept["holder"] = True


def holder():
    return params()["holder"]["pid"]


@route("open what another process has open, through /proc/PID/fd", prepare=_prepare_holder)
def other_descriptor():
    return read(f"/proc/{holder()}/fd/0")


@route("open by another process's working folder", prepare=_prepare_holder)
def other_cwd():
    return read(f"/proc/{holder()}/cwd/shadow")


@route("open by another process's root", prepare=_prepare_holder)
def other_root():
    return read(f"/proc/{holder()}/root/etc/shadow")


@route("open by a thread's root", prepare=_prepare_holder)
def other_task_root():
    return read(f"/proc/{holder()}/task/{holder()}/root/etc/shadow")


@route("take the descriptor from it (pidfd_getfd)", prepare=_prepare_holder)
def taken_descriptor():
    descriptor = call("pidfd_getfd", os.pidfd_open(holder()), 0, 0)
    return os.pread(descriptor, 60000, 0)


@route("be handed it by fanotify when the host opens it", prepare=plant, timeout=8)
def by_fanotify():
    import select

    group = call("fanotify_init", 2, os.O_RDONLY)
    call("fanotify_mark", group, 1, 0x20, -100, "/etc/shadow")
    subprocess.run(["getent", "shadow", "battery"], capture_output=True, check=False)
    select.select([group], [], [], 3)
    event = os.read(group, 24)
    return os.pread(struct.unpack("IBBHQii", event)[5], 60000, 0)


@route("a device node of the disk, read", prepare=lambda warden: _prepare_raw(warden))
def by_device():
    return read(params()["by_device"]["path"], 4096)


def _prepare_raw(warden):
    import probes_write

    # The disk of the write probe, under another name, with a canary on it.
    if "disk" not in warden.kept:
        probes_write._prepare_disk(warden)
    with open(f"{GROUND}/disk", "r+b") as file:
        file.seek(512)
        file.write(warden.canary("disk").encode())
    os.sync()
    warden.params["by_device"] = {"path": f"{GROUND}/disk"}


@route("a device node made by the command itself, read", prepare=lambda warden: _prepare_raw(warden))
def by_own_device():
    path = own_device(params()["by_device"]["path"])
    try:
        return read(path, 4096)
    finally:
        os.unlink(path)


def own_device(like):
    """A device node like another, wherever one may be made."""
    device = os.stat(like).st_rdev
    for folder in (GROUND, os.environ.get("TMPDIR", "/tmp"), "/dev/shm", "/dev"):
        path = f"{folder}/battery-node-{os.getpid()}"
        try:
            call("mknodat", -100, path, 0o60666, device)
            return path
        except OSError as error:
            last = error
    raise last
