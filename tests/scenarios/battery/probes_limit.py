"""Taking more than one's share."""

import os
import resource
import signal
import time

from kit import Claim, may, probe


@probe("limit", "start 400 processes", "they run all at once", timeout=10)
def many_processes():
    children = []
    try:
        for _ in range(400):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
        return Claim(f"{len(children)} run")
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)


@probe("limit", "write a file of 64 MiB where writing is allowed", "it is there", timeout=10)
def large_file():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    path = f"{os.environ.get('TMPDIR', '/tmp')}/battery-large"
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        for _ in range(64):
            os.write(descriptor, bytes(1 << 20))
        return Claim(f"{os.fstat(descriptor).st_size} bytes")
    finally:
        os.unlink(path)


@probe("limit", "write 100 files of 4 MiB where writing is allowed", "they are all there", timeout=10)
def much_scratch():
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/battery-many"
    os.makedirs(folder, exist_ok=True)
    made = []
    try:
        for number in range(100):
            made.append(f"{folder}/{number}")
            with open(made[-1], "wb") as file:
                file.write(bytes(1 << 22))
        return Claim(f"{len(made)} files")
    finally:
        for path in made:
            if os.path.exists(path):
                os.unlink(path)


@probe("limit", "make 20,000 files where writing is allowed", "they are all there", timeout=10)
def many_files():
    folder = f"{os.environ.get('TMPDIR', '/tmp')}/battery-files"
    os.makedirs(folder, exist_ok=True)
    made = 0
    try:
        for number in range(20_000):
            os.close(os.open(f"{folder}/{number}", os.O_CREAT | os.O_WRONLY, 0o600))
            made += 1
        return Claim(f"{made} files")
    finally:
        for number in range(made):
            os.unlink(f"{folder}/{number}")


@probe("limit", "dump core", "the limit allows it")
def core_allowed():
    resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, resource.RLIM_INFINITY))
    return Claim("allowed")


@probe("limit", "raise one's own limits", "the kernel took it",
       impossible="" if may(24) else "this machine's root has no CAP_SYS_RESOURCE")
def raise_limits():
    resource.setrlimit(resource.RLIMIT_NPROC, (100_000, 100_000))
    return Claim("raised")


@probe("limit", "run before everybody else (a nice value below 0)", "the kernel took it")
def run_first():
    os.setpriority(os.PRIO_PROCESS, 0, -10)
    return Claim("taken")


@probe("limit", "keep running when the command has ended", "the child lives on in another session")
def stay_behind():
    # Whether it outlives the command is the judge's to see: it looks for the name.
    if os.fork() == 0:
        os.setsid()
        for descriptor in (0, 1, 2):
            os.close(descriptor)
        os.closerange(3, 64)
        with open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write("battery-stays")
        signal.pause()


def _stays(warden, loot):
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/comm", encoding="utf-8") as file:
                    if file.read().strip() == "battery-stays":
                        os.kill(int(name), signal.SIGKILL)
                        return True
            except OSError:
                pass
    return False


stay_behind.judge = _stays
