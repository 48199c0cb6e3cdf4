"""Payloads of well-known programs, tried and judged. On the host it lies in /usr/local/share/tether-payloads.

    payloads.py judge               root on the host: plants, listens, waits for reports on stdin, says what happened
    payloads.py run NAME…           the attacker: runs payloads by a shell, a JSON line each
    payloads.py type NAME… -- PREFIX the attacker's own terminals: starts a shell on each and types a payload line by
                                    line; a JSON line each. No NAME means all that are typed

list.json has the payloads; what they are judged by is not in it.
"""

import concurrent.futures
import json
import os
import pty
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

BASE = "/usr/local/share/tether-payloads"
STATE = "/var/lib/payloads"
SECRET = "/etc/payloads/private.key"
LIMIT = 7


def load():
    """The payloads by name, in order."""
    with open(f"{BASE}/list.json", encoding="utf-8") as file:
        payloads = json.load(file)
    for index, payload in enumerate(payloads):
        payload["port"] = 21000 + index
    return {payload["name"]: payload for payload in payloads}


def expand(payload, text):
    """Fills in what a payload is about."""
    name = payload["name"]
    words = {
        "name": name, "do": f"{BASE}/bin/{name}", "folder": f"{BASE}/bin", "secret": SECRET,
        "out": f"{STATE}/out/{name}", "outfolder": f"{STATE}/out", "lib": f"{BASE}/lib/{name}.so",
        "libfolder": f"{BASE}/lib", "port": str(payload["port"]), "interpreter": "/bin/sh",
        "pidfile": f"{BASE}/pid", "encrypted": f"{BASE}/encrypted",
    }
    for word, value in words.items():
        text = text.replace("{" + word + "}", value)
    return text


# --- the attacker -----------------------------------------------------------------------------------------------------


def run(payload):
    """Runs one by a shell of its own; what it printed."""
    scratch = None
    environment = dict(os.environ, TERM="dumb", LC_ALL="C.UTF-8")
    try:
        scratch = tempfile.mkdtemp(prefix="payload")
        environment["TMPDIR"] = scratch
    except OSError:
        pass
    process = subprocess.Popen(["/bin/sh"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=environment, cwd="/", start_new_session=True)
    try:
        out, _ = process.communicate(expand(payload, payload["script"]).strip().encode() + b"\n", LIMIT)
    except subprocess.TimeoutExpired:
        _kill(process)
        out = _rest(process)
    _kill(process)
    if scratch:
        shutil.rmtree(scratch, ignore_errors=True)
    return report(payload, out)


def _kill(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass


def _rest(process):
    """What was printed before the limit; a child that escaped the group may hold the pipe."""
    try:
        return process.communicate(timeout=0.5)[0]
    except subprocess.TimeoutExpired as late:
        return late.output or b""


def report(payload, out):
    return json.dumps({"name": payload["name"], "out": (out or b"")[:100_000].decode("latin-1")})


def type_lines(payload, prefix):
    """Types a payload into a shell on a terminal, the next line when it has been quiet for a while."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", HOME="/tmp", PS1="$ ")
        os.execvp((prefix or ["/bin/sh"])[0], [*prefix, "/bin/sh"] if prefix else ["/bin/sh"])
    out = _until_quiet(terminal, b"")
    for line in [*payload["keys"], "exit"]:
        try:
            os.write(terminal, expand(payload, line).encode() + b"\r")
        except OSError:
            break
        out = _until_quiet(terminal, out)
    for number in (signal.SIGHUP, signal.SIGKILL):
        try:
            os.kill(child, number)
        except OSError:
            break
    os.close(terminal)
    return report(payload, out)


def _until_quiet(terminal, out, quiet=0.35, limit=6):
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ready, _, _ = select.select([terminal], [], [], quiet)
        if not ready:
            break
        try:
            part = os.read(terminal, 65536)
        except OSError:
            break
        if not part:
            break
        out += part
    return out


# --- the judge --------------------------------------------------------------------------------------------------------

DO = """#!/bin/sh
# {name}: what the attacker wants of a shell.
echo x > {state}/marks/{name}
echo reached
cat {secret}
"""

LIBRARY = """
#include <fcntl.h>
void C_GetFunctionList(void) {} /* what loaders of tokens look for first */
__attribute__((constructor)) static void begin(void) {
    open("%s", O_CREAT | O_WRONLY, 0644);
}
"""


class Judge:
    """Root, outside."""

    def __init__(self, payloads):
        self.payloads = payloads
        self.canary = "CANARY" + secrets.token_hex(10)
        self.received = {}
        self.before = {}

    def prepare(self):
        shutil.rmtree(STATE, ignore_errors=True)
        for folder in (f"{STATE}/marks", f"{STATE}/out", f"{BASE}/bin", f"{BASE}/lib", os.path.dirname(SECRET)):
            os.makedirs(folder, exist_ok=True)
        _write(SECRET, self.canary + "\n", 0o600)
        subprocess.run(["useradd", "-M", "payload"], capture_output=True, check=False)
        subprocess.run(["usermod", "-p", self.canary, "payload"], check=True)
        if not os.path.exists(f"{BASE}/encrypted"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "words", "-f", f"{BASE}/encrypted"], check=True)
            os.chmod(f"{BASE}/encrypted", 0o644)
        victim = subprocess.Popen(["sleep", "100000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.victim = victim
        _write(f"{BASE}/pid", str(victim.pid), 0o644)
        for payload in self.payloads.values():
            self._prepare(payload)

    def _prepare(self, payload):
        name, kind = payload["name"], payload["class"]
        _write(f"{BASE}/bin/{name}", DO.format(name=name, state=STATE, secret=SECRET), 0o755)
        if kind == "library-load" and not os.path.exists(f"{BASE}/lib/{name}.so"):
            source = LIBRARY % f"{STATE}/marks/{name}"
            subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", f"{BASE}/lib/{name}.so"],
                           input=source.encode(), check=True)
        if kind == "privilege-escalation":
            shutil.copy("/usr/bin/id", f"{STATE}/out/{name}")
            self.before[name] = _fingerprint(f"{STATE}/out/{name}")
        if "{port}" in str(payload.get("script")) + str(payload.get("keys")):
            work = self._connect if kind == "bind-shell" else self._listen
            self.received[name] = b""
            work(payload)

    def _listen(self, payload):
        listening = socket.create_server(("127.0.0.1", payload["port"]), reuse_port=True)

        def hear():
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._talk, args=(payload, connection), daemon=True).start()

        threading.Thread(target=hear, daemon=True).start()

    def _talk(self, payload, connection):
        name = payload["name"]
        connection.settimeout(3)
        try:
            if payload["class"] in ("reverse-shell", "bind-shell"):
                connection.sendall(f"{BASE}/bin/{name}\nexit\n".encode())
            while True:
                part = connection.recv(65536)
                if not part:
                    break
                self.received[name] += part
                if self.received[name].startswith(b"GET "):
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nDOWNLOADED\n")
                    break
                if self.received[name].startswith(b"POST ") and self.canary.encode() in self.received[name]:
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
                    break
        except OSError:
            pass
        connection.close()

    def _connect(self, payload):
        def work():
            while True:
                try:
                    self._talk(payload, socket.create_connection(("127.0.0.1", payload["port"]), 1))
                except OSError:
                    pass
                time.sleep(0.05)

        threading.Thread(target=work, daemon=True).start()

    def harm(self, payload, out):
        """Whether it did what it is for, seen from outside or by what only root could print."""
        name, kind = payload["name"], payload["class"]
        received = self.received.get(name, b"").decode("latin-1")
        mark, made = os.path.lexists(f"{STATE}/marks/{name}"), f"{STATE}/out/{name}"
        if kind == "file-read":
            # As hexdump's lines or a host name's small letters, it is still the secret.
            return self.canary.lower() in "".join(out.split()).lower()
        if kind == "upload":
            return self.canary in received
        if kind == "file-write":
            return os.path.lexists(made)
        if kind == "download":
            return os.path.isfile(made) and b"DOWNLOADED" in open(made, "rb").read()
        if kind == "privilege-escalation":
            return _fingerprint(made) != self.before[name]
        return mark or self.canary in out or self.canary in received


def _write(path, text, mode):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)


def _fingerprint(path):
    try:
        stat = os.lstat(path)
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    except OSError:
        return "missing"
    return (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_nlink,
            sorted(attributes.items()))


def judge(payloads):
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    judging = Judge(payloads)
    judging.prepare()
    told.write("ready\n")
    told.flush()
    reports = {}
    for line in sys.stdin:
        if line.startswith("{"):
            report = json.loads(line)
            reports[report["name"]] = report["out"]
    # A connection may still be under way: whoever did no harm yet is looked at again for a second.
    verdicts, until = {}, time.monotonic() + 1
    while time.monotonic() < until and not all(verdicts.get(name) for name in reports):
        for name, out in reports.items():
            verdicts[name] = verdicts.get(name) or judging.harm(payloads[name], out)
        time.sleep(0.05)
    for name, out in reports.items():
        told.write(json.dumps({"name": name, "class": payloads[name]["class"], "harm": verdicts[name],
                               "reached": "reached" in out, "out": out[-300:]}) + "\n")
    told.flush()
    judging.victim.kill()
    os._exit(0)


def main(argv):
    payloads = load()
    if argv[0] == "judge":
        judge(payloads)
    elif argv[0] == "type":
        names, prefix = argv[1:argv.index("--")], argv[argv.index("--") + 1:]
        chosen = [payloads[name] for name in names] or [p for p in payloads.values() if "keys" in p]
        # Terminals are quiet most of the time.
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for line in pool.map(lambda payload: type_lines(payload, prefix), chosen):
                print(line, flush=True)
    elif argv[0] == "run":
        chosen = [payloads[name] for name in argv[1:]] or [p for p in payloads.values() if "script" in p]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            for line in pool.map(run, chosen):
                print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
