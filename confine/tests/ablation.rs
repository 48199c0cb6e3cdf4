//! No layer is decoration: with a layer left out, what it holds is possible; with it, it is not. Needs the feature
//! `ablation`: `cargo test -p tether-confine --features ablation --test ablation`.

mod common;

use common::{Launch, own_run};
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tether_hostlink::Identity;

/// Each line prints its name if the attack succeeds. `VICTIM` is a process of root's.
const ATTACKS: &str = r#"
head -c1 /etc/shadow >/dev/null 2>&1 && echo read
head -c1 /srv/untold >/dev/null 2>&1 && echo untold
timeout 5 head -c1 /run/fifo 2>/dev/null | grep -q x && echo fifo
grep -qv '^0000000000000000' /proc/kallsyms && echo kallsyms
(for i in $(seq 300); do sleep 0.3 & done; wait) 2>&1 | grep -qiE 'fork|resource' || echo bomb
head -c1 /proc/VICTIM/environ >/dev/null 2>&1 && echo environ
/srv/setuid -u 2>/dev/null | grep -qx 0 && echo setuid
python3 - <<'PY'
import ctypes, os, socket, fcntl
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, act):
    try:
        if act(): print(name)
    except OSError: pass
def call(number, *arguments): return libc.syscall(number, *arguments) >= 0
tried("unshare", lambda: libc.unshare(0) == 0)
tried("keyring", lambda: call(248, b"user", b"x", b"y", 1, -2))
tried("inet", lambda: socket.socket(socket.AF_INET))
tried("unix", lambda: socket.socket(socket.AF_UNIX))
tried("datagrams", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
tried("memfd", lambda: call(319, b"x", 0))
tried("pidfd", lambda: call(434, os.getpid(), 0))
tried("handle", lambda: call(303, -100, b"/", ctypes.create_string_buffer(b"\x80\0\0\0" + bytes(132)), ctypes.create_string_buffer(8), 0))
def lock():
    with open("/srv/locked") as file: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    taken = open("/srv/locked")
    return libc.flock(taken.fileno(), 0) != 0 and ctypes.get_errno() == 22
tried("lock", lock)
PY
"#;

/// A uid of its own: its processes count against its limit, and other tests run beside.
const BOMBER: u32 = 65543;

fn host() -> Option<std::process::Child> {
    if !own_run() {
        return None;
    }
    mount("tmpfs", "/srv", "tmpfs", MountFlags::empty(), None).unwrap();
    fs::set_permissions("/srv", fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["untold", "locked", "file"] {
        fs::write(format!("/srv/{name}"), "x").unwrap();
    }
    fs::copy("/usr/bin/id", "/srv/setuid").unwrap();
    fs::set_permissions("/srv/setuid", fs::Permissions::from_mode(0o4755)).unwrap();
    let null = std::process::Stdio::null;
    Some(Command::new("sleep").arg("60").stdout(null()).stderr(null()).spawn().unwrap())
}

/// What succeeds with these layers left out. The program copy may be run: it is a file of the plan's trees.
fn succeed(without: &str, victim: u32) -> Vec<String> {
    fs::write("/run/tether-ablation", without).unwrap();
    let _ = fs::remove_file("/run/fifo");
    assert!(Command::new("mkfifo").arg("/run/fifo").status().unwrap().success());
    // Somebody of the host's has written into it, for whoever reads it.
    let mut fifo = fs::File::options().read(true).write(true).open("/run/fifo").unwrap();
    std::io::Write::write_all(&mut fifo, b"xxxx\n").unwrap();
    let script = ATTACKS.replace("VICTIM", &victim.to_string());
    let mut launch = Launch::shell(&script).reading(&["/srv/locked", "/run", "/opt/ablation"]);
    launch.plan.environment = vec!["PATH=/usr/bin:/bin".into()];
    launch.plan.uid = BOMBER;
    let said = launch.output();
    // What is left of the bomb counts against the next run's limit.
    let gone = format!("while pgrep -u {} >/dev/null; do :; done", BOMBER);
    assert!(Command::new("sh").args(["-c", &gone]).status().unwrap().success());
    said.lines().map(str::to_owned).collect()
}

#[test]
fn each_layer_holds_something() {
    let Some(mut victim) = host() else { return };
    let pid = victim.id();
    assert_eq!(succeed("", pid), Vec::<String>::new(), "with every layer");
    for (without, held) in [
        ("landlock", &["read", "untold", "fifo"][..]),
        ("seccomp", &["unshare", "inet", "unix", "datagrams", "memfd", "pidfd", "handle", "lock"]),
        ("devices", &["kallsyms"]),
        ("limits", &["bomb"]),
        ("identity", &["environ"]),
        // Either is enough to keep a set-uid program from being one.
        ("landlock mounts no_new_privs", &["setuid"]),
    ] {
        let found = succeed(without, pid);
        for name in held {
            assert!(found.iter().any(|one| one == name), "without {without}, {name} should succeed: {found:?}");
        }
    }
    for half in ["landlock mounts", "landlock no_new_privs"] {
        assert!(!succeed(half, pid).iter().any(|one| one == "setuid"), "{half}");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Landlock does not see modes and owners: without the mounts a write rule's root changes them anywhere.
#[test]
fn mounts_hold_what_landlock_does_not_see() {
    let Some(mut victim) = host() else { return };
    let run = |without: &str| {
        fs::write("/run/tether-ablation", without).unwrap();
        let mut launch = Launch::shell("chmod 777 /srv/file; touch -d 2001-01-01 /srv/file; true");
        launch.plan.confinement.identity = Identity::RunAs { uid: 0, gid: 0, groups: vec![] };
        launch.output();
        fs::metadata("/srv/file").unwrap().permissions().mode() & 0o777
    };
    fs::set_permissions("/srv/file", fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(run(""), 0o600);
    assert_eq!(run("mounts"), 0o777);
    victim.kill().unwrap();
    victim.wait().unwrap();
}

/// Over a socket a command could hand out what it has opened.
#[test]
fn an_input_that_could_carry_more_is_held_by_the_descriptors_alone() {
    let Some(mut victim) = host() else { return };
    let run = |without: &str| {
        fs::write("/run/tether-ablation", without).unwrap();
        let mut launch = Launch::shell("readlink /proc/self/fd/0 | cut -c1-6");
        let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        launch.stdin = std::os::fd::OwnedFd::from(socket).into();
        launch.output()
    };
    assert_eq!(run(""), "/dev/n\n");
    assert_eq!(run("descriptors"), "socket\n");
    victim.kill().unwrap();
    victim.wait().unwrap();
}
