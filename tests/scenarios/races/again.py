"""Takes a plan from a launcher that is stopped, and uses it once more. Root, on the host.

    again.py PID [WAIT]

PID is a stopped tether-confine. Its descriptors are copied, which is said; when a line comes (not waited for if WAIT is
less than 0) and WAIT seconds are over, a launcher of this program's own is started with them in the same session's cgroup
and with its loginuid. What that printed is printed.
"""

import ctypes
import fcntl
import os
import subprocess
import sys
import time


def main(pid, wait):
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        arguments = file.read().decode().split("\0")[1:-1]
    numbers = [int(number) for number in arguments[0].split("=", 1)[1].split(",")]
    with open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        cgroup = next(line.split(":", 2)[2].strip() for line in file if line.startswith("0::"))
    with open(f"/proc/{pid}/loginuid", encoding="utf-8") as file:
        login = file.read()
    holder = os.pidfd_open(pid)
    libc = ctypes.CDLL(None, use_errno=True)
    copies = [libc.syscall(438, holder, number, 0) for number in numbers]
    if min(copies) < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    mount = next(line.split()[1] for line in open("/proc/mounts", encoding="utf-8") if line.split()[2] == "cgroup2")
    print("taken", flush=True)
    if wait >= 0:
        sys.stdin.readline()
        time.sleep(wait)
    with open(f"{mount}{cgroup}/cgroup.procs", "w", encoding="utf-8") as file:
        file.write("0")
    with open("/proc/self/loginuid", "w", encoding="utf-8") as file:
        file.write(login)
    # Out of the way first: a copy may have the number that another is to get.
    copies = [fcntl.fcntl(copy, fcntl.F_DUPFD, 100) for copy in copies]
    for target, copy in zip(numbers, copies):
        os.dup2(copy, target)
    done = subprocess.run(["/usr/libexec/tether/tether-confine", *arguments], pass_fds=numbers, capture_output=True,
                          check=False, timeout=20)
    print(done.returncode, done.stdout.decode(), done.stderr.decode(), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0)
