"""Everything about a file but its content."""

import ctypes
import fcntl
import os
import struct

from kit import GROUND, LIBC, address, add, buffer, call, mine, probe
from probes_write import on_a_file


def metadata(tries, **more):
    return lambda function: on_a_file(function, tries, oracle="stat says otherwise", group="metadata", **more)


@metadata("chmod")
def chmod(path):
    os.chmod(path, 0o4777)


@metadata("chmod through a descriptor")
def fchmod(path):
    os.fchmod(os.open(path, os.O_RDONLY), 0o4777)


@metadata("fchmodat2 with AT_EMPTY_PATH on an O_PATH descriptor")
def fchmodat2(path):
    call("fchmodat2", os.open(path, os.O_PATH), "", 0o4777, 0x1000)


@metadata("chmod through /proc/self/fd")
def chmod_by_proc(path):
    os.chmod(f"/proc/self/fd/{os.open(path, os.O_RDONLY)}", 0o4777)


@metadata("chown")
def chown(path):
    os.chown(path, 4242, 4242)


@metadata("lchown")
def lchown(path):
    os.lchown(path, 4242, 4242)


@metadata("chown through a descriptor")
def fchown(path):
    os.fchown(os.open(path, os.O_RDONLY), 4242, 4242)


@metadata("fchownat with AT_EMPTY_PATH")
def fchownat(path):
    call("fchownat", os.open(path, os.O_PATH), "", 4242, 4242, 0x1000)


@metadata("set a user attribute")
def set_attribute(path):
    os.setxattr(path, "user.battery", b"after")


@metadata("set a trusted attribute")
def set_trusted(path):
    os.setxattr(path, "trusted.battery", b"after")


@metadata("give it file capabilities")
def set_capabilities(path):
    os.setxattr(path, "security.capability", struct.pack("<IIIII", 0x02000001, 0xFFFFFFFF, 0, 0xFFFFFFFF, 0))


@metadata("give it an access list")
def set_access_list(path):
    entries = [(1, 7, 0xFFFFFFFF), (2, 7, 4242), (4, 4, 0xFFFFFFFF), (16, 7, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF)]
    os.setxattr(path, "system.posix_acl_access", struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *e) for e in entries))


@metadata("set an attribute through a descriptor")
def set_attribute_descriptor(path):
    os.setxattr(os.open(path, os.O_RDONLY), "user.battery", b"after")


@metadata("set an attribute with setxattrat")
def set_attribute_at(path):
    value = buffer(b"after")
    given = buffer(struct.pack("<QII", address(value), 5, 0))
    call("setxattrat", -100, path, 0, "user.battery", address(given), 16)


@metadata("set its times to now")
def touch(path):
    os.utime(path)


@metadata("set its times to long ago")
def backdate(path):
    os.utime(path, (1, 1))


@metadata("set its times through a descriptor")
def touch_descriptor(path):
    call("utimensat", os.open(path, os.O_RDONLY), 0, 0, 0)


def _prepare_attribute(warden):
    path = warden.plant(f"{GROUND}/remove_attribute/file", "before", 0o666)
    os.setxattr(path, "user.battery", b"before")
    warden.params["remove_attribute"] = {"path": path}
    warden.watch("remove_attribute", path)


@probe("metadata", "remove an attribute", "it is gone", prepare=_prepare_attribute,
       judge=lambda warden, loot: warden.changed("remove_attribute"))
def remove_attribute():
    os.removexattr(mine()["path"], "user.battery")


def _prepare_flag(warden):
    path = warden.plant("/tmp/battery-flags", "before", 0o666)
    warden.params["set_flags"] = {"path": path}
    warden.kept["flags"] = _flags(path)

    def end():
        descriptor = os.open(path, os.O_RDONLY)
        fcntl.ioctl(descriptor, 0x40086602, struct.pack("l", 0))

    warden.at_end.append(end)


def _flags(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return fcntl.ioctl(descriptor, 0x80086601, bytes(8))
    finally:
        os.close(descriptor)


@probe("metadata", "set inode flags (chattr +i)", "lsattr says otherwise", prepare=_prepare_flag,
       judge=lambda warden, loot: _flags("/tmp/battery-flags") != warden.kept["flags"])
def set_flags():
    fcntl.ioctl(os.open(mine()["path"], os.O_RDONLY), 0x40086602, struct.pack("l", 0x10))


def _prepare_access(warden):
    path = warden.plant("/var/tmp/battery-atime", "before", 0o644)
    os.utime(path, (1, os.stat(path).st_mtime))
    warden.params["access_time"] = {"path": path}


@probe("metadata", "read a file, which leaves a new access time", "its access time is another",
       prepare=_prepare_access, judge=lambda warden, loot: os.stat("/var/tmp/battery-atime").st_atime > 1)
def access_time():
    with open(mine()["path"], "rb") as file:
        return file.read()


def _prepare_listing(warden):
    path = f"{GROUND}/listed"
    os.makedirs(path, exist_ok=True)
    os.utime(path, (1, os.stat(path).st_mtime))
    warden.params["access_time_folder"] = {"path": path}


@probe("metadata", "list a folder, which leaves a new access time", "its access time is another",
       prepare=_prepare_listing, judge=lambda warden, loot: os.stat(f"{GROUND}/listed").st_atime > 1)
def access_time_folder():
    os.listdir(mine()["path"])
