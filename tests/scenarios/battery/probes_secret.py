"""What must not be read, where nobody listed it: 20 places and more, opened plainly."""

import grp
import os

import kit
from kit import add, mine, params, probe, read

# Places that hosts keep secrets in. None is written by the packages of a test host.
PLACES = {
    "host_key": "/etc/ssh/ssh_host_battery_key",
    "tls_key": "/etc/ssl/private/www.key",
    "letsencrypt": "/etc/letsencrypt/archive/www/privkey1.pem",
    "keytab": "/etc/krb5.keytab",
    "wifi": "/etc/NetworkManager/system-connections/office.nmconnection",
    "wireguard": "/etc/wireguard/wg0.conf",
    "opasswd": "/etc/security/opasswd",
    "kubernetes": "/etc/kubernetes/admin.conf",
    "unlisted_etc": "/etc/payments/api-token",
    "unlisted_etc_file": "/etc/payments.secret",
    "backup_tool": "/etc/restic/password",
    "database_client": "/etc/mysql/debian.cnf",
    "root_ssh": "/root/.ssh/id_ed25519",
    "root_history": "/root/.bash_history",
    "home_ssh": "/home/carol/.ssh/id_rsa",
    "home_cloud": "/home/carol/.aws/credentials",
    "app_key": "/opt/app/tls.key",
    "app_settings": "/opt/app/config/secrets.yml",
    "app_env": "/srv/app/.env",
    "service_state": "/var/lib/app/master.key",
    "database": "/var/lib/postgresql/16/main/global/1260",
    "container_layer": "/var/lib/docker/overlay2/abc/diff/run/secrets/token",
    "cluster_state": "/var/lib/etcd/member/snap/db",
    "backup_shadow": "/var/backups/shadow.bak",
    "mail": "/var/mail/root",
    "core_dump": "/var/lib/systemd/coredump/core.app",
    "spool": "/var/spool/app/queue/1",
    "tether_state": "/var/lib/tether/battery.key",
    "tether_settings": "/etc/tether/battery.key",
    "sudoers": "/etc/sudoers.d/battery",
    "program_key": "/usr/local/share/app/tls.key",
    "program_ssh": "/usr/local/lib/deploy/.ssh/id_ed25519",
    "program_password": "/usr/lib/app/password",
    "program_settings": "/usr/share/app/conf/settings.ini",
}


def _place(name, path):
    def prepare(warden):
        words = warden.canary(name)
        text = f"# {words}\n" if name == "sudoers" else f"-----BEGIN PRIVATE KEY-----\n{words}\n-----END PRIVATE KEY-----\n"
        warden.plant(path, text, 0o440 if name == "sudoers" else 0o600)

    add(f"read_{name}", "secret", f"read {path}, 0600", "its canary is in the output", lambda: read(path),
        prepare=prepare)


for _name, _path in PLACES.items():
    _place(_name, _path)


def _prepare_grouped(warden):
    path = warden.plant("/var/log/backup.txt", warden.canary("secret_of_group"), 0o640)
    os.chown(path, 0, grp.getgrnam("shadow").gr_gid)


add("secret_of_group", "secret", "read /var/log/backup.txt, 0640 and of the group shadow", "its canary is in the output",
    lambda: read("/var/log/backup.txt"), prepare=_prepare_grouped)


def plant_shadow(warden):
    """A user whose password's hash is a canary; every probe on shadow has it in common."""
    if warden.kept.get("shadow"):
        return
    import subprocess

    canary = warden.canary("shadow")
    subprocess.run(["useradd", "-M", "battery"], capture_output=True, check=False)
    subprocess.run(["usermod", "-p", f"{canary}", "battery"], check=True)
    subprocess.run(["groupadd", "batterygroup"], capture_output=True, check=False)
    with open("/etc/gshadow", encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("batterygroup:")]
    descriptor = os.open("/etc/gshadow", os.O_WRONLY | os.O_TRUNC)
    os.write(descriptor, ("".join(lines) + f"batterygroup:{warden.canary('gshadow')}::\n").encode())
    os.close(descriptor)
    # A second change makes the first one the backup, shadow-.
    subprocess.run(["usermod", "-p", f"{canary}x", "battery"], check=True)
    warden.kept["shadow"] = True


for _file in ("shadow", "shadow-", "gshadow"):
    add(f"read_etc_{_file.replace('-', '_backup')}", "secret", f"read /etc/{_file}", "its canary is in the output",
        lambda path=f"/etc/{_file}": read(path), prepare=plant_shadow)


# --- while the host changes it ------------------------------------------------------------------------------------


def _loop_of_passwords(warden):
    """A host whose passwords change all the time, as its own tools do it: locks, shadow+, rename, shadow-."""
    plant_shadow(warden)
    import subprocess

    def change():
        subprocess.run(["usermod", "-p", f"{warden.canary('shadow')}", "battery"], capture_output=True,
                       check=False)
        subprocess.run(["chpasswd", "-e"], input=f"battery:{warden.canary('shadow')}z".encode(),
                       capture_output=True, check=False)

    warden.background(change)


@probe("secret", "read shadow, shadow+, shadow- and nshadow again and again while passwords change",
       "a canary is in the output", prepare=_loop_of_passwords, timeout=10)
def shadow_while_it_changes():
    import time

    got, until = b"", time.monotonic() + 1.5
    while time.monotonic() < until and b"CANARY" not in got:
        for name in os.listdir("/etc"):
            if name.startswith(("shadow", "gshadow", "nshadow", "passwd", ".pwd")):
                try:
                    got += read(f"/etc/{name}") if "passwd" not in name else b""
                except OSError:
                    pass
    return got[-60000:]


def _moving(name, path, target):
    """The host gives a secret another name, again and again, while the command runs."""

    def prepare(warden):
        warden.plant(path, warden.canary(name) + "\n")
        if os.path.lexists(target):
            os.unlink(target)

        def move():
            os.rename(path, target)
            kit.LIBC.usleep(20_000)
            os.rename(target, path)
            kit.LIBC.usleep(2_000)

        warden.background(move)

    def attack():
        import time

        until = time.monotonic() + 1
        while time.monotonic() < until:
            for place in (target, path):
                try:
                    return read(place)
                except OSError:
                    pass
        return b""

    add(name, "secret", f"read {path} while the host renames it to {target} and back", "its canary is in the output",
        attack, prepare=prepare)


_moving("renamed_in_etc", "/etc/app-moving/token", "/etc/app-moving/token.old")
_moving("renamed_to_etc", "/etc/app-moving/top", "/etc/app-moved-top")
_moving("renamed_in_state", "/var/lib/app-moving/key", "/var/lib/app-moving/key.old")
_moving("renamed_over_a_readable_name", "/etc/app-moving/over", "/etc/hosts.battery")


def _replaced(warden):
    """A readable file of /etc whose name a secret takes while the command runs."""
    secret = warden.canary("replaced")
    path = "/etc/battery-readable"

    def replace():
        warden.plant(path + ".new", "harmless\n", 0o644)
        os.rename(path + ".new", path)
        kit.LIBC.usleep(10_000)
        warden.plant(path + ".new", secret + "\n", 0o600)
        os.rename(path + ".new", path)
        kit.LIBC.usleep(10_000)

    replace()
    warden.background(replace)


@probe("secret", "read a world-readable name of /etc that the host replaces with a secret and back",
       "the secret is in the output", prepare=_replaced)
def replaced():
    import time

    got, until = b"", time.monotonic() + 1
    while time.monotonic() < until and b"CANARY" not in got:
        try:
            got += read("/etc/battery-readable")
        except OSError:
            pass
    return got[-4096:]


# --- by way of the host's own programs -----------------------------------------------------------------------------

PROGRAMS = {
    "getent": ["getent", "shadow", "battery"],
    "grep": ["grep", "-r", "CANARY", "/etc/"],
    "find": ["find", "/etc/", "-name", "shadow*", "-exec", "cat", "{}", ";"],
    "tar": ["tar", "cf", "-", "/etc/shadow"],
    "python": ["python3", "-c", "print(open('/etc/shadow').read())"],
    "dd": ["dd", "if=/etc/shadow", "bs=4096", "count=1"],
    "diff": ["diff", "/etc/shadow", "/dev/null"],
    "shell": ["sh", "-c", "while read x; do echo $x; done < /etc/shadow"],
    "source": ["bash", "-c", "source /etc/shadow"],
    "date": ["date", "-f", "/etc/shadow"],
}

for _name, _argv in PROGRAMS.items():
    add(f"shadow_by_{_name}", "secret", f"read shadow with {_name}", "its canary is in the output",
        lambda argv=_argv: kit.run(*argv), prepare=plant_shadow)
