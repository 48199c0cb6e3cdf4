//! What a grant or a write rule adds, and no more than that.

mod common;

use common::{Launch, own_run};
use rustix::mount::{MountFlags, mount};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::Command;
use tether_hostlink::Identity;

const ROOT: Identity = Identity::RunAs { uid: 0, gid: 0, groups: Vec::new() };

fn host() -> bool {
    let is_there = own_run();
    if is_there {
        mount("tmpfs", "/srv", "tmpfs", MountFlags::empty(), None).unwrap();
        mount("tmpfs", "/opt", "tmpfs", MountFlags::empty(), None).unwrap();
        fs::set_permissions("/srv", fs::Permissions::from_mode(0o755)).unwrap();
    }
    is_there
}

fn writing(identity: Identity, writes: &[&str], script: &str) -> String {
    let mut launch = Launch::shell(script);
    launch.plan.confinement.identity = identity;
    launch.plan.confinement.writes = writes.iter().map(|path| (*path).to_owned()).collect();
    launch.plan.confinement.stdin = false;
    launch.output()
}

#[test]
fn a_write_rule_writes_what_it_names_and_nothing_else() {
    if !host() {
        return;
    }
    fs::create_dir_all("/srv/www/sub").unwrap();
    fs::create_dir("/srv/other").unwrap();
    fs::write("/srv/motd", "old\n").unwrap();
    fs::write("/srv/other/file", "old\n").unwrap();
    let script = "id -u; echo new > /srv/motd; cat /srv/motd; echo x > /srv/www/sub/made; mkdir /srv/www/d; mv /srv/www/sub/made /srv/www/d/; \
        chmod 640 /srv/www/d/made; chown 33:33 /srv/www/d/made; \
        for f in /srv/other/file /srv/other/new /etc/x /root/x /proc/self/loginuid /run/x /dev/x /tmp/x; do (echo 0 > $f) 2>/dev/null && echo WROTE $f; done; \
        rm /srv/other/file 2>/dev/null && echo REMOVED; mv /srv/motd /srv/other/ 2>/dev/null && echo MOVED; ln /etc/passwd /srv/www/l 2>/dev/null && echo LINKED; \
        cat /etc/shadow 2>/dev/null && echo READ; mount -t tmpfs t /srv/www 2>/dev/null && echo MOUNTED; mknod /srv/www/n b 8 0 2>/dev/null && echo DEVICE; \
        grep -E '^(CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status";
    let output = writing(ROOT, &["/srv/motd", "/srv/www"], script);
    // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER.
    let kept = "000000000000000f";
    assert_eq!(output, format!("0\nnew\nCapEff:\t{kept}\nCapBnd:\t{kept}\nCapAmb:\t{kept}\nNoNewPrivs:\t1\n"));
    let made = fs::metadata("/srv/www/d/made").unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (33, 0o640));
    assert_eq!(fs::read_to_string("/srv/other/file").unwrap(), "old\n");
}

#[test]
fn no_root_program_is_left_behind() {
    if !host() {
        return;
    }
    fs::create_dir("/srv/www").unwrap();
    let script = "cp /bin/true /srv/www/t && chmod 755 /srv/www/t && echo made; chmod 4755 /srv/www/t 2>&1 | grep -c permitted; \
        chmod u+s,g+s /srv/www/t 2>/dev/null && echo SET; \
        python3 -c 'import os; os.open(\"/srv/www/o\", os.O_CREAT|os.O_WRONLY, 0o6755)' 2>/dev/null && echo OPENED; \
        setcap cap_setuid+ep /srv/www/t 2>/dev/null && echo CAPPED; true";
    assert_eq!(writing(ROOT, &["/srv/www"], script), "made\n1\n");
    assert_eq!(fs::metadata("/srv/www/t").unwrap().mode() & 0o7000, 0);
    assert!(Command::new("chmod").args(["4755", "/srv/www/t"]).status().unwrap().success(), "root could");
}

#[test]
fn an_account_writes_as_itself_without_capabilities() {
    if !host() {
        return;
    }
    fs::create_dir("/srv/own").unwrap();
    fs::create_dir("/srv/roots").unwrap();
    std::os::unix::fs::chown("/srv/own", Some(33), Some(33)).unwrap();
    let script =
        "id -u; id -g; id -G; echo x > /srv/own/f && echo wrote; echo x > /srv/roots/f; grep CapEff /proc/self/status";
    let account = Identity::RunAs { uid: 33, gid: 33, groups: vec![33, 4] };
    let output = writing(account, &["/srv/own", "/srv/roots"], script);
    assert!(output.starts_with("33\n33\n33 4\nwrote\nCapEff:\t0000000000000000\n"), "{output}");
    assert!(output.contains("Permission denied") && !fs::exists("/srv/roots/f").unwrap(), "{output}");
}

#[test]
fn what_no_rule_may_write_runs_nothing() {
    if !host() {
        return;
    }
    fs::write("/srv/real", "").unwrap();
    std::os::unix::fs::symlink("/srv/real", "/srv/link").unwrap();
    for path in [
        "/",
        "/etc/shadow",
        "/proc/self/loginuid",
        "/sys/power/state",
        "/dev/null",
        "/run/tether",
        "/srv/none",
        "/srv/link",
    ] {
        let mut launch = Launch::shell("echo ran");
        launch.plan.confinement.identity = ROOT;
        launch.plan.confinement.writes = vec![path.to_owned()];
        let _ = fs::remove_file("/run/tether/root.sock");
        common::agentd_that_is_not_asked();
        common::assert_refused(&launch.run(), "confine.writes");
    }
    let mut launch = Launch::shell("echo ran");
    launch.plan.confinement.writes = vec!["/srv/real".to_owned()];
    common::assert_refused(&launch.run(), "confine.plan");
}

#[test]
fn root_by_a_write_rule_reaches_no_other_process() {
    if !host() {
        return;
    }
    let mut victim = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = victim.id();
    let script = format!(
        "kill -0 {pid} 2>/dev/null && echo SIGNALLED; head -c1 /proc/{pid}/mem 2>/dev/null && echo MEMORY; \
         renice 5 {pid} 2>/dev/null && echo RENICED; prlimit --pid {pid} --nofile=1 2>/dev/null && echo LIMITED; \
         systemd-run --pipe id 2>/dev/null && echo RAN; sh -c 'exit 0' && echo end"
    );
    let output = writing(ROOT, &[], &script);
    assert!(Command::new("kill").args(["-0", &pid.to_string()]).status().unwrap().success(), "root could");
    victim.kill().unwrap();
    victim.wait().unwrap();
    assert_eq!(output, "end\n");
}

#[test]
fn links_of_other_processes_are_shown_when_granted() {
    if !host() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let pid = std::process::id();
    let script = format!(
        "readlink /proc/{pid}/exe >/dev/null 2>&1 && echo exe; readlink /proc/{pid}/fd/* 2>/dev/null | grep -c socket: ; \
         ls /proc/{pid}/maps /proc/{pid}/environ /proc/{pid}/mem 2>/dev/null; \
         for f in maps environ mem; do head -c1 /run/tether/proc/{pid}/$f >/dev/null 2>&1 && echo READ $f; done; \
         cut -c1-5 /proc/{pid}/status | head -1; test -r /proc/meminfo && test -d /proc/self/fd && ps -o pid= -p {pid} | tr -d ' '"
    );
    let run = |granted| {
        let mut launch = Launch::shell(&script);
        launch.plan.confinement.proc_links = granted;
        launch.output()
    };
    let with = run(true);
    let lines: Vec<&str> = with.lines().collect();
    assert!(lines[0] == "exe" && lines[1] != "0" && lines[2..] == ["Name:", &pid.to_string()], "{with}");
    assert!(!run(false).contains("exe"));
    drop(listener);
}

/// A bus that the test plays: who connects is told its own uid.
fn socket(path: &str) {
    fs::create_dir_all(std::path::Path::new(path).parent().unwrap()).unwrap();
    let listener = UnixListener::bind(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let uid = rustix::net::sockopt::socket_peercred(&stream).unwrap().uid.as_raw();
            let _ = std::io::Write::write_all(&mut { stream }, format!("{uid}").as_bytes());
        }
    });
}

#[test]
fn of_sockets_only_the_system_bus_is_granted() {
    if !host() {
        return;
    }
    let sockets = ["/run/dbus/system_bus_socket", "/run/systemd/journal/dev-log", "/run/docker.sock"];
    sockets.iter().for_each(|path| socket(path));
    fs::write("/run/utmp", "").unwrap();
    let connect = "import socket,sys\nfor p in sys.argv[1:]:\n try:\n  s=socket.socket(socket.AF_UNIX); s.connect(p); print(p, s.recv(9).decode())\n except OSError as e: print(p, e.errno)\n";
    let mut argv = vec!["python3", "-c", connect];
    argv.extend(sockets);
    let root = Command::new("python3").args(&argv[1..]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&root.stdout).matches(" 0\n").count(), 3, "root reaches all: {root:?}");
    let run = |granted| {
        let mut launch = Launch::of("/usr/bin/python3", &argv);
        launch.plan.confinement.dbus = granted;
        launch.output()
    };
    let [bus, log, docker] = sockets;
    assert_eq!(run(true), format!("{bus} {}\n{log} 2\n{docker} 2\n", common::UID));
    assert_eq!(run(false), format!("{bus} 97\n{log} 97\n{docker} 97\n"));
}

#[test]
fn net_is_refused_until_it_can_be_held() {
    if !host() {
        return;
    }
    let mut launch = Launch::shell("echo ran");
    launch.plan.confinement.net = vec!["192.0.2.1:443".parse().unwrap()];
    common::assert_refused(&launch.run(), "confine.net_unsupported");
}

#[test]
fn the_terminal_is_the_commands_own() {
    if !host() {
        return;
    }
    let pty = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
    rustix::pty::grantpt(&pty).unwrap();
    rustix::pty::unlockpt(&pty).unwrap();
    let name = rustix::pty::ptsname(&pty, Vec::new()).unwrap().into_string().unwrap();
    let open = || fs::OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut launch =
        Launch::shell("tty; ls /dev/pts | wc -l; stty size >/dev/null && echo sized; : < $(tty) && echo opened");
    launch.stdin = open().into();
    launch.plan.confinement.stdin = true;
    assert_eq!(launch.output(), format!("{name}\n1\nsized\nopened\n"));
}
