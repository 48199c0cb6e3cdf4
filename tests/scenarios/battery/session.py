"""Processes that a session has, to be attacked, and how the warden finds them."""

import os
import signal


def be_sibling():
    """Runs as another command of the session (or of root's): holds something in its memory and waits."""
    secret = bytearray(b"GNILBIS"[::-1] + b"-MEMORY")
    print("sibling", flush=True)
    del secret
    signal.pause()


def be_login():
    """Runs as the session's login user, with a terminal or not, and waits."""
    print("login", flush=True)
    signal.pause()


def find(words):
    """The newest process whose command line has these words and that is no child of the warden."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode()
                with open(f"/proc/{name}/comm", encoding="utf-8") as file:
                    command = file.read().strip()
            except OSError:
                continue
            if words in line and command not in ("sudo", "bash", "sh", "ssh", "tether-confine"):
                found.append(int(name))
    if not found:
        raise RuntimeError(f"no process is called {words}")
    return max(found)
