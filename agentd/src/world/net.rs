//! Holds the processes of one cgroup to TCP destinations: loads the programs, attaches them, and looks whether the
//! kernel asks them. They live as long as the cgroup does, whatever becomes of agentd.

use super::bpf::{Hook, program};
use super::sys;
use rustix::io::Errno;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use tether_hostlink::Refusal;

/// Holds all that will ever be made in this cgroup. Sockets that a process brings with it are not held, so nobody may
/// be in it yet.
pub fn hold(cgroup: &OwnedFd, destinations: &[SocketAddr]) -> Result<(), Refusal> {
    Hook::ALL.into_iter().try_for_each(|hook| hold_one(cgroup, hook, destinations))
}

fn hold_one(cgroup: &OwnedFd, hook: Hook, destinations: &[SocketAddr]) -> Result<(), Refusal> {
    let failed = |step: &str, why: &dyn std::fmt::Display| {
        let text = format!("the command cannot be held to its destinations: {step} {hook:?}: {why}; nothing was run");
        Refusal::new("host.net", text).hint("an administrator: `tether doctor confine` says what this kernel gives")
    };
    let errno = |step: &'static str| move |errno: Errno| failed(step, &errno);
    let steps = program(hook, destinations).ok_or_else(|| failed("making", &"too many destinations"))?;
    let program = sys::load_program(&steps, hook.number()).map_err(errno("loading"))?;
    let id = sys::program_id(&program).map_err(errno("looking at"))?;
    sys::attach_program(cgroup, &program, hook.number()).map_err(errno("attaching"))?;
    let asked = sys::effective_programs(cgroup, hook.number()).map_err(errno("looking for"))?;
    if asked.contains(&id) { Ok(()) } else { Err(failed("looking for", &"the kernel does not ask it")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    /// A cgroup of the test's own.
    struct Folder(PathBuf);

    impl Folder {
        fn make(name: &str) -> Option<Self> {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?.split(' ').nth(4)?.to_owned();
            let path = Path::new(&mount).join(format!("tether-test-{name}-{}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => Some(Self(path)),
                Err(error) => {
                    eprintln!("skipped: no cgroup can be made here: {error}");
                    None
                }
            }
        }

        fn open(&self) -> OwnedFd {
            std::fs::File::open(&self.0).unwrap().into()
        }

        /// What a script prints that goes into the cgroup first.
        fn python(&self, script: &str) -> String {
            let procs = self.0.join("cgroup.procs");
            let script = format!("open({procs:?}, 'w').write('0')\n{script}");
            let output = Command::new("python3").args(["-c", &script]).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir(&self.0).unwrap();
        }
    }

    const TRIES: &str = r#"
import errno, socket, sys
def tried(name, act):
    try: act(); print(name, "done")
    except OSError as error: print(name, errno.errorcode[error.errno])
def connect(address, port, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
    s = socket.socket(family, kind, protocol); s.settimeout(5); s.connect((address, port))
six = socket.AF_INET6
tried("listed", lambda: connect("127.0.0.1", PORT))
tried("mapped", lambda: connect("::ffff:127.0.0.1", PORT, six))
tried("port", lambda: connect("127.0.0.1", OTHER))
tried("any", lambda: connect("0.0.0.0", PORT))
tried("any6", lambda: connect("::", PORT, six))
tried("six", lambda: connect("::1", PORT, six))
tried("address", lambda: connect("127.0.0.2", PORT))
tried("mapped other", lambda: connect("::ffff:127.0.0.2", PORT, six))
tried("fast open", lambda: socket.socket().sendto(b"x", socket.MSG_FASTOPEN, ("127.0.0.2", PORT)))
def late():
    s = socket.socket(); s.setsockopt(socket.IPPROTO_TCP, 30, 1); s.connect(("127.0.0.2", PORT)); s.send(b"x")
tried("fast open late", late)
tried("mptcp", lambda: connect("127.0.0.2", PORT, protocol=262))
tried("datagram", lambda: connect("127.0.0.1", PORT, kind=socket.SOCK_DGRAM))
tried("bind", lambda: socket.socket().bind(("127.0.0.1", 0)))
tried("bind6", lambda: socket.socket(six).bind(("::1", 0)))
"#;

    fn listeners() -> (TcpListener, TcpListener, String) {
        // On all addresses of both families.
        let on_all = || TcpListener::bind("[::]:0").unwrap();
        let (listener, other) = (on_all(), on_all());
        let port = |one: &TcpListener| one.local_addr().unwrap().port().to_string();
        let script = TRIES.replace("PORT", &port(&listener)).replace("OTHER", &port(&other));
        (listener, other, script)
    }

    #[test]
    fn the_kernel_holds_a_cgroup_to_its_destinations() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let (listener, _other, script) = listeners();
        let Some(folder) = Folder::make("net") else { return };
        let free = folder.python(&script);
        let refused: Vec<&str> = free.lines().filter(|line| !line.ends_with("done")).collect();
        let mptcp = refused.iter().all(|line| line.starts_with("mptcp"));
        assert!(mptcp, "all is possible without programs, where the kernel has MPTCP: {free}");
        let listed = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
        hold(&folder.open(), &[listed]).unwrap();
        let held = folder.python(&script);
        for line in held.lines() {
            let (name, came) = line.rsplit_once(' ').unwrap();
            let expected = if ["listed", "mapped"].contains(&name) { "done" } else { "EPERM" };
            let is_there = name != "mptcp" || !free.contains("mptcp EPROTONOSUPPORT");
            assert!(came == expected || !is_there, "{line}");
        }
        assert_eq!(held.lines().count(), free.lines().count());
    }

    #[test]
    fn the_kernel_takes_as_many_as_a_bundle_may_name() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let Some(folder) = Folder::make("many") else { return };
        let many = |n: u16| {
            [
                SocketAddr::from((Ipv4Addr::new(10, 0, n.to_le_bytes()[0], 1), 1 + n)),
                format!("[2001:db8::{n:x}]:443").parse().unwrap(),
            ]
        };
        let all: Vec<SocketAddr> = (0..128).flat_map(many).collect();
        hold(&folder.open(), &all).unwrap();
    }

    #[test]
    fn what_is_no_cgroup_holds_nothing() {
        let folder: OwnedFd = std::fs::File::open("/").unwrap().into();
        let refusal = hold(&folder, &["127.0.0.1:1".parse().unwrap()]).unwrap_err();
        assert_eq!(refusal.code, "host.net");
    }

    #[test]
    fn a_child_is_held_too() {
        if !rustix::process::geteuid().is_root() {
            return eprintln!("skipped: needs root");
        }
        let (listener, _other, _) = listeners();
        let Some(folder) = Folder::make("child") else { return };
        hold(&folder.open(), &["192.0.2.1:1".parse().unwrap()]).unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = folder.python(&format!(
            "import os, socket\nif os.fork() == 0:\n try: socket.create_connection(('127.0.0.1', {port})); os._exit(1)\n except PermissionError: os._exit(0)\nprint(os.wait()[1])"
        ));
        assert_eq!(said, "0\n");
    }
}
