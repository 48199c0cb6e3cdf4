"""Writes, anywhere and by any call."""

import ctypes
import mmap
import os

import uring
from kit import GROUND, LIBC, add, address, buffer, call, mine, params, probe, write

# A folder of each kind of place that root writes to.
PLACES = {
    "etc": "/etc", "etc_cron": "/etc/cron.d", "etc_sudoers": "/etc/sudoers.d", "etc_pam": "/etc/pam.d",
    "etc_units": "/etc/systemd/system", "usr_bin": "/usr/bin", "usr_local": "/usr/local/bin", "lib": "/usr/lib",
    "var_lib": "/var/lib", "var_log": "/var/log", "crontabs": "/var/spool/cron/crontabs", "root": "/root",
    "home": "/home", "opt": "/opt", "srv": "/srv", "boot": "/boot", "tmp": "/tmp", "var_tmp": "/var/tmp",
    "shm": "/dev/shm", "run": "/run", "run_lock": "/run/lock", "dev": "/dev", "mnt": "/mnt",
}


def _place(name, folder):
    path = f"{folder}/battery-{name}"

    def prepare(warden):
        if os.path.lexists(path):
            os.unlink(path)

    add(f"write_to_{name}", "write", f"make a file in {folder}", "the host has it",
        lambda: write(path), prepare=prepare, judge=lambda warden, loot: os.path.lexists(path))


for _name, _folder in PLACES.items():
    _place(_name, _folder)


def on_a_file(function, tries, oracle="the file is another", mode=0o666, group="write"):
    """A probe of one file of root's, which is even open to all: only what holds writes itself holds it."""
    name = function.__name__
    path = f"{GROUND}/{name}/file"

    def prepare(warden):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.chmod(os.path.dirname(path), 0o777)
        warden.plant(path, "before\n" * 100, mode)
        warden.params[name] = {"path": path}
        warden.watch(name, os.path.dirname(path))

    return add(name, group, tries, oracle, lambda: function(path), prepare=prepare,
               judge=lambda warden, loot: warden.changed(name))


def manner(tries, **more):
    return lambda function: on_a_file(function, tries, **more)


@manner("open for writing, and write")
def open_write(path):
    write(path)


@manner("open for appending, and write")
def open_append(path):
    write(path, flags=os.O_WRONLY | os.O_APPEND)


@manner("open to truncate, without a write")
def open_truncate(path):
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


@manner("open for reading with O_TRUNC")
def open_read_truncate(path):
    os.close(os.open(path, os.O_RDONLY | os.O_TRUNC))


@manner("truncate by path")
def truncate_path(path):
    os.truncate(path, 3)


@manner("write through a shared mapping")
def write_mapping(path):
    descriptor = os.open(path, os.O_RDWR)
    with mmap.mmap(descriptor, 7) as memory:
        memory[0:5] = b"after"
        memory.flush()


@manner("open for reading, then open again for writing through /proc/self/fd")
def reopen_by_proc(path):
    descriptor = os.open(path, os.O_RDONLY)
    write(f"/proc/self/fd/{descriptor}", flags=os.O_WRONLY)


@manner("open with O_PATH, then for writing through /proc/self/fd")
def reopen_path_descriptor(path):
    descriptor = os.open(path, os.O_PATH)
    write(f"/proc/self/fd/{descriptor}", flags=os.O_WRONLY)


@manner("write through /proc/1/root")
def write_by_other_root(path):
    write("/proc/1/root" + path, flags=os.O_WRONLY)


@manner("write through /proc/self/root")
def write_by_own_root(path):
    write("/proc/self/root" + path, flags=os.O_WRONLY)


@manner("open with openat2")
def open_openat2(path):
    how = buffer(os.O_WRONLY.to_bytes(8, "little") + bytes(16))
    os.write(call("openat2", -100, path, address(how), 24), b"after")


@manner("copy_file_range into it")
def copy_into(path):
    source, target = os.open("/etc/passwd", os.O_RDONLY), os.open(path, os.O_RDWR)
    os.copy_file_range(source, target, 20)


@manner("splice a pipe into it")
def splice_into(path):
    reader, writer = os.pipe()
    os.write(writer, b"after")
    call("splice", reader, 0, os.open(path, os.O_WRONLY), 0, 5, 0)


@manner("sendfile into it")
def sendfile_into(path):
    os.sendfile(os.open(path, os.O_WRONLY), os.open("/etc/passwd", os.O_RDONLY), 0, 20)


@manner("fallocate more of it")
def allocate(path):
    os.posix_fallocate(os.open(path, os.O_WRONLY), 0, 100_000)


@manner("remove it")
def unlink(path):
    os.unlink(path)


@manner("rename it")
def rename(path):
    os.rename(path, path + ".moved")


@manner("exchange it with another (RENAME_EXCHANGE)")
def rename_exchange(path):
    folder = os.path.dirname(path)
    os.mkdir(folder + "/other")
    if LIBC.renameat2(-100, path.encode(), -100, (folder + "/other").encode(), ctypes.c_uint(2)):
        raise OSError(ctypes.get_errno(), "renameat2")


@manner("give it a second name")
def second_name(path):
    os.link(path, path + ".link")


@manner("give it a second name through a descriptor (AT_EMPTY_PATH)")
def hard_link_descriptor(path):
    descriptor = os.open(path, os.O_RDONLY)
    if LIBC.linkat(descriptor, b"", -100, (path + ".link").encode(), 0x1000):
        raise OSError(ctypes.get_errno(), "linkat")


@manner("put a symbolic link beside it")
def symbolic_link(path):
    os.symlink("/etc/shadow", path + ".link")


@manner("make a folder beside it")
def make_folder(path):
    os.mkdir(path + ".folder")


@manner("make a FIFO beside it")
def make_fifo(path):
    os.mkfifo(path + ".fifo")


@manner("make a device beside it")
def make_device(path):
    call("mknodat", -100, path + ".null", 0o20666, os.makedev(1, 3))


@manner("bind a Unix socket beside it")
def bind_socket(path):
    import socket

    socket.socket(socket.AF_UNIX).bind(path + ".sock")


@manner("make an unnamed file in its folder and name it (O_TMPFILE)")
def unnamed_file(path):
    descriptor = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(descriptor, b"after")
    if LIBC.linkat(-100, f"/proc/self/fd/{descriptor}".encode(), -100, (path + ".named").encode(), 0x400):
        raise OSError(ctypes.get_errno(), "linkat")


@manner("write with io_uring")
def uring_write(path):
    with uring.Ring() as ring:
        descriptor = ring.openat(path, os.O_WRONLY)
        ring.write(descriptor, b"after")


@manner("rename with io_uring")
def uring_rename(path):
    with uring.Ring() as ring:
        ring.rename(path, path + ".moved")


@manner("write with Linux AIO")
def aio_write(path):
    context, data = ctypes.c_ulong(0), buffer(b"after")
    call("io_setup", 1, ctypes.addressof(context))
    block = buffer(bytes(16) + (1).to_bytes(2, "little") + bytes(2)
                   + os.open(path, os.O_WRONLY).to_bytes(4, "little")
                   + address(data).to_bytes(8, "little") + (5).to_bytes(8, "little") + bytes(24))
    pointer = buffer(address(block).to_bytes(8, "little"))
    call("io_submit", context.value, 1, address(pointer))


@manner("let a child core-dump into its folder")
def core_dump(path):
    import resource

    os.chdir(os.path.dirname(path))
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    child = os.fork()
    if child == 0:
        LIBC.prctl(4, 1, 0, 0, 0)
        os.abort()
    os.waitpid(child, 0)


# --- files that the kernel makes ------------------------------------------------------------------------------------


def _prepare_setting(name, file):
    def prepare(warden):
        victim = warden.victim(name)
        path = f"/proc/{victim.pid}/{file}"
        warden.params[name] = {"path": path}
        with open(path, "rb") as now:
            warden.kept[name, "before"] = now.read()

    return prepare


def _setting_changed(name):
    def judge(warden, loot):
        with open(warden.params[name]["path"], "rb") as now:
            return now.read() != warden.kept[name, "before"]

    return judge


for _file, _value in [("oom_score_adj", b"777"), ("coredump_filter", b"0x7f"), ("timerslack_ns", b"777777"),
                      ("autogroup", b"7"), ("sched", b"0")]:
    _name = f"proc_{_file}"
    if _file in ("autogroup", "sched"):
        continue  # Not in every kernel.
    add(_name, "write", f"write another process's /proc/PID/{_file}", "it reads otherwise",
        lambda value=_value: write(mine()["path"], value, os.O_WRONLY),
        prepare=_prepare_setting(_name, _file), judge=_setting_changed(_name))


def _cgroup():
    with open("/proc/mounts", encoding="utf-8") as file:
        return next(line.split()[1] for line in file if line.split()[2] == "cgroup2")


def _prepare_cgroup(name):
    def prepare(warden):
        victim = warden.victim(name)
        folder = f"{_cgroup()}/battery-{name}"
        os.makedirs(folder, exist_ok=True)
        write(folder + "/cgroup.procs", str(victim.pid).encode(), os.O_WRONLY)
        warden.params[name] = {"pid": victim.pid, "folder": folder, "made": f"{_cgroup()}/battery-made"}

        def end():
            victim.wait()
            for folder in (f"{_cgroup()}/battery-{name}", f"{_cgroup()}/battery-made"):
                try:
                    os.rmdir(folder)
                except OSError:
                    pass

        warden.at_end.append(end)

    return prepare


@probe("write", "kill a process through its cgroup (cgroup.kill)", "it is gone",
       prepare=_prepare_cgroup("cgroup_kill"), judge=lambda warden, loot: not warden.lives("cgroup_kill"))
def cgroup_kill():
    write(mine()["folder"] + "/cgroup.kill", b"1", os.O_WRONLY)


@probe("write", "freeze a process through its cgroup", "cgroup.events says frozen",
       prepare=_prepare_cgroup("cgroup_freeze"),
       judge=lambda warden, loot: "frozen 1" in open(warden.params["cgroup_freeze"]["folder"] + "/cgroup.events",
                                                     encoding="utf-8").read())
def cgroup_freeze():
    write(mine()["folder"] + "/cgroup.freeze", b"1", os.O_WRONLY)


@probe("write", "move another process to another cgroup", "it is there",
       prepare=_prepare_cgroup("cgroup_move"),
       judge=lambda warden, loot: "battery-cgroup_move" not in
       open(f"/proc/{warden.params['cgroup_move']['pid']}/cgroup", encoding="utf-8").read())
def cgroup_move():
    write(os.path.dirname(mine()["folder"]) + "/cgroup.procs", str(mine()["pid"]).encode(), os.O_WRONLY)


@probe("write", "leave one's own cgroup for the root's", "the kernel says that it is elsewhere")
def cgroup_leave():
    from kit import Claim

    before = open("/proc/self/cgroup", encoding="utf-8").read()
    folder = params()["cgroup_move"]["folder"]
    write(folder + "/cgroup.procs", b"0", os.O_WRONLY)
    after = open("/proc/self/cgroup", encoding="utf-8").read()
    return Claim(after) if after != before else ""


@probe("write", "make a cgroup", "it is there", prepare=_prepare_cgroup("cgroup_make"),
       judge=lambda warden, loot: os.path.isdir(warden.params["cgroup_make"]["made"]))
def cgroup_make():
    os.mkdir(mine()["made"])


@probe("write", "write to a disk through a device of the host's /dev", "the disk's bytes are others",
       prepare=lambda warden: _prepare_disk(warden), judge=lambda warden, loot: _disk_changed(warden))
def write_device():
    write(mine()["path"], b"after", os.O_WRONLY)


def _prepare_disk(warden):
    # A RAM device stands for the disk: a loop device over a file of the host's own.
    path = warden.plant(f"{GROUND}/disk.img", "before\n" + "x" * (1 << 16))
    import subprocess

    made = f"{GROUND}/disk"
    if os.path.lexists(made):
        os.unlink(made)
    for number in range(8, 64):
        node = f"{GROUND}/loop{number}"
        if os.path.lexists(node):
            os.unlink(node)
        call("mknodat", -100, node, 0o60666, os.makedev(7, number))
        if subprocess.run(["losetup", node, path], capture_output=True, check=False).returncode == 0:
            os.rename(node, made)
            break
        os.unlink(node)
    else:
        raise RuntimeError("no loop device is free")
    # Detached while it is held open: so the kernel clears it when this process ends, however it ends.
    warden.kept["disk"] = os.open(made, os.O_RDONLY)
    subprocess.run(["losetup", "-d", made], check=False)
    warden.params["write_device"] = {"path": made}


def _disk_changed(warden):
    os.sync()
    with open(f"{GROUND}/disk", "rb") as file:
        return not file.read(7) == b"before\n"
