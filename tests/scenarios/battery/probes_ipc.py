"""System V and POSIX IPC, keyrings, FIFOs and terminals of others."""

import ctypes
import fcntl
import os
import pty
import struct
import subprocess
import threading

import kit
from kit import GROUND, LIBC, Claim, address, add, buffer, call, mine, params, probe, read, taken, write


def _prepare_memory(warden):
    if "shared" in warden.params:
        return
    for name, flags in [("shared", 0o600), ("shared_open", 0o666)]:
        identity = call("shmget", 0, 4096, 0o1000 | flags)
        LIBC.shmat.restype = ctypes.c_void_p
        where = LIBC.shmat(identity, None, 0)
        ctypes.memmove(where, warden.canary("shared").encode(), 30)
        warden.kept[name] = where
        warden.params[name] = {"id": identity}
        warden.at_end.append(lambda identity=identity: call("shmctl", identity, 0, 0))


for _name in ("shared", "shared_open"):

    def _attach(name=_name):
        LIBC.shmat.restype = ctypes.c_void_p
        where = LIBC.shmat(params()[name]["id"], None, 0o10000)
        if where == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "shmat")
        return ctypes.string_at(where, 30)

    add(f"{_name}_memory", "ipc", f"read shared memory of root's ({'0666' if 'open' in _name else '0600'})",
        "its canary is in the output", _attach, prepare=_prepare_memory)


@probe("ipc", "remove shared memory of root's", "it is marked for removal", prepare=_prepare_memory,
       judge=lambda warden, loot: _is_removed(warden))
def remove_memory():
    call("shmctl", params()["shared_open"]["id"], 0, 0)


def _is_removed(warden):
    with open("/proc/sysvipc/shm", encoding="utf-8") as file:
        lines = [line.split() for line in file][1:]
    ours = [line for line in lines if line[1] == str(warden.params["shared_open"]["id"])]
    return not ours or int(ours[0][2], 8) & 0o1000 != 0


def _prepare_queue(warden):
    identity = call("msgget", 0, 0o1666)
    text = buffer(struct.pack("l", 1) + warden.canary("queue").encode())
    call("msgsnd", identity, address(text), 30, 0)
    warden.params["message_queue"] = {"id": identity}
    warden.at_end.append(lambda: _quiet(lambda: call("msgctl", identity, 0, 0)))


def _quiet(work):
    try:
        work()
    except OSError:
        pass


@probe("ipc", "take a message from a queue", "its canary is in the output", prepare=_prepare_queue)
def message_queue():
    memory = buffer(64)
    got = call("msgrcv", mine()["id"], address(memory), 40, 0, 0o4000)
    return memory.raw[8:8 + got]


def _prepare_semaphore(warden):
    identity = call("semget", 0, 1, 0o1666)
    warden.params["semaphore"] = {"id": identity}
    warden.at_end.append(lambda: _quiet(lambda: call("semctl", identity, 0, 0, 0)))


@probe("ipc", "set a semaphore", "its value is another", prepare=_prepare_semaphore,
       judge=lambda warden, loot: call("semctl", warden.params["semaphore"]["id"], 0, 12, 0) == 7)
def semaphore():
    call("semctl", mine()["id"], 0, 16, 7)


def _prepare_posix(warden):
    attributes = buffer(struct.pack("8l", 0, 4, 64, 0, 0, 0, 0, 0))
    LIBC.mq_unlink(b"/battery")
    old = os.umask(0)
    queue = call("mq_open", "battery", os.O_CREAT | os.O_RDWR, 0o666, address(attributes))
    os.umask(old)
    call("mq_timedsend", queue, warden.canary("posix queue"), 30, 1, 0)
    warden.at_end.append(lambda: LIBC.mq_unlink(b"/battery"))


@probe("ipc", "take a message from a POSIX queue", "its canary is in the output", prepare=_prepare_posix)
def posix_queue():
    memory = buffer(64)
    queue = call("mq_open", "battery", os.O_RDWR | os.O_NONBLOCK, 0, 0)
    return taken(memory, lambda: call("mq_timedreceive", queue, address(memory), 64, 0, 0))


# --- keyrings -------------------------------------------------------------------------------------------------------


def _prepare_key(warden):
    # In a child, whose session keyring is new; the key itself is open to all who hold it or are root.
    key = call("add_key", "user", f"battery-{os.urandom(6).hex()}", warden.canary("key"), 30, -4)
    call("keyctl", 5, key, 0x3F3F3F3F)
    warden.params["key"] = {"id": key}


@probe("ipc", "read a key of root's", "its canary is in the output", prepare=_prepare_key)
def read_key():
    memory = buffer(64)
    return taken(memory, lambda: call("keyctl", 11, params()["key"]["id"], address(memory), 64))


@probe("ipc", "describe a key of root's", "an answer", prepare=lambda warden: None)
def describe_key():
    memory = buffer(128)
    call("keyctl", 6, params()["key"]["id"], address(memory), 128)
    return Claim(memory.value.decode())


@probe("ipc", "revoke a key of root's", "it cannot be read any more", prepare=lambda warden: _prepare_revoke(warden),
       judge=lambda warden, loot: _is_revoked(warden))
def revoke_key():
    call("keyctl", 3, params()["revoke_key"]["id"])


def _prepare_revoke(warden):
    key = call("add_key", "user", f"battery-{os.urandom(6).hex()}", "x", 1, -4)
    call("keyctl", 5, key, 0x3F3F3F3F)
    warden.params["revoke_key"] = {"id": key}


def _is_revoked(warden):
    try:
        call("keyctl", 11, warden.params["revoke_key"]["id"], 0, 0)
        return False
    except OSError as error:
        return error.errno == 128


@probe("ipc", "leave a key in the uid's keyring, for whoever has that uid next", "the kernel took it")
def leave_key():
    key = call("add_key", "user", "battery-left", "left", 4, -4)
    call("keyctl", 3, key)
    return Claim(f"key {key}")


@probe("ipc", "ask for a key, which may call /sbin/request-key as root", "the kernel looked for it")
def request_key():
    try:
        return Claim(f"key {call('request_key', 'user', 'battery-none', '', -4)}")
    except OSError as error:
        # ENOKEY: it looked, and there is none. ENOENT: it looked for /sbin/request-key, and there is none.
        if error.errno in (126, 2):
            return Claim("it looked")
        raise


@probe("ipc", "join a new session keyring", "the kernel made one")
def join_keyring():
    return Claim(f"keyring {call('keyctl', 1, 'battery')}")


# --- FIFOs ----------------------------------------------------------------------------------------------------------


def _prepare_fifo(name, path, mode):
    def prepare(warden):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        os.mkfifo(path, mode)
        os.chmod(path, mode)
        held = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        os.write(held, (warden.canary(name) + "\n").encode())
        warden.kept[name, "fifo"] = held

    return prepare


def _is_drained(name):
    def judge(warden, loot):
        left = struct.unpack("i", fcntl.ioctl(warden.kept[name, "fifo"], 0x541B, bytes(4)))[0]
        return left == 0 or warden.canary(name).encode() in loot

    return judge


for _name, _path, _mode in [
    ("fifo_in_run", "/run/battery-fifo", 0o600), ("fifo_open_in_run", "/run/battery-fifo-open", 0o666),
    ("fifo_in_spool", "/var/spool/battery/fifo", 0o600), ("fifo_in_var", f"{GROUND}/fifo", 0o666),
    ("fifo_in_tmp", "/tmp/battery-fifo", 0o666), ("fifo_in_usr", "/usr/local/share/battery-fifo", 0o644),
]:
    add(_name, "ipc", f"drain {_path}, 0{_mode:o}", "what was in it is gone", lambda path=_path: read(path, 4096),
        prepare=_prepare_fifo(_name, _path, _mode), judge=_is_drained(_name))


def _has_grown(warden, loot):
    name = "fifo_write"
    left = struct.unpack("i", fcntl.ioctl(warden.kept[name, "fifo"], 0x541B, bytes(4)))[0]
    return left > len(warden.canary(name)) + 1


@probe("ipc", "write to a FIFO, which a read-only mount does not refuse", "it has more in it",
       prepare=_prepare_fifo("fifo_write", "/var/lib/battery/fifo-write", 0o666), judge=_has_grown)
def fifo_write():
    write("/var/lib/battery/fifo-write", flags=os.O_WRONLY | os.O_NONBLOCK)


def _prepare_pipe(warden):
    reader, writer = os.pipe()
    child = subprocess.Popen(["sleep", "100000"], stdin=reader)
    os.write(writer, (warden.canary("pipe_of_another") + "\n").encode())
    warden.children.append(child)
    warden.kept["pipe_of_another", "fifo"] = reader
    warden.params["pipe_of_another"] = {"pid": child.pid}


@probe("ipc", "drain another process's pipe, through /proc/PID/fd", "what was in it is gone", prepare=_prepare_pipe,
       judge=_is_drained("pipe_of_another"))
def pipe_of_another():
    return read(f"/proc/{mine()['pid']}/fd/0", 4096)


# --- terminals ------------------------------------------------------------------------------------------------------


def _prepare_terminal(name):
    def prepare(warden):
        import tty

        master, slave = pty.openpty()
        tty.setraw(slave)
        os.chmod(os.ttyname(slave), 0o666)
        warden.kept[name, "terminal"] = (master, slave)
        warden.params[name] = {"path": os.ttyname(slave)}

    return prepare


def _shown(name):
    """Whether the person at that terminal sees something."""

    def judge(warden, loot):
        master, _ = warden.kept[name, "terminal"]
        os.set_blocking(master, False)
        if not warden.kept.get((name, "shown")):
            warden.kept[name, "shown"] = b"attack" in kit.drain(master)
        return warden.kept[name, "shown"]

    return judge


def _typed(name):
    """Whether something stands in that terminal's input, as if the person had typed it."""

    def judge(warden, loot):
        _, slave = warden.kept[name, "terminal"]
        return struct.unpack("i", fcntl.ioctl(slave, 0x541B, bytes(4)))[0] > 0

    return judge


@probe("ipc", "write to a person's terminal", "it is shown there", prepare=_prepare_terminal("terminal_write"),
       judge=_shown("terminal_write"))
def terminal_write():
    write(mine()["path"], b"attack", os.O_WRONLY | os.O_NOCTTY)


@probe("ipc", "type into a person's terminal (TIOCSTI)", "it stands in its input",
       prepare=_prepare_terminal("terminal_type"), judge=_typed("terminal_type"))
def terminal_type():
    descriptor = os.open(mine()["path"], os.O_RDWR | os.O_NOCTTY)
    for byte in b"attack\n":
        fcntl.ioctl(descriptor, 0x5412, bytes([byte]))


@probe("ipc", "make a person's terminal one's own (TIOCSCTTY)", "it is the session's",
       prepare=_prepare_terminal("terminal_steal"))
def terminal_steal():
    os.setsid()
    descriptor = os.open(mine()["path"], os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(descriptor, 0x540E, 1)
    return Claim(f"session {fcntl.ioctl(descriptor, 0x5429, bytes(4)).hex()}")


@probe("ipc", "read what a person types", "it is in the output", prepare=lambda warden: _prepare_typing(warden),
       judge=lambda warden, loot: warden.canary("terminal_read").encode() in loot)
def terminal_read():
    return read(mine()["path"], 4096)


def _prepare_typing(warden):
    _prepare_terminal("terminal_read")(warden)
    master, _ = warden.kept["terminal_read", "terminal"]
    os.write(master, (warden.canary("terminal_read") + "\n").encode())


@probe("ipc", "make a terminal of the host's own (/dev/ptmx)", "the host has one more",
       judge=lambda warden, loot: loot.startswith(b"/dev/pts/"))
def terminal_make():
    master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    number = struct.unpack("I", fcntl.ioctl(master, 0x80045430, bytes(4)))[0]
    # A private instance is no harm: the host's own terminals must be seen beside it.
    return f"/dev/pts/{number}".encode() if os.path.exists(params()["terminal_write"]["path"]) else b""
