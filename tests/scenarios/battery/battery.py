"""The escape battery's one program. On the host it lies in /usr/local/share/tether-battery.

    battery.py list                       the probes, one JSON line each
    battery.py warden [NAME…]             root on the host: prepares, waits for reports on stdin, judges
    battery.py attack [NAME…]             the attacker: runs probes, one JSON line each
    battery.py start NAME -- PREFIX…      the attacker's own side of a probe whose harm lies in how it is started
    battery.py sibling | login            processes of the session to be attacked

The warden and the attacker share params.json and nothing else.
"""

import base64
import json
import os
import select
import signal
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True

import session  # noqa: E402
from kit import PROBES, Claim  # noqa: E402

GROUPS = [
    "probes_write", "probes_metadata", "probes_secret", "probes_route", "probes_memory", "probes_signal",
    "probes_socket", "probes_ipc", "probes_lock", "probes_kernel", "probes_mount", "probes_identity",
    "probes_program", "probes_session", "probes_start", "probes_limit",
]


def load():
    """Reads all probes."""
    import importlib

    for group in GROUPS:
        importlib.import_module(group)


def chosen(names):
    """The probes of these names, or all."""
    return [PROBES[name] for name in names] if names else list(PROBES.values())


def as_text(loot):
    """Loot as a report carries it."""
    if loot is None:
        return ""
    if isinstance(loot, bytes):
        return "b64:" + base64.b64encode(loot[:65536]).decode()
    return str(loot)[:65536]


def attempt(probe, out):
    """In a child: runs one probe and writes its report."""
    os.environ["PROBE"] = probe.name
    report = {"name": probe.name, "loot": "", "claim": False, "error": ""}
    try:
        loot = probe.attack()
        report["loot"] = as_text(loot)
        report["claim"] = isinstance(loot, Claim)
    except OSError as error:
        report["error"] = f"{error.strerror or error}"
        report["errno"] = error.errno
    except BaseException:  # A report is better than a lost child, whatever went wrong.
        report["error"] = traceback.format_exc()[-600:]
    os.write(out, (json.dumps(report) + "\n").encode())


def attack(probe):
    """Runs one probe in a child of its own, for a limited time; gives its report."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        attempt(probe, writer)
        os._exit(0)
    os.close(writer)
    text, deadline = b"", time.monotonic() + probe.timeout
    while b"\n" not in text:
        ready, _, _ = select.select([reader], [], [], max(0, deadline - time.monotonic()))
        part = os.read(reader, 1 << 20) if ready else b""
        if not part:
            break
        text += part
    os.close(reader)
    done, status = os.waitpid(child, os.WNOHANG)
    if done == 0:
        late = time.monotonic() >= deadline
        try:
            os.kill(child, signal.SIGKILL)
        except OSError:
            late = True
        status = os.waitpid(child, 0)[1] if not late or _gone(child) else -1
    if b"\n" in text:
        return text.split(b"\n")[0].decode()
    why = "it took too long" if time.monotonic() >= deadline else f"it ended with wait status {status}"
    return json.dumps({"name": probe.name, "loot": "", "claim": False, "error": why})


def _gone(child):
    """Whether a killed child ends within a second: one that a probe made unkillable is left behind."""
    for _ in range(100):
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG):
            return True
        time.sleep(0.01)
    return False


def main(argv):
    what, names = argv[0], argv[1:]
    if what == "sibling":
        return session.be_sibling()
    if what == "login":
        return session.be_login()
    load()
    if what == "list":
        for probe in PROBES.values():
            print(json.dumps({"name": probe.name, "group": probe.group, "tries": probe.tries,
                              "oracle": probe.oracle, "starter": probe.starter is not None,
                              "impossible": probe.impossible}))
    elif what == "attack":
        for probe in chosen(names):
            if probe.starter is None or names:
                print(attack(probe), flush=True)
    elif what == "start":
        prefix = names[names.index("--") + 1:]
        os.environ["PROBE"] = names[0]
        print(start(PROBES[names[0]], prefix), flush=True)
    elif what == "warden":
        import warden

        warden.serve(chosen(names))
    else:
        raise SystemExit(__doc__)
    return None


def start(probe, prefix):
    """The attacker's own side: starts the command in a way of the probe's own, and says what came out."""
    report = {"name": probe.name, "loot": "", "claim": False, "error": ""}
    command = [*prefix, "/usr/bin/python3", "-B", os.path.abspath(__file__), "attack", probe.name]
    try:
        loot = probe.starter(command)
        report["loot"] = as_text(loot)
        report["claim"] = isinstance(loot, Claim)
    except Exception:  # As above.
        report["error"] = traceback.format_exc()[-600:]
    return json.dumps(report)


if __name__ == "__main__":
    # No name of a probe begins the search for modules in the folder that the attacker stands in.
    main(sys.argv[1:])
