//! A host's life: found free, booted, found again, cut off, removed.

use std::fs;
use std::io::ErrorKind;
use std::sync::Mutex;

use super::boot::Machine;
use super::spec::{HostSpec, check_name};
use super::{Host, Record};
use crate::error::{Context, Error, Result};
use crate::lab::Lab;
use crate::scratch;

impl Host {
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

    pub(super) fn power_on(&mut self) -> Result<()> {
        let machine = Machine::start(self)?;
        (self.record.pid1, self.record.started) = machine.identity()?;
        *self.machine() = Some(machine);
        let file = self.folder().join("host.json");
        let text = serde_json::to_vec_pretty(&self.record).map_err(std::io::Error::from).context("write", &file)?;
        fs::write(&file, text).context("write", &file)
    }

    pub(super) fn power_off(&self) -> Result<()> {
        self.lab.inner.switch.unplug(self.address())?;
        if let Some(machine) = self.machine().take() {
            machine.kill()?;
        }
        self.cgroup().remove()
    }

    pub(super) fn remove(&self) -> Result<()> {
        let off = self.power_off();
        scratch::remove(&self.changes())?;
        scratch::remove(&self.folder())?;
        self.lab.inner.free_address(self.address())?;
        off
    }
}
