//! Watching: processes (by pidfd), the inbox, the listeners. One epoll, one loop. A process ends once; a listener
//! stays ready as long as somebody waits at it.

use rustix::event::epoll;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Who asked for a command: the sudo, the `tether run`, or its runner.
    Asker {
        /// The plan's name.
        plan: String,
    },
}

/// A session's own listener.
#[derive(Debug)]
pub struct Door {
    /// Whose.
    pub session: SessionId,
    /// Where it asks.
    pub listener: UnixListener,
    /// How many of its connections are served.
    pub busy: Arc<AtomicUsize>,
}

/// What became ready.
#[derive(Debug, Clone)]
pub enum Ready {
    /// A process ended.
    Gone(Watched),
    /// Somebody waits at a session's listener.
    Came(Arc<Door>),
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
    doors: BTreeMap<u64, Arc<Door>>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let processes = Processes { next: OTHERS, by_number: BTreeMap::new(), doors: BTreeMap::new() };
        Ok(Self {
            epoll: Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?),
            processes: Arc::new(Mutex::new(processes)),
        })
    }

    /// Watches a process until it ends.
    pub fn add(&self, process: OwnedFd, watched: Watched) -> io::Result<()> {
        let mut processes = self.processes();
        let number = processes.next;
        processes.next += 1;
        epoll::add(&self.epoll, &process, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        processes.by_number.insert(number, (process, watched));
        Ok(())
    }

    /// Watches a session's listener, in place of an earlier one.
    pub fn add_door(&self, session: SessionId, listener: UnixListener) -> io::Result<()> {
        self.forget_door(&session);
        let mut processes = self.processes();
        let number = processes.next;
        processes.next += 1;
        epoll::add(&self.epoll, &listener, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
        processes.doors.insert(number, Arc::new(Door { session, listener, busy: Arc::default() }));
        Ok(())
    }

    /// Watches a session's listener no longer.
    pub fn forget_door(&self, session: &SessionId) {
        // Dropping the descriptor takes it out of the epoll; the loop holds one no longer than it takes to accept.
        self.processes().doors.retain(|_, door| door.session != *session);
    }

    /// Watches a process no longer: what it mattered to is over.
    pub fn forget(&self, watched: &Watched) {
        let mut processes = self.processes();
        // Dropping the descriptor takes it out of the epoll.
        processes.by_number.retain(|_, (_, other)| other != watched);
    }

    fn processes(&self) -> MutexGuard<'_, Processes> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut processes = self.processes();
        if let Some(door) = processes.doors.get(&number) {
            return Some(Ready::Came(Arc::clone(door)));
        }
        // Dropping the descriptor takes it out of the epoll.
        processes.by_number.remove(&number).map(|(_, watched)| Ready::Gone(watched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    fn came(watch: &Watch) -> Vec<String> {
        let ready = watch.wait(Duration::ZERO).unwrap();
        let name = |ready| if let Ready::Came(door) = ready { Some(door.session.to_string()) } else { None };
        ready.into_iter().filter_map(name).collect()
    }

    #[test]
    fn a_door_is_ready_as_long_as_somebody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (path, watch) = (folder.path().join("s"), Watch::new().unwrap());
        let session: SessionId = "0123456789abcdef".parse().unwrap();
        watch.add_door(session.clone(), UnixListener::bind(&path).unwrap()).unwrap();
        assert!(came(&watch).is_empty());
        let _two = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        assert_eq!(came(&watch), [session.as_str()]);
        let Some(Ready::Came(door)) = watch.wait(Duration::ZERO).unwrap().pop() else { panic!("it is not ready") };
        door.listener.accept().unwrap();
        assert_eq!(came(&watch).len(), 1, "the second still waits");
        door.listener.accept().unwrap();
        assert!(came(&watch).is_empty());
        let _third = UnixStream::connect(&path).unwrap();
        drop(door);
        watch.forget_door(&session);
        assert!(came(&watch).is_empty());
        assert!(UnixStream::connect(&path).is_err(), "it is still listened at");
    }
}
