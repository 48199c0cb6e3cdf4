//! Listeners and the one loop.
//!
//! Each connection gets a thread of its own with a deadline; each listener has a limit, so that a flood on
//! one neither holds nor starves the other. Only the lock on [`Host`] is shared, and nothing waits under it.

use crate::clock::Moment;
use crate::host::{Host, INBOX as INBOX_FOLDER, Lent, TearDown};
use crate::log::warn;
use crate::requests::{Listener, Response};
use crate::running;
use crate::trust::inbox::{Inbox, Item};
use crate::watch::{Door, Ready, Service, Watch};
use rustix::fs::inotify;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tether_hostlink::{Connection, Deadline, LinkError, Request, paths};

/// How long one exchange may take.
const EXCHANGE: Duration = Duration::from_secs(2);
/// How many connections each listener serves at a time.
const CONNECTIONS_MAX: usize = 64;
/// How many connections of `tether run` are served at a time: of one session, and of all beyond each one's first. Each
/// waits for its command; who comes then waits for a place. The first is every session's own, so that others, however
/// many they are and whatever they run, keep nobody waiting for it.
const RUN_MAX: [usize; 2] = [16, 48];
/// The same of recorders that ask: each for as long as one exchange takes, then it is the recorders' loop that has it.
/// Places of their own, so that neither waits for the other.
const RECORD_MAX: [usize; 2] = [16, 48];
/// How many sessions are taken down at a time.
pub const WORKERS: usize = 4;
/// How often counted refusals are written down.
const FLUSH: Duration = Duration::from_secs(60);

const INBOX: u64 = 0;
const ROOT: u64 = 1;
const PRINCIPALS: u64 = 2;
const STOP: u64 = 3;

/// The state that all threads share.
pub type Shared = Arc<Mutex<Host>>;

/// Takes the lock. A thread that panicked under it left the state as it was after its last step.
pub fn lock(host: &Shared) -> MutexGuard<'_, Host> {
    host.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open sockets.
#[derive(Debug)]
pub struct Sockets {
    root: UnixListener,
    principals: UnixListener,
    inbox: OwnedFd,
}

impl Sockets {
    /// Opens both, each for its own user only.
    pub fn open() -> io::Result<Self> {
        let principals = listen(paths::PRINCIPALS_SOCKET)?;
        let owner = uid_of(paths::PRINCIPALS_USER)?;
        chown(paths::PRINCIPALS_SOCKET, Some(owner), None)?;
        let inbox = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
        let events = inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::ONLYDIR;
        inotify::add_watch(&inbox, INBOX_FOLDER, events)?;
        Ok(Self { root: listen(paths::ROOT_SOCKET)?, principals, inbox })
    }
}

/// Runs until `stop` becomes readable.
pub fn run(host: &Shared, watch: &Watch, sockets: &Sockets, stop: &OwnedFd) -> io::Result<()> {
    watch.add_other(stop, STOP)?;
    watch.add_other(&sockets.inbox, INBOX)?;
    watch.add_other(&sockets.root, ROOT)?;
    watch.add_other(&sockets.principals, PRINCIPALS)?;
    let (roots, principals) = (Count::default(), Count::default());
    let (running, recording) = (Count::default(), Count::default());
    let mut looks = Looks::at(INBOX_FOLDER);
    let mut flushed = Moment::now();
    let mut due = flushed;
    loop {
        let now = Moment::now();
        // Not at each wake: an agent can wake the loop as often as it likes.
        if now >= due {
            due = now.plus(lock(host).run_deadlines(now));
        }
        let next = due.since(now);
        if now.since(flushed) >= FLUSH {
            lock(host).flush_refusals();
            flushed = now;
        }
        for ready in watch.wait(if looks.are_over() { next } else { Duration::ZERO })? {
            match ready {
                Ready::Gone(watched) => lock(host).process_gone(watched),
                Ready::Other(INBOX) => {
                    drain(&sockets.inbox);
                    looks.note_news();
                }
                Ready::Came(door) => match door.service {
                    Service::Run => admit(host, watch, door, (&running, RUN_MAX)),
                    Service::Record => admit(host, watch, door, (&recording, RECORD_MAX)),
                },
                Ready::Other(STOP) => return Ok(()),
                Ready::Other(ROOT) => accept(host, &sockets.root, Listener::Root, &roots),
                Ready::Other(_) => {
                    accept(host, &sockets.principals, Listener::Principals, &principals);
                }
            }
        }
        looks.go_on(|inbox, item, name| {
            let looked = inbox.look(item, name);
            lock(host).take_file(inbox, item, name, looked);
        });
    }
}

/// How many files of the inbox are read before anything else is looked at again.
const FILES_AT_A_TIME: usize = 16;

/// Looks at the inbox, each taken in parts: a courier that fills it keeps nobody waiting, neither by the loop nor
/// by the lock.
struct Looks<'f> {
    folder: &'f str,
    /// What is left of this look.
    listed: Option<(Inbox, std::vec::IntoIter<(Item, String)>)>,
    /// Whether something came since this look began: the next one is due at once, not with what comes then.
    news: bool,
}

impl<'f> Looks<'f> {
    /// What lies there already is news.
    fn at(folder: &'f str) -> Self {
        Self { folder, listed: None, news: true }
    }

    fn note_news(&mut self) {
        self.news = true;
    }

    fn are_over(&self) -> bool {
        !self.news && self.listed.is_none()
    }

    fn go_on(&mut self, mut take: impl FnMut(&Inbox, &Item, &str)) {
        if self.listed.is_none() && std::mem::take(&mut self.news) {
            self.list();
        }
        let Some((inbox, items)) = &mut self.listed else { return };
        for (item, name) in items.by_ref().take(FILES_AT_A_TIME) {
            take(inbox, &item, &name);
        }
        if items.len() == 0 {
            self.listed = None;
        }
    }

    fn list(&mut self) {
        match Inbox::open(self.folder).and_then(|inbox| Ok((inbox.items()?.into_iter(), inbox))) {
            Ok((items, inbox)) => self.listed = Some((inbox, items)),
            Err(errno) => warn(format_args!("{} cannot be read: {errno}; nothing is taken from it", self.folder)),
        }
    }
}

/// How many are served.
type Count = Arc<AtomicUsize>;

fn accept(host: &Shared, listener: &UnixListener, which: Listener, busy: &Count) {
    let connection = match Connection::accept(listener) {
        Ok(connection) => connection,
        Err(error) => return warn(format_args!("a connection could not be taken: {error}")),
    };
    // Dropped if there are too many: the other side sees a closed connection at once, which is a refusal.
    if let Some(guard) = Busy::within(&[(busy, CONNECTIONS_MAX)], None) {
        spawn(host, connection, which, guard);
    }
}

/// Lets one in who waits at a session's own listener, or lets it wait: what is not taken is not closed here.
fn admit(host: &Shared, watch: &Watch, door: Arc<Door>, (served, most): (&Count, [usize; 2])) {
    let limits = [(&door.busy, most[0]), (served, most[1])];
    let limits = if door.busy.load(Ordering::SeqCst) == 0 { &limits[..1] } else { &limits[..] };
    let Some(guard) = Busy::within(limits, Some(watch)) else {
        let room = |(count, most): (&Count, usize)| count.load(Ordering::SeqCst) < most;
        watch.let_wait(Arc::clone(&door));
        // Whoever left between the two saw nobody waiting.
        if limits.iter().copied().all(room) {
            watch.let_in_waiting();
        }
        return;
    };
    match door.accept() {
        Some(Ok(connection)) => spawn(host, connection, Listener::Session(door.service, door.session.clone()), guard),
        None | Some(Err(LinkError::Broken(rustix::io::Errno::AGAIN))) => {} // who came is gone again
        Some(Err(error)) => warn(format_args!("session {}: a connection could not be taken: {error}", door.session)),
    }
    watch.let_in(&door);
}

fn spawn(host: &Shared, connection: Connection, which: Listener, guard: Busy) {
    let host = Arc::clone(host);
    let spawned = std::thread::Builder::new().name("request".to_owned()).spawn(move || {
        // The connection goes first: what the other side left in it may take as long as that likes to close.
        let _guard = guard;
        serve(&host, connection, &which);
    });
    if let Err(error) = spawned {
        warn(format_args!("no thread for a connection: {error}"));
    }
}

/// Counts a connection as served until it is dropped, also when its thread panics.
struct Busy {
    counts: Vec<Count>,
    watch: Option<Watch>,
}

impl Busy {
    /// Counts it everywhere, unless one of the limits is reached. Only the loop counts.
    fn within(limits: &[(&Count, usize)], watch: Option<&Watch>) -> Option<Self> {
        if limits.iter().any(|(count, most)| count.load(Ordering::SeqCst) >= *most) {
            return None;
        }
        let count = |(count, _): &(&Count, usize)| {
            count.fetch_add(1, Ordering::SeqCst);
            Arc::clone(count)
        };
        Some(Self { counts: limits.iter().map(count).collect(), watch: watch.cloned() })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for count in &self.counts {
            count.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(watch) = &self.watch {
            watch.let_in_waiting();
        }
    }
}

fn serve(host: &Shared, connection: Connection, which: &Listener) {
    let mut deadline = Deadline::after(EXCHANGE);
    // Who asks nothing, or nonsense, gets nothing. What came with it is dropped last, and not under the lock.
    let Ok((request, lent)) = question(&connection, which, deadline) else { return };
    if matches!(request, Request::Decide(_) | Request::Run { .. }) {
        let ground = lock(host).ground.clone();
        ground.wait();
    }
    let (response, unwaited) = {
        let mut host = lock(host);
        (host.answer(which, connection.peer, request, &lent), host.unwaited.take())
    };
    let Response { mut reply, descriptors, lent: more, awaited, recorded, recording } = response;
    if let Some(unwaited) = unwaited {
        // The writer says what could not be written; that it is refused does not hang on it.
        let _ = unwaited.wait();
    }
    if let Some(recorded) = recorded {
        let written = recorded.ticket.wait();
        (reply, deadline) = (lock(host).begun(&recorded, written), Deadline::after(EXCHANGE));
    }
    if let Some((plan, awaited)) = awaited {
        let Some(end) = running::see_through(host, connection.as_fd(), &plan, &awaited) else { return };
        (reply, deadline) = (end, Deadline::after(EXCHANGE));
    }
    let borrowed: Vec<_> =
        descriptors.iter().chain(more.iter().flat_map(|more| more.iter())).map(AsFd::as_fd).collect();
    let answered = connection.answer(&reply, &borrowed, deadline);
    if let Err(error) = &answered {
        warn(format_args!("process {} did not take its answer: {error}", connection.peer.pid));
    }
    if let Some(recording) = recording {
        let recorders = lock(host).recorders.clone();
        recorders.take_up(host, *recording, answered.is_ok().then(|| connection.into_stream()));
    }
}

/// The question; only at a session's own listener with descriptors.
fn question(connection: &Connection, which: &Listener, deadline: Deadline) -> Result<(Request, Lent), LinkError> {
    match which {
        Listener::Session(Service::Run, _) => {
            connection.question_with(deadline).map(|(request, lent)| (request, Lent::new(lent)))
        }
        Listener::Root | Listener::Principals | Listener::Session(Service::Record, _) => {
            Ok((connection.question(deadline)?, Lent::default()))
        }
    }
}

/// One of the workers that take sessions down.
pub fn work(host: &Shared, jobs: &Mutex<Receiver<TearDown>>) {
    let cgroups = lock(host).cgroups.clone();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        let (session, remains, trouble) = job.run(&cgroups);
        lock(host).torn_down(&session, &remains, trouble);
    }
}

fn listen(path: &str) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// From /etc/passwd itself: agentd asks no name service, which could ask agentd.
fn uid_of(user: &str) -> io::Result<u32> {
    let text = std::fs::read_to_string("/etc/passwd")?;
    let line = text.lines().find(|line| line.split(':').next() == Some(user));
    let uid = line.and_then(|line| line.split(':').nth(2)?.parse().ok());
    uid.ok_or_else(|| io::Error::other(format!("there is no user {user}; installing the package anew makes it")))
}

fn drain(inbox: &OwnedFd) {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(inbox, &mut buffer);
    while reader.next().is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_look_is_not_left_until_more_comes() {
        let folder = tempfile::tempdir().unwrap();
        let put = |number: usize| std::fs::write(folder.path().join(format!("feed-{number}.jws")), "").unwrap();
        (0..=FILES_AT_A_TIME).for_each(put);
        let mut looks = Looks::at(folder.path().to_str().unwrap());
        let mut met = Vec::new();
        let mut go_on = |looks: &mut Looks| {
            looks.go_on(|_, _, name| {
                std::fs::remove_file(folder.path().join(name)).unwrap();
                met.push(name.to_owned());
            });
        };
        go_on(&mut looks);
        assert!(!looks.are_over(), "one is left");
        put(99);
        looks.note_news();
        go_on(&mut looks);
        assert!(!looks.are_over(), "the loop would wait, and the new file with it");
        go_on(&mut looks);
        assert!(looks.are_over());
        assert_eq!(met.len(), FILES_AT_A_TIME + 2);
        assert_eq!(met.last().map(String::as_str), Some("feed-99.jws"));
    }
}
