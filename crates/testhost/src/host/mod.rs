//! A host: booted, used, rebooted, stopped.

mod boot;
mod command;
mod files;
mod ready;

use std::fs;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use command::HostCommand;

use crate::cgroup::HostCgroup;
use crate::error::{Context, Error, Result};
use crate::image::Image;
use crate::lab::Lab;
use crate::scratch;
use boot::Machine;

/// How a host keeps what changes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Storage {
    /// In memory: fast, and fsync does nothing.
    Memory,
    /// On the file system of the image cache, with a real fsync: for tests of durability and for measurements.
    Disk,
}

/// What host to boot.
#[derive(Clone, Copy, Debug)]
pub struct HostSpec<'a> {
    /// Its name: small letters, digits and `-`, one host of that name a lab.
    pub name: &'a str,
    /// What it boots from.
    pub image: &'a Image,
    /// Where its changes go.
    pub storage: Storage,
}

impl<'a> HostSpec<'a> {
    /// A host with its changes in memory.
    pub fn new(name: &'a str, image: &'a Image) -> Self {
        HostSpec { name, image, storage: Storage::Memory }
    }

    /// The same with its changes kept elsewhere.
    pub fn storage(self, storage: Storage) -> Self {
        HostSpec { storage, ..self }
    }
}

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

    pub(crate) fn boot(lab: &Lab, spec: HostSpec<'_>) -> Result<Host> {
        let folder = lab.inner.host_folder(check_name(spec.name)?);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::Request(format!("the lab has a host named {} already: stop it first", spec.name)));
            }
            made => made.context("make", &folder)?,
        }
        let (name, lower) = (spec.name.to_owned(), spec.image.lower().to_vec());
        let address = lab.inner.take_address()?;
        let record = Record { name, address, lower, storage: spec.storage, pid1: 0, started: 0 };
        let mut host = Host { lab: lab.clone(), record, machine: Mutex::new(None) };
        if let Err(error) = host.power_on() {
            let _ = host.remove();
            return Err(error);
        }
        Ok(host)
    }

    pub(crate) fn attach(lab: &Lab, name: &str) -> Result<Host> {
        let file = lab.inner.host_folder(check_name(name)?).join("host.json");
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::Request(format!("the lab has no host named {name}")));
            }
            text => text.context("read", &file)?,
        };
        let record: Record = serde_json::from_slice(&text).map_err(std::io::Error::from).context("read", &file)?;
        let machine = Machine::attach(record.pid1, record.started)?;
        Ok(Host { lab: lab.clone(), record, machine: Mutex::new(machine) })
    }

    fn power_on(&mut self) -> Result<()> {
        let machine = Machine::start(self)?;
        (self.record.pid1, self.record.started) = machine.identity()?;
        *self.machine() = Some(machine);
        let file = self.folder().join("host.json");
        let text = serde_json::to_vec_pretty(&self.record).map_err(std::io::Error::from).context("write", &file)?;
        fs::write(&file, text).context("write", &file)
    }

    fn power_off(&self) -> Result<()> {
        self.lab.inner.switch.unplug(self.address())?;
        if let Some(machine) = self.machine().take() {
            machine.kill()?;
        }
        self.cgroup().remove()
    }

    fn remove(&self) -> Result<()> {
        let off = self.power_off();
        scratch::remove(&self.changes())?;
        scratch::remove(&self.folder())?;
        self.lab.inner.free_address(self.address())?;
        off
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

fn check_name(name: &str) -> Result<&str> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    match (1..=32).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-') {
        true => Ok(name),
        false => Err(Error::Request(format!("{name:?} cannot name a host: use a-z, 0-9 and -, at most 32"))),
    }
}
