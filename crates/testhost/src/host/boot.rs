//! From a folder of changes to a running pid 1, and back.

use std::fs::{self, File};
use std::io;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::unshare;

use super::{Host, Storage};
use crate::error::{Context, Error, Result};
use crate::image::PATH;
use crate::net::configure_leg;
use crate::sys::{Pidfd, Step, before_exec};
use crate::world::{NAMESPACES, World, first_steps};

const INIT: &str = "/lib/systemd/systemd";

/// A killed host has this long to end; it takes milliseconds.
const END: Duration = Duration::from_secs(20);

/// A running pid 1.
#[derive(Debug)]
pub(super) struct Machine {
    pid: i32,
    pidfd: Pidfd,
    /// Only in the process that booted it.
    child: Option<Child>,
    /// The thread that forked it, and the end that lets it go. It stays because the kernel kills pid 1 when it ends, and
    /// so when this process does. A host of the standing lab has none.
    keeper: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Machine {
    pub(super) fn start(host: &Host) -> Result<Machine> {
        host.cgroup().create()?;
        let plan = Plan::of(host)?;
        let (report, reported) = channel();
        let (release, released) = channel();
        let thread = std::thread::Builder::new().name(format!("host-{}", host.name()));
        let keeper = thread.spawn(move || keep(plan, &report, &released)).context("start a thread for", host.name())?;
        let child =
            reported.recv().map_err(|_| Error::Request(format!("the thread that boots {} died", host.name())))?;
        let child = child.map_err(|error| with_log(host, error))?;
        let pid = child.id() as i32;
        let pidfd = Pidfd::open(pid).context("open a pidfd of", host.name())?;
        let keeper = if host.lab.inner.standing { None } else { Some((release, keeper)) };
        Ok(Machine { pid, pidfd, child: Some(child), keeper })
    }

    /// A host that another process booted, if it still runs.
    pub(super) fn attach(pid: i32, started: u64) -> Result<Option<Machine>> {
        let Ok(pidfd) = Pidfd::open(pid) else {
            return Ok(None);
        };
        let same = start_time(pid).is_ok_and(|time| time == started);
        Ok(same.then_some(Machine { pid, pidfd, child: None, keeper: None }))
    }

    pub(super) fn pid(&self) -> i32 {
        self.pid
    }

    /// Its pid and when it started, which together name it for good.
    pub(super) fn identity(&self) -> Result<(i32, u64)> {
        start_time(self.pid).context("read the start time of", self.pid.to_string()).map(|started| (self.pid, started))
    }

    pub(super) fn pidfd(&self) -> io::Result<std::os::fd::OwnedFd> {
        self.pidfd.try_clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.pidfd.wait_end(Instant::now()).unwrap_or(true)
    }

    /// Kills pid 1 and, with it, every process of the host; returns when the kernel has let go of its namespaces.
    pub(super) fn kill(self) -> Result<()> {
        let name = self.pid.to_string();
        self.pidfd.kill().context("kill", &name)?;
        if !self.pidfd.wait_end(Instant::now() + END).context("wait for", &name)? {
            return Err(Error::Timeout {
                what: format!("the end of pid 1 ({name})"),
                after: END,
                detail: String::new(),
            });
        }
        if let Some(mut child) = self.child {
            child.wait().context("wait for", &name)?;
        }
        if let Some((release, keeper)) = self.keeper {
            drop(release);
            let _ = keeper.join();
        }
        Ok(())
    }
}

/// All the keeper needs of the host.
struct Plan {
    name: String,
    lower: Vec<std::path::PathBuf>,
    changes: std::path::PathBuf,
    mountpoint: std::path::PathBuf,
    log: File,
    volatile: bool,
    standing: bool,
    switch: crate::net::Switch,
    address: std::net::Ipv4Addr,
    steps: Vec<Step>,
}

impl Plan {
    fn of(host: &Host) -> Result<Plan> {
        Ok(Plan {
            name: host.name().to_owned(),
            lower: host.record.lower.clone(),
            changes: host.changes(),
            mountpoint: host.folder().join("root"),
            log: File::create(host.log()).context("make", host.log())?,
            volatile: host.record.storage == Storage::Memory,
            standing: host.lab.inner.standing,
            switch: host.lab.inner.switch.clone(),
            address: host.address(),
            steps: first_steps(&host.cgroup())?,
        })
    }

    /// Runs on a thread of its own, which it leaves in the host's namespaces.
    fn start(self) -> Result<Child> {
        unshare(NAMESPACES).context("make namespaces for", &self.name)?;
        self.switch.plug(self.address, nix::unistd::gettid())?;
        configure_leg(self.address)?;
        let (upper, work) = (self.changes.join("upper"), self.changes.join("work"));
        World {
            lower: &self.lower,
            upper: &upper,
            work: &work,
            mountpoint: &self.mountpoint,
            volatile: self.volatile,
            hostname: &self.name,
        }
        .enter()?;
        let mut command = Command::new(INIT);
        command.args(["--log-target=journal", "--show-status=0"]);
        command.env_clear().env("PATH", PATH).env("container", "tether-testhost");
        let log = self.log.try_clone().context("share the log of", &self.name)?;
        command.stdin(Stdio::null()).stdout(log).stderr(self.log);
        let mut steps = self.steps;
        if !self.standing {
            steps.push(Step::DieWithParent);
        }
        before_exec(&mut command, steps);
        command.spawn().context("start systemd on", &self.name)
    }
}

fn keep(plan: Plan, report: &Sender<Result<Child>>, released: &Receiver<()>) {
    let child = plan.start();
    if report.send(child).is_ok() {
        // Returns when the sender is dropped; nothing is ever sent.
        let _ = released.recv();
    }
}

fn with_log(host: &Host, error: Error) -> Error {
    let log = fs::read_to_string(host.log()).unwrap_or_default();
    Error::Request(format!("{} does not boot: {}\n{log}", host.name(), error.chain()))
}

/// Field 22 of `/proc/PID/stat`; the second field may hold blanks and brackets.
fn start_time(pid: i32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after_name.split(' ').nth(19).and_then(|field| field.parse().ok()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
