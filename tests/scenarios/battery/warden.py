"""The host's side: root, outside. Plants what may be stolen, starts who may be hurt, and looks afterwards."""

import base64
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time

import kit
from kit import BASE, GROUND, PARAMS


class Warden:
    """What a probe's `prepare` and `judge` are given."""

    def __init__(self):
        self.params = {}
        self.kept = {}
        self.canaries = {}
        self.children = []
        self.threads = []
        self.ending = threading.Event()
        self.at_end = []

    # --- to plant -------------------------------------------------------------------------------------------------

    def canary(self, name):
        """A word that only the warden knows."""
        return self.canaries.setdefault(name, "CANARY" + secrets.token_hex(12))

    def plant(self, path, text, mode=0o600):
        """A file of root's."""
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, text.encode())
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        return path

    def victim(self, name, uid=0):
        """A process of root's (or of a user's) in a process group of its own, which must live on."""
        child = subprocess.Popen(["sleep", "100000"], stdin=subprocess.DEVNULL, start_new_session=True, user=uid)
        self.children.append(child)
        self.kept[name, "victim"] = child
        self.params[name] = {"pid": child.pid}
        return child

    def lives(self, name):
        """Whether that process is there and runs, neither stopped nor dying."""
        child = self.kept[name, "victim"]
        if child.poll() is not None:
            return False
        with open(f"/proc/{child.pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] in "SDRI"

    def fingerprint(self, path):
        """All that can be changed about a file, but its access time."""
        import glob
        import hashlib

        def one(path):
            try:
                stat = os.lstat(path)
            except OSError:
                return "missing"
            content = b""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    content = file.read()
            attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                          for name in os.listxattr(path, follow_symlinks=False)}
            return (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_nlink, stat.st_ino, stat.st_mtime_ns,
                    hashlib.sha256(content).hexdigest(), sorted(attributes.items()))

        return [one(path)] + [(below, one(below)) for below in sorted(glob.glob(glob.escape(path) + "/*"))]

    def watch(self, name, *paths):
        """Remembers how files are."""
        self.kept[name, "files"] = {path: self.fingerprint(path) for path in paths}

    def changed(self, name):
        """Whether one of them is another now."""
        return any(self.fingerprint(path) != before for path, before in self.kept[name, "files"].items())

    def background(self, work):
        """Runs `work(self)` beside, again and again, until the end."""

        def loop():
            while not self.ending.is_set():
                work()

        thread = threading.Thread(target=loop, daemon=True)
        self.threads.append(thread)
        thread.start()

    def listener(self, name, listening):
        """Counts whoever connects or sends to a socket."""
        self.kept[name, "heard"] = []

        def hear():
            listening.settimeout(0.2)
            try:
                if listening.type & 0xF == socket.SOCK_DGRAM:
                    self.kept[name, "heard"].append(listening.recv(65536))
                else:
                    connection, _ = listening.accept()
                    self.kept[name, "heard"].append(b"connected")
                    connection.close()
            except (TimeoutError, OSError):
                pass

        self.background(hear)

    def heard(self, name):
        """What such a listener heard."""
        return self.kept[name, "heard"]

    # --- the run --------------------------------------------------------------------------------------------------

    def prepare(self, probes):
        os.makedirs(GROUND, exist_ok=True)
        os.chmod(GROUND, 0o755)
        for probe in probes:
            if probe.prepare and not probe.impossible:
                try:
                    probe.prepare(self)
                except Exception as error:
                    raise RuntimeError(f"{probe.name}: it cannot be prepared: {error!r}") from error
        self.plant(PARAMS, json.dumps(self.params), 0o644)

    def judge(self, probe, report):
        """Whether it did harm, and what was seen."""
        loot = report["loot"]
        raw = base64.b64decode(loot[4:]) if loot.startswith("b64:") else loot.encode()
        report["raw"] = raw
        if probe.judge:
            return bool(probe.judge(self, raw))
        stolen = [name for name, canary in self.canaries.items() if canary.encode() in raw]
        if stolen:
            report["stolen"] = stolen
        return bool(stolen) or report["claim"]

    def close(self):
        self.ending.set()
        for child in self.children:
            if child.poll() is None:
                child.kill()
        for end in self.at_end:
            end()


def look(warden, probe, report):
    """One judgement; a judge that fails saw nothing, and says so."""
    try:
        return False if probe.impossible else warden.judge(probe, report)
    except Exception as error:
        report["error"] += f" [the judge failed: {error!r}]"
        return False


def serve(probes):
    """Prepares, says `ready`, takes reports until stdin ends, and prints a verdict a line."""
    # What the programs that it runs print is not its own word.
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(line):
        told.write(line + "\n")
        told.flush()

    warden = Warden()
    try:
        warden.prepare(probes)
    except Exception as error:
        tell(f"not ready: {error!r}")
        warden.close()
        os._exit(1)
    tell("ready")
    reports = {}
    for line in sys.stdin:
        if line.startswith("{"):
            report = json.loads(line)
            reports[report["name"]] = report
    verdicts = {}
    # What was set off may still be under way (a message in a socket, a process that dies), and harm that does not
    # come has no event: so whoever did none yet is looked at again for half a second.
    deadline = time.monotonic() + 0.5
    while True:
        for probe in probes:
            if not verdicts.get(probe.name):
                report = reports.setdefault(probe.name, {"loot": "", "claim": False, "error": "no report"})
                verdicts[probe.name] = look(warden, probe, report)
        if time.monotonic() > deadline or all(verdicts.values()):
            break
        time.sleep(0.02)
    for probe in probes:
        harm, report = verdicts[probe.name], reports[probe.name]
        raw = report.get("raw", b"")
        shown = raw[:160].decode("utf-8", "replace")
        tell(json.dumps({"name": probe.name, "group": probe.group, "tries": probe.tries, "oracle": probe.oracle,
                         "harm": harm, "impossible": probe.impossible, "error": report["error"], "seen": shown}))
    warden.close()
    os._exit(0)
