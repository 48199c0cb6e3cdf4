//! Watching: processes (by pidfd), the inbox, the listeners. One epoll, one loop.

use rustix::event::epoll;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tether_identity::SessionId;

/// A process whose end matters, and to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// A connection of a session.
    Monitor {
        /// Which session.
        session: SessionId,
        /// Its number.
        pid: u32,
    },
    /// A connection between the account gate and being bound.
    Pending {
        /// Its number.
        pid: u32,
    },
    /// The sudo that asked for a command.
    Asker {
        /// The plan's name.
        plan: String,
    },
}

/// What became ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// A process ended.
    Gone(Watched),
    /// Something else, by the number it was added under.
    Other(u64),
}

/// Numbers below this are for [`Watch::add_other`].
const OTHERS: u64 = 16;

/// The watcher; copies share it.
#[derive(Debug, Clone)]
pub struct Watch {
    epoll: Arc<OwnedFd>,
    processes: Arc<Mutex<Processes>>,
}

#[derive(Debug)]
struct Processes {
    next: u64,
    by_number: BTreeMap<u64, (OwnedFd, Watched)>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let processes = Processes { next: OTHERS, by_number: BTreeMap::new() };
        Ok(Self {
            epoll: Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?),
            processes: Arc::new(Mutex::new(processes)),
        })
    }

    /// Watches a process until it ends.
    pub fn add(&self, process: OwnedFd, watched: Watched) -> io::Result<()> {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        let number = processes.next;
        processes.next += 1;
        epoll::add(&self.epoll, &process, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        processes.by_number.insert(number, (process, watched));
        Ok(())
    }

    /// Watches a process no longer: what it mattered to is over.
    pub fn forget(&self, watched: &Watched) {
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the descriptor takes it out of the epoll.
        processes.by_number.retain(|_, (_, other)| other != watched);
    }

    /// Watches another descriptor for input, under a number below 16. The caller keeps it open.
    pub fn add_other(&self, descriptor: &impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?)
    }

    /// Waits until something is ready or the time is over.
    pub fn wait(&self, most: std::time::Duration) -> io::Result<Vec<Ready>> {
        let timeout = rustix::event::Timespec::try_from(most).map_err(io::Error::other)?;
        let mut events = Vec::with_capacity(64);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Err(rustix::io::Errno::INTR) => return Ok(Vec::new()),
            other => other?,
        };
        Ok(events.into_iter().filter_map(|event| self.ready(event.data.u64())).collect())
    }

    fn ready(&self, number: u64) -> Option<Ready> {
        if number < OTHERS {
            return Some(Ready::Other(number));
        }
        let mut processes = self.processes.lock().unwrap_or_else(PoisonError::into_inner);
        // Dropping the descriptor takes it out of the epoll.
        processes.by_number.remove(&number).map(|(_, watched)| Ready::Gone(watched))
    }
}
