"""The session's own processes and Tether's: another command, the login, agentd."""

import json
import os
import resource
import signal
import socket
import struct

from kit import Claim, add, call, may, params, read, write
from session import find

def _prepare(name, words):
    def prepare(warden):
        warden.params[name] = {"pid": find(words)}

    return prepare

def _gone(name):
    def judge(warden, loot):
        try:
            with open(f"/proc/{warden.params[name]['pid']}/stat", encoding="utf-8") as file:
                return file.read().rsplit(")", 1)[1].split()[0] in "ZXT"
        except FileNotFoundError:
            return True

    return judge

def on(name, tries, words, attack):
    """A probe that would end one of the session's or Tether's processes."""
    add(name, "session", tries, "it is gone or stopped", lambda: attack(params()[name]["pid"]),
        prepare=_prepare(name, words), judge=_gone(name))

def _limits(name):
    def judge(warden, loot):
        with open(f"/proc/{warden.params[name]['pid']}/limits", encoding="utf-8") as file:
            return any(line.startswith("Max open files") and line.split()[3] == "77" for line in file)

    return judge

def _starve(pid):
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (77, 77))

# What ends them comes after what only looks at them: the order of the list is the order of the run.
for _who, _words in [("sibling", "battery.py sibling"), ("login", "battery.py login"),
                     ("agentd", "tether-agentd")]:
    add(f"limit_{_who}", "session", f"take {_who}'s descriptors with prlimit", "its limit is another",
        lambda who=_who: _starve(params()[f"limit_{who}"]["pid"]),
        prepare=_prepare(f"limit_{_who}", _words), judge=_limits(f"limit_{_who}"),
        impossible="" if _who != "login" or may(24) else "this machine's root has no CAP_SYS_RESOURCE")
    add(f"nice_{_who}", "session", f"lower {_who}'s priority", "it is nicer",
        lambda who=_who: os.setpriority(os.PRIO_PROCESS, params()[f"nice_{who}"]["pid"], 9),
        prepare=_prepare(f"nice_{_who}", _words),
        judge=lambda warden, loot, who=_who:
        os.getpriority(os.PRIO_PROCESS, warden.params[f"nice_{who}"]["pid"]) == 9)

def _descriptor_of_sibling():
    pid = params()["sibling_descriptor"]["pid"]
    descriptor = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
    os.write(descriptor, b"written by the attacker\n")
    return Claim("its output is open here")

add("sibling_descriptor", "session", "write to another command's output, through its descriptors",
    "the descriptor was opened", _descriptor_of_sibling,
    prepare=_prepare("sibling_descriptor", "battery.py sibling"))

def _namespace_of_login():
    pid = params()["enter_login"]["pid"]
    before = os.readlink("/proc/self/ns/mnt")
    call("setns", os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), 0x20000)
    after = os.readlink("/proc/self/ns/mnt")
    return Claim(after) if after != before else ""

add("enter_login", "session", "enter the login's mount namespace, which has a writable folder",
    "it is another namespace", _namespace_of_login, prepare=_prepare("enter_login", "battery.py login"))

def _files_of_login():
    pid = params()["files_of_login"]["pid"]
    path = f"/proc/{pid}/root/tmp/battery-from-confined"
    write(path)
    return Claim(path)

add("files_of_login", "session", "write to the login's own folder through /proc/PID/root", "it was written",
    _files_of_login, prepare=_prepare("files_of_login", "battery.py login"))

def _ask_agentd():
    talk = socket.socket(socket.AF_UNIX)
    talk.settimeout(2)
    talk.connect("/run/tether/root.sock")
    question = json.dumps({"ask": "status"}).encode()
    talk.sendall(b"\x01" + struct.pack(">I", len(question)) + question)
    return Claim(talk.recv(4096)[5:].decode())

add("ask_agentd", "session", "ask agentd over root's socket", "an answer", _ask_agentd)

def _state():
    folder = "/var/lib/tether"
    for below, _, names in os.walk(folder):
        for name in names:
            got = read(os.path.join(below, name), 64)
            if got and "battery" not in name:
                return Claim(f"{name}: {got!r}")
    return ""

add("agentd_state", "session", "read agentd's state", "a byte of it", _state)



def _drop_statement():
    write("/var/spool/tether/inbox/feed-999999.jws")
    # agentd takes away what it does not believe: the writing is the harm.
    return Claim("written")


add("inbox_write", "session", "put a statement into agentd's inbox", "it was written", _drop_statement)

add("account_write", "session", "write an account file", "it is there",
    lambda: write("/run/tether/accounts/name/battery"),
    judge=lambda warden, loot: os.path.exists("/run/tether/accounts/name/battery"))
add("ceiling_write", "session", "write the host's ceiling", "it is there",
    lambda: write("/etc/tether/ceiling.toml.battery"),
    judge=lambda warden, loot: os.path.exists("/etc/tether/ceiling.toml.battery"))

def _prepare_chain(warden):
    # Beside the chain itself, which a positive control must not break for the tests after it.
    warden.watch("chain_write", "/var/lib/tether/audit/battery")

add("chain_write", "session", "write beside the audit chain", "it is there",
    lambda: write("/var/lib/tether/audit/battery"), prepare=_prepare_chain,
    judge=lambda warden, loot: warden.changed("chain_write"))

on("stop_login", "stop the login", "battery.py login", lambda pid: os.kill(pid, signal.SIGSTOP))
on("kill_sibling", "kill another command of the session", "battery.py sibling",
   lambda pid: os.kill(pid, signal.SIGKILL))
