"""How the command is started: what the attacker gives it as its descriptors, and what it finds beside them.

The starter runs as the attacker (the session's login, or plain root) and starts the command itself; the probe runs
inside. Its harm is what comes back to the starter.
"""

import array
import fcntl
import os
import pty
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from kit import GROUND, Claim, PROBES, add, call, drain, probe

# Readable by root only, on a place that a bundle may open: what a confined command may hold, and nobody else.
LOG = "/var/log/battery-private.log"


def _prepare_log(warden):
    warden.plant(LOG, warden.canary("log") + "\n", 0o640)


def begin(name, tries, oracle, starter, inside, **more):
    add(name, "descriptor", tries, oracle, inside, starter=starter, timeout=8, **more)


def by_shell(starter):
    """Python does not start with a folder as its stdin: a shell goes before it, and the folder is descriptor 3."""

    def start(command):
        words = " ".join(command[command.index("/usr/bin/python3"):])
        prefix = command[:command.index("/usr/bin/python3")]
        return starter([*prefix, "/usr/bin/dash", "-c", f"exec {words} 3<&0 </dev/null"])

    return start


def _run(command, timeout=15, **how):
    process = subprocess.Popen(command, **how)
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return process.returncode


# --- descriptors out --------------------------------------------------------------------------------------------------


def _send_descriptor(number):
    """Inside: opens what root may read and hands it out over a descriptor that may be a socket."""

    def inside():
        for path in ("/etc/shadow", LOG):
            try:
                descriptor = os.open(path, os.O_RDONLY)
                break
            except OSError:
                continue
        # The message is written by hand: the type of the descriptor is the kernel's to judge.
        talk = socket.socket(fileno=os.dup(number))
        talk.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])

    return inside


def _receive_descriptor(kind, number):
    def starter(command):
        ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
        quiet = {0: subprocess.DEVNULL, 1: subprocess.DEVNULL, 2: subprocess.DEVNULL}
        quiet[number] = theirs
        process = subprocess.Popen(command, stdin=quiet[0], stdout=quiet[1], stderr=quiet[2])
        theirs.close()
        ours.settimeout(12)
        try:
            while True:
                data, extra, _, _ = ours.recvmsg(65536, 1024)
                if extra:
                    descriptor = struct.unpack("i", extra[0][2][:4])[0]
                    return Claim("a descriptor came out: " + os.pread(descriptor, 60, 0).decode("utf-8", "replace"))
                if not data:
                    return "nothing came"
        except OSError as error:
            return f"nothing came: {error}"
        finally:
            process.kill()
            process.wait()

    return starter


for _number, _stream in enumerate(("stdin", "stdout", "stderr")):
    begin(f"descriptor_out_by_{_stream}", f"hand a root-read descriptor out over a socket as {_stream}",
          "a descriptor came out", _receive_descriptor(socket.SOCK_STREAM, _number), _send_descriptor(_number),
          prepare=_prepare_log)
begin("descriptor_out_by_datagram", "the same over a datagram socket as stdin", "a descriptor came out",
      _receive_descriptor(socket.SOCK_DGRAM, 0), _send_descriptor(0), prepare=_prepare_log)


# --- descriptors in ---------------------------------------------------------------------------------------------------


def _folder_in(command):
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/battery-folder-{os.getpid()}"
    os.mkdir(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    _run(command, stdin=descriptor, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    made = os.listdir(folder)
    return Claim(f"made {made}") if made else "nothing was made"


def _write_by_folder():
    os.close(os.open("made", os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=3))


begin("folder_as_stdin", "write below a folder given as stdin", "a file is there", by_shell(_folder_in), _write_by_folder)


def _pidfd_in(command):
    victim = subprocess.Popen(["sleep", "1000"])
    descriptor = os.pidfd_open(victim.pid)
    _run(command, stdin=descriptor, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ended = victim.poll() is not None
    victim.kill()
    victim.wait()
    return Claim("the process is gone") if ended else "it lives"


begin("pidfd_as_stdin", "signal through a pidfd given as stdin", "the process is gone", _pidfd_in,
      lambda: signal.pidfd_send_signal(0, signal.SIGKILL))


def _file_in(command):
    path = f"{os.environ.get('TMPDIR', '/tmp')}/battery-file-{os.getpid()}"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.write(descriptor, b"before")
    _run(command, stdin=descriptor, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.lseek(descriptor, 0, os.SEEK_SET)
    now = os.read(descriptor, 100)
    return Claim(f"it says {now!r}") if now != b"before" else "it is as it was"


begin("file_as_stdin", "write to a file that was given as stdin", "it says something else", _file_in,
      lambda: os.pwrite(0, b"after", 0))


def _file_by_proc():
    os.pwrite(os.open("/proc/self/fd/0", os.O_RDWR), b"after", 0)


begin("file_as_stdin_by_proc", "write to it through /proc/self/fd/0", "it says something else", _file_in, _file_by_proc)


def _memory_in(command):
    descriptor = os.memfd_create("battery")
    os.write(descriptor, b"before")
    _run(command, stdin=descriptor, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    now = os.pread(descriptor, 100, 0)
    return Claim(f"it says {now!r}") if now != b"before" else "it is as it was"


begin("memory_as_stdin", "share memory with the attacker through a memfd given as stdin", "it says something else",
      _memory_in, lambda: os.pwrite(0, b"after", 0))


def _path_in(command):
    descriptor = os.open("/", os.O_PATH)
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=descriptor, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    process.wait()
    got = drain(reader).decode("utf-8", "replace")
    return Claim("it stands there") if '"loot": "stands"' in got else got


def _stand_there():
    os.chdir("/proc/self/fd/3")
    return "stands"


begin("path_as_stdin", "enter a folder given as an O_PATH stdin", "it stands there", by_shell(_path_in), _stand_there)


def _ring_in(command):
    import uring

    with uring.Ring() as ring:
        reader, writer = os.pipe()
        process = subprocess.Popen(command, stdin=ring.descriptor, stdout=writer, stderr=subprocess.DEVNULL)
        os.close(writer)
        process.wait()
        got = drain(reader).decode("utf-8", "replace")
    return Claim("the ring is its own") if '"loot": "ring"' in got else got


begin("ring_as_stdin", "use a ring of the attacker's given as stdin", "it has the ring", _ring_in,
      lambda: "ring" if "io_uring" in os.readlink("/proc/self/fd/0") else "")


def _namespace_in(command):
    descriptor = os.open("/proc/self/ns/net", os.O_RDONLY)
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=descriptor, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    process.wait()
    got = drain(reader).decode("utf-8", "replace")
    return Claim("it has the namespace") if '"loot": "namespace"' in got else got


begin("namespace_as_stdin", "enter a namespace given as stdin", "it has the namespace", _namespace_in,
      lambda: "namespace" if os.readlink("/proc/self/fd/0").startswith("net:") else "")


def _device_in(command):
    descriptor = os.open("/dev/zero", os.O_RDWR)
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=descriptor, stdout=writer, stderr=subprocess.DEVNULL)
    os.close(writer)
    process.wait()
    got = drain(reader).decode("utf-8", "replace")
    return Claim("it has the device") if '"loot": "device"' in got else got


begin("device_as_stdin", "use a device given as stdin", "it has the device", _device_in,
      lambda: "device" if os.fstat(0).st_rdev == os.makedev(1, 5) else "")


def _more_in(command):
    kept = [os.open("/proc/self/ns/net", os.O_RDONLY), os.open("/", os.O_RDONLY), socket.socketpair()[0].detach()]
    for descriptor in kept:
        os.set_inheritable(descriptor, True)
    reader, writer = os.pipe()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=writer, stderr=subprocess.DEVNULL,
                               close_fds=False)
    os.close(writer)
    process.wait()
    got = drain(reader).decode("utf-8", "replace")
    return Claim(got) if '"loot": "more' in got else got


def _more_inside():
    """What is open beside 0 to 2, before this program opened anything: the runner's own pipe is the one exception."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if int(name) > 2 and not target.startswith(("pipe:", "/proc/")) and "battery" not in target:
            found.append(f"{name}={target}")
    return "more " + " ".join(found) if found else ""


begin("more_descriptors", "leave more descriptors open, and see which are left", "there are more than 0, 1 and 2",
      _more_in, _more_inside)


# --- terminals --------------------------------------------------------------------------------------------------------


def _terminal(command):
    """The attacker's own terminal: what stands in its input when the command is over, a shell would run."""
    master, slave = pty.openpty()
    import tty

    tty.setraw(slave)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(slave, 0x540E, 0)
        for number in range(3):
            os.dup2(slave, number)
        os.execvp(command[0], command)
    until = time.monotonic() + 12
    shown = b""
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], 0.05)
        if ready:
            shown += os.read(master, 65536)
        if os.waitpid(child, os.WNOHANG)[0]:
            break
    else:
        os.kill(child, signal.SIGKILL)
    waiting = struct.unpack("i", fcntl.ioctl(slave, 0x541B, bytes(4)))[0]
    return Claim(f"{waiting} bytes were typed") if waiting else f"nothing was typed; {shown[-300:]!r}"


def _type():
    for number in (0, 1, 2):
        try:
            for byte in b"touch /attacked\n":
                fcntl.ioctl(number, 0x5412, bytes([byte]))
            return
        except OSError as error:
            last = error
    raise last


begin("terminal_typed", "type into the caller's terminal (TIOCSTI) for the shell that waits", "input waits there",
      _terminal, _type)


def _paste():
    """The Linux console's selection, pasted into whoever reads next (TIOCLINUX)."""
    fcntl.ioctl(0, 0x541C, b"\x03")


begin("terminal_pasted", "paste into the caller's terminal (TIOCLINUX)", "input waits there", _terminal, _paste,
      impossible="it needs a virtual console, which no test host has")


def _settings(command):
    import termios

    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    child = os.fork()
    if child == 0:
        os.setsid()
        fcntl.ioctl(slave, 0x540E, 0)
        for number in range(3):
            os.dup2(slave, number)
        os.execvp(command[0], command)
    until = time.monotonic() + 12
    while time.monotonic() < until:
        ready, _, _ = select.select([master], [], [], 0.05)
        if ready:
            os.read(master, 65536)
        if os.waitpid(child, os.WNOHANG)[0]:
            break
    else:
        os.kill(child, signal.SIGKILL)
    after = termios.tcgetattr(slave)
    return Claim("its settings are others") if before[4:6] != after[4:6] else "it is as it was"


def _change_settings():
    import termios

    now = termios.tcgetattr(0)
    now[4] = now[5] = termios.B50
    termios.tcsetattr(0, termios.TCSANOW, now)


begin("terminal_settings", "leave the caller's terminal with other settings", "its settings are others", _settings,
      _change_settings)
