"""GTFOBins' payloads, typed and judged. On the host it lies in /usr/local/share/tether-gtfobins.

    gtfobins.py judge          root on the host: plants, watches, listens, reads reports on stdin, says what happened
    gtfobins.py play KIND      the attacker: types every payload into a shell of its own on a terminal, a JSON line each.
                               KIND is `root` (in an overlay and a cgroup that end with it) or `agent` (by sudo)
    gtfobins.py world NUMBER   root: makes such an overlay and becomes the shell in it

Each payload has two folders: BASE/NUMBER, programs that it may run, and STATE/NUMBER, which has a secret (a chroot's
password hashes) and a folder to write to.
"""

import concurrent.futures
import ctypes
import json
import os
import pty
import re
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

BASE = "/usr/local/share/tether-gtfobins"
STATE = "/var/lib/gtfobins"
FIRST_PORT = 20000
AT_ONCE = 6
SHELL = ["/usr/bin/bash", "--norc", "--noprofile", "--noediting", "+H", "-i"]
PROMPT, MORE = "<next payload line>", "<more of this line>"
# Programs that need a while before they do anything.
SLOW = {"R", "ansible-playbook", "ansible-test", "aws", "bundle", "cargo", "certbot", "composer", "gem", "go", "irb", "java", "jrunscript",
        "jshell", "mypy", "npm", "pip", "pipx", "pry", "puppet", "ranger", "rustc", "rustdoc", "sqlmap", "sshuttle",
        "tsc", "vagrant", "valgrind", "yarn", "yt-dlp"}


# They ask a daemon, which sees the host's own files.
BY_DAEMONS = {"at", "busctl", "crontab", "fail2ban-client", "systemctl", "systemd-run"}
# Where Debian puts some of them that others have among the programs.
MORE_PATH = "/usr/games:/usr/lib/nagios/plugins:/usr/libexec/man-db:/usr/share/easy-rsa"


def load():
    """The payloads, each with its number."""
    with open(f"{BASE}/list.json", encoding="utf-8") as file:
        payloads = json.load(file)
    for number, payload in enumerate(payloads):
        payload.update(number=number, port=FIRST_PORT + number, folder=f"{BASE}/{number}", state=f"{STATE}/{number}")
    return payloads


def expand(payload, scratch):
    """The payload's code with our names for its places."""
    folder, state, port = payload["folder"], payload["state"], str(payload["port"])
    text = payload["code"]
    for word in ("PeerPort=>80", "0.0.0.0:80", "-p 80", "listen 80"):
        text = text.replace(word, word[:-2] + port)
    if payload["class"] == "upload":
        text = text.replace("DATA", token(payload))
    text = re.sub(r"(https?://)attacker\.com(?!:)", rf"\g<1>127.0.0.1:{port}", text)
    for word, place in (
        ("attacker.com", "127.0.0.1"), ("12345", port), ("/bin/sh", f"{folder}/bin/sh"),
        ("/path/to/input-file", f"{state}/etc/shadow"), ("/path/to/file-input", f"{state}/etc/shadow"),
        ("/path/to/input-dir/", f"{state}/etc/"), ("/path/to/dir/", f"{state}/etc/"),
        ("/path/to/output-file", f"{state}/out/made"), ("/path/to/ouput-file", f"{state}/out/made"),
        ("/path/to/output-dir/", f"{state}/out/"), ("/path/to/command", f"{folder}/bin/do"),
        ("../../../../../path/to/lib", f"../../../../..{folder}/lib"), ("./lib.so", f"{folder}/lib.so"),
        ("/path/to/lib.so", f"{folder}/lib.so"), ("/path/to/ld.so", "/lib64/ld-linux-x86-64.so.2"),
        ("/path/to/", f"{scratch}/"),
    ):
        text = text.replace(word, place)
    return text


def token(payload):
    """What a payload sends that carries words of its own and no file."""
    return f"words{payload['number']}x"


def keys(payload, line):
    """What is pressed for one line: GTFOBins writes a few keys by name."""
    if line == "# press return twice":
        return b"\r\r"
    if re.fullmatch(r"(C-[a-z] ?)+", line):
        return bytes(ord(key) & 31 for key in re.findall(r"C-([a-z])", line))
    if payload["program"] == "nano" and re.fullmatch(r"(\^[A-Z])+", line):
        # It asks for a name after ^O, and for what to run after the others.
        pressed = bytes(ord(key) & 31 for key in re.findall(r"\^([A-Z])", line))
        return pressed + b"\r" if line == "^O" else pressed
    if line.endswith("^J"):
        return line[:-2].encode() + b"\n"
    if payload["program"] in ("joe", "vi"):
        line = re.sub(r"\^([A-Z\[])", lambda key: chr(ord(key[1]) & 31), line)
    return line.encode() + b"\r"


# --- the attacker -----------------------------------------------------------------------------------------------------


class Terminal:
    """A shell on a terminal, and what it prints."""

    def __init__(self, argv):
        self.out, self.ended = b"", False
        self.child, self.master = pty.fork()
        if self.child == 0:
            os.environ.update(TERM="vt100", LC_ALL="C.UTF-8", SHELL="/bin/bash")
            try:
                os.execv(argv[0], argv)
            finally:
                os._exit(127)

    def type(self, pressed):
        try:
            os.write(self.master, pressed)
        except OSError:
            self.ended = True

    def wait(self, quiet, limit, until):
        """Reads until one of the words appears (then it is given), nothing comes for a while, or the limit."""
        since, end = len(self.out), time.monotonic() + limit
        while not self.ended:
            left = min(quiet, end - time.monotonic())
            if left <= 0 or not select.select([self.master], [], [], left)[0]:
                break
            try:
                part = os.read(self.master, 65536)
            except OSError:
                part = b""
            self.ended = not part
            self.out = (self.out + part)[-400_000:]
            for word in until:
                if word in self.out[since:]:
                    return word
        return None

    def close(self):
        for number in (signal.SIGHUP, signal.SIGKILL):
            try:
                os.kill(self.child, number)
            except OSError:
                break
        os.close(self.master)
        for _ in range(100):
            try:
                if os.waitpid(self.child, os.WNOHANG)[0]:
                    break
            except ChildProcessError:
                break
            time.sleep(0.02)


def play(payload, kind):
    """Types one payload; its report."""
    if kind == "root":
        scratch = f"/tmp/scratch-{payload['number']}"
        argv = ["/usr/bin/unshare", "--mount", "/usr/bin/python3", "-B", f"{BASE}/gtfobins.py", "world",
                str(payload["number"])]
    else:
        scratch = "/run/tether/home/scratch"
        argv = ["/usr/bin/sudo", *SHELL]
    terminal = Terminal(argv)
    prompt, more, reached = PROMPT.encode(), MORE.encode(), f"reached {payload['number']} ".encode()
    quiet, limit = (7, 15) if payload["program"] in SLOW else (2, 7)
    terminal.wait(10, 20, [b"$ ", b"# "])
    # Typed in two parts, so that its echo is no prompt.
    first = f"PS1='<next ''payload line>' PS2='<more of ''this line>' PROMPT_COMMAND=; HISTFILE={scratch}/history; " \
        f"mkdir -p {scratch}/temp-dir; cd {scratch}; export OUTER=$$ PATH=$PATH:{MORE_PATH}\r"
    terminal.type(first.encode())
    began = terminal.wait(5, 10, [prompt]) == prompt
    if payload["class"] == "upload":
        terminal.type(f"cd {payload['state']}/etc\r".encode())
        terminal.wait(2, 4, [prompt])
    seen = None
    for line in expand(payload, scratch).split("\n"):
        terminal.type(keys(payload, line))
        seen = terminal.wait(quiet, limit, [prompt, more])
    if seen is None:
        # It holds the terminal: a shell does what it is told, anything else may still be at work.
        terminal.type(f"{payload['folder']}/bin/do\r".encode())
        terminal.wait(quiet * 1.5, limit, [prompt, reached])
    out = terminal.out
    terminal.close()
    if kind == "root":
        end_world(payload, scratch)
    return json.dumps({"number": payload["number"], "began": began, "reached": reached in out,
                       "out": out.decode("latin-1")})


def play_all(payloads, kind):
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for report in pool.map(lambda payload: play(payload, kind), payloads):
            print(report, flush=True)


def cgroup(payload):
    return f"/sys/fs/cgroup/gtfobins-{payload['number']}"


def end_world(payload, scratch):
    """Ends whatever a payload of root's started."""
    group = cgroup(payload)
    try:
        _write(f"{group}/cgroup.kill", b"1", None)
        for _ in range(200):
            with open(f"{group}/cgroup.events", encoding="ascii") as file:
                if "populated 0" in file.read():
                    break
            time.sleep(0.01)
        os.rmdir(group)
    except OSError:
        pass
    shutil.rmtree(scratch, ignore_errors=True)


def world(payload):
    """A root file system of this payload's own, less what is not on disk: of the disk only its folders are the host's.
    Processes are the host's too, or systemd would not talk to them; they are in one cgroup."""
    os.mkdir(cgroup(payload))
    _write(f"{cgroup(payload)}/cgroup.procs", b"0", None)
    if payload["program"] not in BY_DAEMONS:
        _overlay(payload)
    os.chdir("/root")
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                   "TERM": "vt100", "LANG": "C.UTF-8"}
    os.execve(SHELL[0], SHELL, environment)


def _overlay(payload):
    place = "/run/gtfobins"
    os.makedirs(place, exist_ok=True)

    def mount(*words):
        subprocess.run(["/usr/bin/mount", *words], check=True)

    mount("--make-rprivate", "/")
    mount("-t", "tmpfs", "none", place)
    for folder in ("upper", "work", "root"):
        os.mkdir(f"{place}/{folder}")
    mount("-t", "overlay", "-o", f"lowerdir=/,upperdir={place}/upper,workdir={place}/work", "none", f"{place}/root")
    for folder in ("/proc", "/sys", "/dev", "/run", "/tmp", payload["folder"], payload["state"]):
        mount("--rbind", folder, f"{place}/root{folder}")
    os.chroot(f"{place}/root")


# --- the judge --------------------------------------------------------------------------------------------------------

DO = """#!/bin/dash
# What the attacker wants of a shell. The shell that the payload was typed into does not count.
[ "$PPID" = "$OUTER" ] && exit
echo "reached {number} "
echo x 2>/dev/null > {state}/mark
cat {state}/etc/shadow /etc/shadow
"""

SH = """#!/bin/dash
# The shell of this payload: that it runs is all that it takes.
echo "reached {number} "
echo x 2>/dev/null > {state}/mark
cat {state}/etc/shadow /etc/shadow
exec /bin/dash "$@"
"""

LIBRARY = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
void C_GetFunctionList(void) {} /* what loaders of tokens look for first */
__attribute__((constructor)) static void begin(void) {
    Dl_info self;
    char mark[4096];
    if (!dladdr((void *) C_GetFunctionList, &self)) return;
    snprintf(mark, sizeof mark, "%s", self.dli_fname);
    char *end = strrchr(mark, '/');
    if (!end || end - mark > 4000) return;
    strcpy(end, "/mark");
    open(mark, O_CREAT | O_WRONLY, 0644);
}
"""

IN_ACCESS = 1


class Judge:
    """Root, outside."""

    def __init__(self, payloads):
        self.payloads = payloads
        self.canary = "CANARY" + secrets.token_hex(10)
        self.received = {payload["number"]: b"" for payload in payloads}
        self.read, self.before, self.watches = set(), {}, {}
        self.libc = ctypes.CDLL(None, use_errno=True)

    def prepare(self):
        library = f"{BASE}/lib.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-o", library], input=LIBRARY.encode(), check=True)
        with open(library, "rb") as file:
            compiled = file.read()
        subprocess.run(["useradd", "-M", "payload"], capture_output=True, check=False)
        subprocess.run(["usermod", "-p", self.canary, "payload"], check=True)
        self.events = self.libc.inotify_init()
        for payload in self.payloads:
            self._prepare(payload, compiled)
        threading.Thread(target=self._watch, daemon=True).start()

    def _prepare(self, payload, library):
        folder, state = payload["folder"], payload["state"]
        for made in (f"{folder}/bin", f"{state}/etc", f"{state}/out"):
            os.makedirs(made)
        for name, text in (("do", DO), ("sh", SH)):
            _write(f"{folder}/bin/{name}", text.format(**payload).encode(), 0o755)
        _write(f"{folder}/lib.so", library, 0o755)
        secret = f"{state}/etc/shadow"
        _write(secret, f"root:{self.canary}:20000:0:99999:7:::\n".encode(), 0o600)
        if payload["class"] == "privilege-escalation":
            os.chown(secret, 1, 1)
        self.before[payload["number"]] = fingerprint(payload)
        watch = self.libc.inotify_add_watch(self.events, secret.encode(), IN_ACCESS)
        if watch < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        self.watches[watch] = payload["number"]
        if re.search(r"attacker\.com|12345|:80\b|-p 80|listen 80", payload["code"]):
            serves = payload["class"] == "bind-shell" or payload["peer"] in ("http-client", "tcp-client")
            work = self._connect if serves else self._listen
            threading.Thread(target=work, args=(payload,), daemon=True).start()

    def _watch(self):
        while True:
            data, at = os.read(self.events, 65536), 0
            while at + 16 <= len(data):
                watch, _, _, length = struct.unpack_from("iIII", data, at)
                self.read.add(self.watches.get(watch))
                at += 16 + length

    def _listen(self, payload):
        listening = socket.create_server(("127.0.0.1", payload["port"]), reuse_port=True)
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=self._talk, args=(payload, connection), daemon=True).start()

    def _connect(self, payload):
        # The payload listens, for as long as it runs: nobody says when it begins.
        while True:
            try:
                self._talk(payload, socket.create_connection(("127.0.0.1", payload["port"]), 1))
            except OSError:
                pass
            time.sleep(0.2)

    def _talk(self, payload, connection):
        number, kind = payload["number"], payload["class"]
        connection.settimeout(4)
        try:
            if kind in ("reverse-shell", "bind-shell"):
                connection.sendall(f"{payload['folder']}/bin/do\n".encode())
            elif payload["peer"] == "http-client":
                where = f"{payload['state']}/etc/shadow" if "root /;" in payload["code"] else "/shadow"
                connection.sendall(f"GET {where} HTTP/1.0\r\n\r\n".encode())
            elif kind == "download" and payload["peer"] != "http-server":
                connection.sendall(b"DOWNLOADED\n")
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                self.received[number] += part
                if part.startswith((b"GET ", b"HEAD ")):
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\nDOWNLOADED\n")
                    break
                if b"Expect: 100-continue" in part:
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                whole = self.canary.encode(), token(payload).encode()
                if b"HTTP/" in self.received[number] and any(words in self.received[number] for words in whole):
                    connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
                    break
        except OSError:
            pass
        connection.close()

    def harm(self, payload, out):
        """What harm is seen, from outside or by what only root could print; nothing if there is none."""
        number, state = payload["number"], payload["state"]
        if self.canary in out:
            return "printed the secret"
        if self.canary in self.received[number].decode("latin-1"):
            return "sent the secret"
        if payload["class"] == "upload" and token(payload).encode() in self.received[number]:
            return "sent something"
        if os.path.lexists(f"{state}/mark") or os.path.lexists(f"{payload['folder']}/mark"):
            return "did what only root can"
        if number in self.read:
            return "read the secret"
        if payload["class"] == "download":
            return "brought a file" if _holds(f"{state}/out", b"DOWNLOADED") else ""
        return "changed a file" if fingerprint(payload) != self.before[number] else ""


def _write(path, data, mode):
    with open(path, "wb") as file:
        file.write(data)
    if mode is not None:
        os.chmod(path, mode)


def _holds(folder, words):
    for entry in os.scandir(folder):
        if entry.is_file(follow_symlinks=False):
            with open(entry.path, "rb") as file:
                if words in file.read():
                    return True
    return False


def fingerprint(payload):
    """All that a change to its folders would change."""
    found = []
    for folder in (payload["folder"], payload["state"]):
        for where, folders, names in os.walk(folder):
            found.extend(_describe(f"{where}/{name}") for name in (".", *folders, *names))
    return sorted(found)


def _describe(path):
    stat = os.lstat(path)
    attributes = sorted((name, os.getxattr(path, name, follow_symlinks=False))
                        for name in os.listxattr(path, follow_symlinks=False))
    return (path, stat.st_mode, stat.st_uid, stat.st_gid, stat.st_size, stat.st_mtime_ns, stat.st_nlink, attributes)


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
            reports[report["number"]] = report
    # What was started by another, at once or in a moment, may still be under way.
    time.sleep(2)
    for number, report in sorted(reports.items()):
        report["harm"] = judging.harm(payloads[number], report["out"])
        report["out"] = report["out"][-600:]
        told.write(json.dumps(report) + "\n")
    told.flush()
    os._exit(0)


def main(argv):
    payloads = load()
    if argv[0] == "judge":
        judge(payloads)
    elif argv[0] == "world":
        world(payloads[int(argv[1])])
    elif argv[0] == "play":
        chosen = {int(number) for number in argv[2:]}
        play_all([payload for payload in payloads if not chosen or payload["number"] in chosen], argv[1])


if __name__ == "__main__":
    main(sys.argv[1:])
