"""Locks that starve the host's own."""

import fcntl
import os
import struct
import time

from kit import GROUND, add, mine, probe

HOLD = 0.4
WRITE_LOCK = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)


def _watched(name, path, mode, take):
    """The host takes its lock again and again; every time that it cannot is remembered."""

    def prepare(warden):
        warden.plant(path, "lock\n", mode)
        warden.params[name] = {"path": path}
        warden.kept[name, "starved"] = 0
        descriptor = os.open(path, os.O_RDWR)

        def work():
            try:
                take(descriptor)
            except BlockingIOError:
                warden.kept[name, "starved"] += 1
            time.sleep(0.02)

        warden.background(work)

    return prepare


def _by_flock(descriptor):
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def _by_record(descriptor):
    fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.lockf(descriptor, fcntl.LOCK_UN)


def lock(tries, mode, take):
    def put(function):
        name = function.__name__
        path = f"{GROUND}/{name}.lock"

        def attack():
            descriptor = os.open(mine()["path"], os.O_RDONLY)
            function(descriptor)
            time.sleep(HOLD)

        add(name, "lock", tries, "the host's own lock fails", attack, prepare=_watched(name, path, mode, take),
            judge=lambda warden, loot: warden.kept[name, "starved"] > 0)
        return function

    return put


@lock("flock a file of root's, exclusively, opened for reading", 0o644, _by_flock)
def lock_exclusive(descriptor):
    fcntl.flock(descriptor, fcntl.LOCK_EX)


@lock("flock a file of root's, shared", 0o644, _by_flock)
def lock_shared(descriptor):
    fcntl.flock(descriptor, fcntl.LOCK_SH)


@lock("a read lock, which starves writers (F_SETLK)", 0o644, _by_record)
def lock_record(descriptor):
    fcntl.fcntl(descriptor, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))


@lock("a read lock of the descriptor's own (F_OFD_SETLK)", 0o644, _by_record)
def lock_description(descriptor):
    fcntl.fcntl(descriptor, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))


@lock("a read lock waited for (F_SETLKW)", 0o644, _by_record)
def lock_waited(descriptor):
    fcntl.fcntl(descriptor, fcntl.F_SETLKW, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))


def _prepare_lease(warden):
    name = "lease"
    path = warden.plant(f"{GROUND}/lease.lock", "lock\n", 0o644)
    warden.params[name] = {"path": path}
    warden.kept[name, "starved"] = 0

    def work():
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except BlockingIOError:
            warden.kept[name, "starved"] += 1
        time.sleep(0.02)

    warden.background(work)


@probe("lock", "a lease, which makes whoever writes wait (F_SETLEASE)", "the host's open for writing fails",
       prepare=_prepare_lease, judge=lambda warden, loot: warden.kept["lease", "starved"] > 0)
def lease():
    import signal

    signal.signal(signal.SIGIO, signal.SIG_IGN)
    until = time.monotonic() + 2
    while True:
        descriptor = os.open(mine()["path"], os.O_RDONLY)
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            break
        except BlockingIOError:
            # The host has it open for writing just now.
            os.close(descriptor)
            if time.monotonic() > until:
                raise
    time.sleep(HOLD)


def _prepare_folder(warden):
    name = "lock_folder"
    path = f"{GROUND}/locked-folder"
    os.makedirs(path, exist_ok=True)
    warden.params[name] = {"path": path}
    warden.kept[name, "starved"] = 0
    descriptor = os.open(path, os.O_RDONLY)

    def work():
        try:
            _by_flock(descriptor)
        except BlockingIOError:
            warden.kept[name, "starved"] += 1
        time.sleep(0.02)

    warden.background(work)


@probe("lock", "flock a folder of root's", "the host's own lock fails", prepare=_prepare_folder,
       judge=lambda warden, loot: warden.kept["lock_folder", "starved"] > 0)
def lock_folder():
    fcntl.flock(os.open(mine()["path"], os.O_RDONLY), fcntl.LOCK_EX)
    time.sleep(HOLD)


@probe("lock", "lock the password files' own lock, so that passwd waits", "the host's own lock fails",
       prepare=lambda warden: _prepare_passwords(warden),
       judge=lambda warden, loot: warden.kept["lock_passwords", "starved"] > 0)
def lock_passwords():
    descriptor = os.open("/etc/.pwd.lock.battery", os.O_RDONLY)
    fcntl.fcntl(descriptor, fcntl.F_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0))
    time.sleep(HOLD)


def _prepare_passwords(warden):
    # Beside the real one, which the loop of passwords takes all the time: as it is, 0600.
    _watched("lock_passwords", "/etc/.pwd.lock.battery", 0o600, _by_record)(warden)
