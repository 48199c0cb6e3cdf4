//! A host: booted, used, rebooted, stopped.

mod boot;
mod collector;
mod command;
mod files;
mod power;
mod ready;
mod spec;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use command::HostCommand;
pub use spec::{HostSpec, Storage};

use crate::cgroup::HostCgroup;
use crate::error::{Error, Result};
use crate::lab::Lab;
use boot::Machine;

/// A running host. Dropping it stops it and removes all of it, unless it belongs to the standing lab.
#[derive(Debug)]
pub struct Host {
    lab: Lab,
    record: Record,
    machine: Mutex<Option<Machine>>,
}

/// What another process needs to find a host of the standing lab again.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    address: Ipv4Addr,
    lower: Vec<PathBuf>,
    storage: Storage,
    pid1: i32,
    /// Tells `pid1` from a later process of the same number.
    started: u64,
}

impl Host {
    /// Its name, which is its hostname.
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Its address on the lab's network.
    pub fn address(&self) -> Ipv4Addr {
        self.record.address
    }

    /// Cuts it off from the lab's network, or lets it back. Nobody is told; what is on the way is lost.
    pub fn set_link(&self, up: bool) -> Result<()> {
        self.lab.inner.switch.set_link(self.address(), up)
    }

    /// Its first process, as the machine numbers it; another one after [`Host::reboot`].
    pub fn pid1(&self) -> Result<i32> {
        self.machine().as_ref().map(Machine::pid).ok_or_else(|| self.is_down())
    }

    /// Whether its first process still runs.
    pub fn is_running(&self) -> bool {
        self.machine().as_ref().is_some_and(|machine| !machine.has_ended())
    }

    /// Its root folder, seen from the machine. An absolute symbolic link below it leads to the machine's files, so use
    /// [`Host::read_file`] and [`Host::write_file`] where there may be one.
    pub fn root(&self) -> Result<PathBuf> {
        Ok(PathBuf::from(format!("/proc/{}/root", self.pid1()?)))
    }

    /// Runs a command as root; another exit status than 0 is no error.
    pub fn exec(&self, argv: &[&str]) -> Result<Output> {
        let (program, args) = argv.split_first().ok_or_else(|| Error::Request("an empty command".into()))?;
        self.command(program).args(args).output()
    }

    /// Runs shell text as root and gives its stdout; another exit status than 0 is an error with all it wrote.
    pub fn sh(&self, text: &str) -> Result<String> {
        let output = self.exec(&["/bin/sh", "-c", text])?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(Error::command(format!("on {}: {text}", self.name()), &output)),
        }
    }

    /// A command to be set up further.
    pub fn command(&self, program: &str) -> HostCommand<'_> {
        HostCommand::new(self, program)
    }

    /// What the unit has logged since the boot.
    pub fn journal(&self, unit: &str) -> Result<String> {
        self.sh(&format!("journalctl --boot --no-pager --output=short-monotonic --unit='{unit}'"))
    }

    /// What sshd's processes have logged since the boot. Found by the name that they log under: of a process that was
    /// gone before journald came to its line, as it happens under load, the journal does not know the unit.
    pub fn sshd_journal(&self) -> Result<String> {
        let identifiers = "--identifier=sshd --identifier=sshd-session";
        self.sh(&format!(
            "journalctl --sync; journalctl --boot --no-pager --quiet --output=short-monotonic {identifiers}; true"
        ))
    }

    /// Waits until systemd has started all it is to start and sshd accepts connections.
    pub fn wait_ready(&self, limit: Duration) -> Result<()> {
        ready::wait(self, limit)
    }

    /// Waits until the host accepts connections on a TCP port.
    pub fn wait_port(&self, port: u16, limit: Duration) -> Result<()> {
        ready::wait_port(self, port, limit)
    }

    /// Cuts the power and boots again. What is on disk stays; `/run`, `/tmp` and the boot id are new.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.power_on()
    }

    /// Cuts the power and removes the host.
    pub fn stop(self) -> Result<()> {
        self.remove()
    }

    fn machine(&self) -> MutexGuard<'_, Option<Machine>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_down(&self) -> Error {
        Error::Request(format!("{} is not running: reboot it", self.name()))
    }

    fn cgroup(&self) -> HostCgroup {
        self.lab.inner.hierarchies.host(self.lab.inner.name(), self.name())
    }

    fn folder(&self) -> PathBuf {
        self.lab.inner.host_folder(self.name())
    }

    fn changes(&self) -> PathBuf {
        self.lab.inner.changes(self.name(), self.record.storage == Storage::Disk)
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A host that was stopped has no folder any more.
        if !self.lab.inner.standing
            && self.folder().exists()
            && let Err(error) = self.remove()
        {
            eprintln!("tether-testhost: {} is not removed whole: {}", self.name(), error.chain());
        }
    }
}
