//! Watching: processes (by pidfd), the inbox, the listeners. One epoll, one loop.
//!
//! An agent chooses what waits at its session's listener, descriptors included, and to close those may take as long as
//! it likes. So nobody is let in whom there is no room for, and what is closed is closed by a thread of its own: never
//! by the loop, never under a lock.

use rustix::event::epoll;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tether_hostlink::{Connection, LinkError};
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

/// What a session's own listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// `tether run`.
    Run,
    /// The recorders of its channels.
    Record,
}

impl Service {
    /// All of them: every session has a listener for each.
    pub const ALL: [Self; 2] = [Self::Run, Self::Record];
}

/// A session's own listener.
#[derive(Debug)]
pub struct Door {
    /// Whose.
    pub session: SessionId,
    /// What for.
    pub service: Service,
    /// How many of its connections are served.
    pub busy: Arc<AtomicUsize>,
    number: u64,
    listener: Mutex<Option<UnixListener>>,
}

impl Door {
    /// The next who waits. Nobody, once it is closed.
    pub fn accept(&self) -> Option<Result<Connection, LinkError>> {
        self.listener().as_ref().map(Connection::accept)
    }

    fn listener(&self) -> MutexGuard<'_, Option<UnixListener>> {
        self.listener.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Ready once, until it is asked for again.
const ONCE: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);
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
    /// Where somebody waits for whom there is no room yet.
    waiting: Vec<Arc<Door>>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let processes =
            Processes { next: OTHERS, by_number: BTreeMap::new(), doors: BTreeMap::new(), waiting: Vec::new() };
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

    /// Watches a session's listener, in place of an earlier one. It is ready once, and again after
    /// [`Watch::let_in`].
    pub fn add_door(&self, session: SessionId, service: Service, listener: UnixListener) -> io::Result<()> {
        self.forget_service(&session, service);
        let mut processes = self.processes();
        let number = processes.next;
        processes.next += 1;
        epoll::add(&self.epoll, &listener, epoll::EventData::new_u64(number), ONCE)?;
        let listener = Mutex::new(Some(listener));
        processes.doors.insert(number, Arc::new(Door { session, service, busy: Arc::default(), number, listener }));
        Ok(())
    }

    /// Watches a session's listeners no longer, and closes them.
    pub fn forget_doors(&self, session: &SessionId) {
        Service::ALL.into_iter().for_each(|service| self.forget_service(session, service));
    }

    fn forget_service(&self, session: &SessionId, service: Service) {
        let mut processes = self.processes();
        let of_it = |door: &Door| door.session == *session && door.service == service;
        let found = processes.doors.iter().find(|(_, door)| of_it(door)).map(|(number, _)| *number);
        let Some(door) = found.and_then(|number| processes.doors.remove(&number)) else { return };
        processes.waiting.retain(|other| other.number != door.number);
        drop(processes);
        let listener = door.listener().take();
        // Without a thread it is closed here: better late than never.
        if let Err(error) = std::thread::Builder::new().name("closing".to_owned()).spawn(move || drop(listener)) {
            crate::log::warn(format_args!("no thread to close a session's listener: {error}"));
        }
    }

    /// A listener may be ready again.
    pub fn let_in(&self, door: &Door) {
        if let Some(listener) = door.listener().as_ref()
            && let Err(errno) = epoll::modify(&self.epoll, listener, epoll::EventData::new_u64(door.number), ONCE)
        {
            crate::log::warn(format_args!("session {}: its listener cannot be watched: {errno}", door.session));
        }
    }

    /// There is no room for who waits at a listener: not before [`Watch::let_in_waiting`].
    pub fn let_wait(&self, door: Arc<Door>) {
        self.processes().waiting.push(door);
    }

    /// There may be room again.
    pub fn let_in_waiting(&self) {
        let waiting = std::mem::take(&mut self.processes().waiting);
        waiting.iter().for_each(|door| self.let_in(door));
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
    fn a_door_is_ready_once_and_again_when_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let (path, watch) = (folder.path().join("s"), Watch::new().unwrap());
        let session: SessionId = "0123456789abcdef".parse().unwrap();
        watch.add_door(session.clone(), Service::Run, UnixListener::bind(&path).unwrap()).unwrap();
        assert!(came(&watch).is_empty());
        let _two = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        let Some(Ready::Came(door)) = watch.wait(Duration::ZERO).unwrap().pop() else { panic!("it is not ready") };
        assert!(door.accept().unwrap().is_ok());
        assert!(came(&watch).is_empty(), "it was not asked for again");
        watch.let_wait(Arc::clone(&door));
        assert!(came(&watch).is_empty(), "there is no room");
        watch.let_in_waiting();
        assert_eq!(came(&watch), [session.as_str()], "the second still waits");
        watch.forget_doors(&session);
        assert!(door.accept().is_none());
        watch.let_in(&door);
        assert!(came(&watch).is_empty());
        let start = std::time::Instant::now();
        while UnixStream::connect(&path).is_ok() {
            assert!(start.elapsed() < Duration::from_secs(5), "it is still listened at");
        }
    }
}
