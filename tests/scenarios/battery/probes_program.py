"""The host's own programs and services, asked to do it: systemd, D-Bus, cron, passwords, packages, sudo again."""

import os
import subprocess

import kit
from kit import GROUND, add, params, read, run

MARK = "/var/lib/battery/marks"


def _mark(name):
    return f"{MARK}/{name}"


def program(name, tries, argv, oracle="it is so on the host", prepare=None, judge=None, input=None, timeout=8,
            impossible=""):
    """A probe that runs a program; unless it says otherwise, harm is a file that the program was to make."""

    def ready(warden):
        os.makedirs(MARK, exist_ok=True)
        if os.path.lexists(_mark(name)):
            os.unlink(_mark(name))
        if prepare:
            prepare(warden)

    words = [word.replace("{mark}", _mark(name)) for word in argv]
    add(name, "program", tries, oracle, lambda: run(*words, input=input, timeout=timeout - 1), prepare=ready,
        judge=judge or (lambda warden, loot: os.path.lexists(_mark(name))), timeout=timeout, impossible=impossible)


def _text(path, words):
    def judge(warden, loot):
        try:
            return words.encode() in read(path)
        except OSError:
            return False

    return judge


def _says(words, *argv):
    return lambda warden, loot: words in subprocess.run(argv, capture_output=True, check=False).stdout.decode()


def _in_journal(words):
    def judge(warden, loot):
        subprocess.run(["journalctl", "--sync"], capture_output=True, check=False)
        return _says(words, "journalctl", "--no-pager", "-o", "cat")(warden, loot)

    return judge


def _unit(name):
    """A service that must go on."""

    def prepare(warden):
        subprocess.run(["systemctl", "reset-failed", name], capture_output=True, check=False)
        subprocess.run(["systemctl", "stop", name], capture_output=True, check=False)
        subprocess.run(["systemd-run", "--quiet", f"--unit={name}", "sleep", "100000"], check=True)

    return prepare


def _inactive(name):
    return lambda warden, loot: subprocess.run(["systemctl", "is-active", "--quiet", name], check=False).returncode != 0


program("systemd_run", "run a command as a service", ["systemd-run", "--quiet", "--wait", "touch", "{mark}"])
program("systemd_run_pipe", "run a command as a service and hear it", ["systemd-run", "--quiet", "--pipe", "touch", "{mark}"])
program("unit_stop", "stop a service", ["systemctl", "stop", "battery-stop"], prepare=_unit("battery-stop"),
        judge=_inactive("battery-stop"))
program("unit_kill", "kill a service", ["systemctl", "kill", "-s", "KILL", "battery-kill"],
        prepare=_unit("battery-kill"), judge=_inactive("battery-kill"))
program("unit_environment", "set systemd's environment", ["systemctl", "set-environment", "BATTERY=1"],
        judge=_says("BATTERY=1", "systemctl", "show-environment"))
program("unit_property", "change a service's limits", ["systemctl", "set-property", "--runtime", "battery-property",
                                                       "TasksMax=77"], prepare=_unit("battery-property"),
        judge=_says("TasksMax=77", "systemctl", "show", "-p", "TasksMax", "battery-property"))
program("unit_mask", "mask a service", ["systemctl", "mask", "--runtime", "battery-mask"],
        judge=lambda warden, loot: os.path.lexists("/run/systemd/system/battery-mask.service"))
program("bus_call", "start a unit over D-Bus",
        ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager", "StopUnit", "ss", "battery-bus.service", "replace"],
        prepare=_unit("battery-bus"), judge=_inactive("battery-bus"))
program("bus_send", "start a unit over D-Bus with dbus-send",
        ["dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.systemd1", "/org/freedesktop/systemd1",
         "org.freedesktop.systemd1.Manager.StopUnit", "string:battery-send.service", "string:replace"],
        prepare=_unit("battery-send"), judge=_inactive("battery-send"))
program("bus_private", "ask systemd over its private socket",
        ["busctl", "--address=unix:path=/run/systemd/private", "call", "org.freedesktop.systemd1",
         "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager", "SetEnvironment", "as", "1", "BATTERY2=1"],
        judge=_says("BATTERY2=1", "systemctl", "show-environment"),
        impossible="busctl insists on a bus, which the private socket is not: systemctl goes by it")
program("linger", "let a user's processes live on", ["loginctl", "enable-linger", "battery"],
        prepare=lambda warden: __import__("probes_secret").plant_shadow(warden),
        judge=lambda warden, loot: os.path.exists("/var/lib/systemd/linger/battery"))
program("host_name_bus", "set the host's name over D-Bus", ["hostnamectl", "set-hostname", "--pretty", "Battery"],
        judge=_text("/etc/machine-info", "Battery"))
program("time_zone", "set the time zone over D-Bus", ["timedatectl", "set-timezone", "Pacific/Apia"],
        judge=lambda warden, loot: "Apia" in os.path.realpath("/etc/localtime"),
        impossible="" if os.path.exists("/usr/share/zoneinfo/Pacific/Apia") else "the host has no time zones")
program("journal_forge", "forge a line of the journal", ["logger", "battery-forged-line"],
        judge=_in_journal("battery-forged-line"))
program("journal_cat", "forge a line of the journal as a service", ["systemd-cat", "echo", "battery-cat-line"],
        judge=_in_journal("battery-cat-line"))
program("journal_rotate", "rotate the journal, so that it forgets", ["journalctl", "--rotate"],
        prepare=lambda warden: warden.kept.update(journal=_journal_files()),
        judge=lambda warden, loot: _journal_files() != warden.kept["journal"])
program("tmpfiles", "let systemd-tmpfiles make files", ["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/battery.conf"],
        prepare=lambda warden: warden.plant("/etc/tmpfiles.d/battery.conf",
                                            f"f {_mark('tmpfiles')} 0644 root root - x\n", 0o644))
program("notify", "speak for a service (systemd-notify)", ["systemd-notify", "--status=battery"],
        impossible="systemd takes it from a service's own processes only, whoever runs it")


def _journal_files():
    """The archived ones: only a rotation makes them."""
    return sorted(name for _, _, names in os.walk("/var/log/journal") for name in names if name.startswith("system@"))


program("crontab", "write a crontab", ["crontab", "-"], input=b"* * * * * true\n",
        judge=lambda warden, loot: any(os.path.exists(f"/var/spool/cron/crontabs/{name}") for name in ("root", "battery")))
program("at_job", "leave a job for later", ["at", "now + 1 hour"], input=b"true\n",
        judge=lambda warden, loot: any(name[0] in "ab=" and name.startswith("a") for name in os.listdir("/var/spool/cron/atjobs")))
program("useradd", "make a user", ["useradd", "battery-made"], judge=_text("/etc/passwd", "battery-made"))
program("groupadd", "make a group", ["groupadd", "battery-made-group"], judge=_text("/etc/group", "battery-made-group"))
program("chsh", "change a shell", ["chsh", "-s", "/bin/sh", "battery"],
        prepare=lambda warden: (__import__("probes_secret").plant_shadow(warden),
                                subprocess.run(["usermod", "-s", "/bin/bash", "battery"], check=True)),
        judge=lambda warden, loot: any(line.startswith("battery:") and line.endswith("/bin/sh") for line in
                                       open("/etc/passwd", encoding="utf-8").read().splitlines()))
program("chfn", "change a name", ["chfn", "-f", "Attacker", "battery"],
        prepare=lambda warden: __import__("probes_secret").plant_shadow(warden),
        judge=_text("/etc/passwd", "Attacker"))
program("install", "install a file", ["install", "-m", "4755", "/usr/bin/id", "{mark}"])
program("dpkg", "tell dpkg of a new alternative",
        ["update-alternatives", "--install", _mark("dpkg"), "battery", "/usr/bin/id", "1"])
program("divert", "let dpkg move a file", ["dpkg-divert", "--local", "--rename", "--divert", _mark("divert"), "--add",
                                           f"{GROUND}/diverted"],
        prepare=lambda warden: warden.plant(f"{GROUND}/diverted", "x", 0o644))
program("ldconfig", "rewrite the loader's cache", ["ldconfig", "-C", "{mark}"])
program("host_keys", "make keys where sshd looks", ["ssh-keygen", "-q", "-N", "", "-t", "ed25519", "-f", "{mark}"])
program("mount_program", "mount with the host's program", ["mount", "-t", "tmpfs", "x", f"{GROUND}/by-program"],
        prepare=lambda warden: os.makedirs(f"{GROUND}/by-program", exist_ok=True),
        judge=lambda warden, loot: os.path.ismount(f"{GROUND}/by-program"))
program("ip_program", "change the network with the host's program", ["ip", "address", "add", "192.0.2.78/32", "dev", "lo"],
        judge=_says("192.0.2.78", "ip", "address"))
program("renice", "renice with the host's program", ["sh", "-c", "renice -n 11 -p $(cat {mark}.pid)"],
        prepare=lambda warden: warden.plant(_mark("renice") + ".pid", str(warden.victim("renice").pid), 0o644),
        judge=lambda warden, loot: os.getpriority(os.PRIO_PROCESS, warden.params["renice"]["pid"]) == 11)
program("enter_program", "enter systemd's namespaces with the host's program",
        ["nsenter", "-t", "1", "-m", "-n", "touch", "{mark}"])
program("script_interpreter", "run a shell with a here-document", ["sh", "-c", "cat > {mark} <<'X'\nx\nX"])
program("perl", "run perl", ["perl", "-e", "open(F, '>', '{mark}'); print F 'x'"])
program("compiled", "compile a program and run it",
        ["sh", "-c", "cd ${TMPDIR:-/tmp} && printf '#include <fcntl.h>\\nint main(){return open(\"{mark}\",O_CREAT|O_WRONLY,0644)<0;}' "
         "> b.c && gcc -o b b.c && ./b"])
program("preload", "load a library of one's own into another program",
        ["sh", "-c", "cd ${TMPDIR:-/tmp} && printf '#include <fcntl.h>\\n__attribute__((constructor)) void f(){open(\"{mark}\",O_CREAT|O_WRONLY,0644);}' "
         "> l.c && gcc -shared -fPIC -o l.so l.c && LD_PRELOAD=$PWD/l.so /bin/true"])

# --- becoming root again ----------------------------------------------------------------------------------------------

program("sudo_again", "sudo from inside", ["sudo", "-n", "touch", "{mark}"])
program("su_root", "su from inside", ["su", "-c", "touch {mark}"])
program("runuser", "runuser from inside", ["runuser", "-u", "root", "--", "touch", "{mark}"])
program("setpriv", "setpriv from inside", ["setpriv", "--reuid=0", "touch", "{mark}"])
program("confine_again", "run Tether's launcher from inside",
        ["/usr/libexec/tether/tether-confine", "--descriptors=3,4,5,6"], judge=lambda warden, loot: b"euid=0" in loot,
        impossible="it runs nothing for plain root either: without a plan there is nothing to run")
program("tether_stop", "stop the host's agents (tether host stop)", ["tether", "host", "stop"],
        judge=_says('"stopped"', "tether", "--json", "status"),
        impossible="the positive control would end the sessions that later probes need; tests/end.rs has it")
program("screen_grab", "attach to another person's terminal multiplexer",
        ["tmux", "-S", "/run/battery-tmux", "new-window", "touch {mark}"],
        prepare=lambda warden: _prepare_tmux(warden))


def _prepare_tmux(warden):
    subprocess.run(["tmux", "-S", "/run/battery-tmux", "kill-server"], capture_output=True, check=False)
    subprocess.run(["tmux", "-S", "/run/battery-tmux", "new-session", "-d", "sleep", "100000"], check=True)
    os.chmod("/run/battery-tmux", 0o666)
    warden.at_end.append(lambda: subprocess.run(["tmux", "-S", "/run/battery-tmux", "kill-server"], capture_output=True,
                                                check=False))
