//! The lab's switch: a network namespace with a bridge, and each host's leg on it.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::error::{Context, Result};
use crate::scratch::{aside, tool};
use crate::sys::{Step, before_exec};

/// The switch's own address; clients of the machine come from it.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 254);

/// A network namespace, kept by a bind mount of its file.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    file: PathBuf,
}

impl Switch {
    pub(crate) fn at(file: PathBuf) -> Self {
        Switch { file }
    }

    pub(crate) fn create(file: PathBuf) -> Result<Self> {
        File::create(&file).context("make", &file)?;
        aside(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace for", &file)?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount(Some(own), &file, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("mount", &file)?;
            ip(&format!("link add br0 type bridge\naddr add {GATEWAY}/24 dev br0\nlink set br0 up\nlink set lo up\n"))
        })?;
        Ok(Switch { file })
    }

    pub(crate) fn remove(&self) -> Result<()> {
        if self.file.exists() {
            umount2(&self.file, MntFlags::MNT_DETACH).context("unmount", &self.file)?;
        }
        Ok(())
    }

    /// A program of the machine, run on the switch.
    pub(crate) fn command(&self, program: &str) -> Result<Command> {
        let mut command = Command::new(program);
        before_exec(&mut command, vec![Step::Enter(self.open()?, CloneFlags::CLONE_NEWNET)]);
        Ok(command)
    }

    /// Gives the network namespace of the thread `tid` a leg on the switch, named by the last part of its address.
    pub(crate) fn plug(&self, address: Ipv4Addr, tid: nix::unistd::Pid) -> Result<()> {
        let port = port(address);
        // An address keeps its hardware address, or neighbours would write to a host that is gone.
        let [a, b, c, d] = address.octets();
        let lines = format!(
            "link add {port} type veth peer name eth0 address 02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x} netns {tid}\n\
             link set {port} master br0 up\n"
        );
        tool(self.command("ip")?.args(["-batch", "-"]), "iproute2", &lines).map(drop)
    }

    /// Cuts a leg, or mends it: what it carried is lost, nobody is told.
    pub(crate) fn set_link(&self, address: Ipv4Addr, up: bool) -> Result<()> {
        let lines = format!("link set {} {}\n", port(address), if up { "up" } else { "down" });
        tool(self.command("ip")?.args(["-batch", "-"]), "iproute2", &lines).map(drop)
    }

    /// Takes the leg away. The kernel removes a dead namespace's devices later; a name that comes back must be free now.
    pub(crate) fn unplug(&self, address: Ipv4Addr) -> Result<()> {
        let lines = format!("link del {}\n", port(address));
        tool(self.command("ip")?.args(["-force", "-batch", "-"]), "iproute2", &lines).or_else(ignore_missing).map(drop)
    }

    /// Whether someone accepts connections there.
    pub(crate) fn connect(&self, to: SocketAddr, limit: Duration) -> Result<TcpStream> {
        self.inside(|| TcpStream::connect_timeout(&to, limit).context("connect to", to.to_string()))?
    }

    /// Runs `work` on a thread of its own in this namespace; threads that it starts are in it too.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let fd = self.open()?;
        aside(|| {
            setns(fd, CloneFlags::CLONE_NEWNET).context("enter", &self.file)?;
            Ok(work())
        })
    }

    fn open(&self) -> Result<OwnedFd> {
        File::open(&self.file).map(OwnedFd::from).context("open", &self.file)
    }
}

/// Sets up the host's side, in the calling thread's network namespace.
pub(crate) fn configure_leg(address: Ipv4Addr) -> Result<()> {
    ip(&format!("addr add {address}/24 dev eth0\nlink set eth0 up\nlink set lo up\nroute add default via {GATEWAY}\n"))
}

fn port(address: Ipv4Addr) -> String {
    format!("h{}", address.octets()[3])
}

fn ip(lines: &str) -> Result<()> {
    tool(Command::new("ip").args(["-batch", "-"]), "iproute2", lines).map(drop)
}

fn ignore_missing(error: crate::Error) -> Result<std::process::Output> {
    match &error {
        crate::Error::Command { stderr, .. } if stderr.contains("Cannot find device") => {
            Ok(std::process::Output { status: Default::default(), stdout: Vec::new(), stderr: Vec::new() })
        }
        _ => Err(error),
    }
}
