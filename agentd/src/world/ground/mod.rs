//! What of the folders of programs is not to be read.
//!
//! They are granted to every command, and hold a hundred thousand files: too many for the launcher's two milliseconds. So
//! a thread of agentd's looks through them beforehand, while there are sessions, and the kernel tells it of every change
//! (inotify(7)): a name that comes, a mode that changes. From that moment until the next look nothing is known, and the
//! launcher walks itself. Every event is queued before the call that causes it returns, so what is told at a decision is
//! as it is at that decision.

mod look;
mod packages;

use crate::clock::Moment;
use crate::log::warn;
use look::{Looked, look};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tether_hostlink::Ground as Folder;
use tether_never::PROGRAMS;

/// The package manager's lists.
const LISTS: &str = "/var/lib/dpkg/info";
/// How long a decision waits for a look that has begun.
const PATIENCE: Duration = Duration::from_millis(500);
/// How many wait at a time: who waits has a place at root's listener, which people's logins need, too.
const WAITING_MAX: usize = 8;
/// After a look that failed.
const AGAIN: Duration = Duration::from_secs(60);
/// While packages are installed every look is out of date at once: the thread rests a few times as long as it looked,
/// and twice as long each time that there was no calm in between, up to a limit.
const REST: u32 = 3;
const REST_MOST: Duration = Duration::from_secs(20);
const CALM: Duration = Duration::from_secs(10);

/// What is known, shared with the thread that looks.
#[derive(Debug, Clone)]
pub struct Ground(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    news: Condvar,
    /// Wakes the thread.
    wake: OwnedFd,
}

#[derive(Debug)]
struct State {
    is_wanted: bool,
    known: Known,
    waiting: usize,
}

#[derive(Debug)]
enum Known {
    NotYet,
    Yes(Arc<Looked>),
    /// And not before then.
    No(Moment),
}

impl Ground {
    /// Knows nothing yet.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let state = Mutex::new(State { is_wanted: false, known: Known::NotYet, waiting: 0 });
        Ok(Self(Arc::new(Inner { state, news: Condvar::new(), wake })))
    }

    /// There are sessions: begins to look.
    pub fn want(&self) {
        self.turn(true);
    }

    /// There are none: thousands of watches are let go.
    pub fn let_go(&self) {
        self.turn(false);
    }

    fn turn(&self, is_wanted: bool) {
        let before = std::mem::replace(&mut self.state().is_wanted, is_wanted);
        if before != is_wanted {
            self.wake();
        }
    }

    /// What is known now. Nothing: the launcher is to look itself.
    pub fn known(&self) -> Vec<Folder> {
        self.fresh(&mut self.state()).map(|looked| looked.ground.clone()).unwrap_or_default()
    }

    /// Waits a moment for a look that is under way. Not to be called under a lock.
    pub fn wait(&self) {
        let mut state = self.state();
        if state.waiting >= WAITING_MAX {
            return;
        }
        state.waiting += 1;
        let waited = self.0.news.wait_timeout_while(state, PATIENCE, |state| {
            !matches!(state.known, Known::No(_)) && self.fresh(state).is_none()
        });
        waited.unwrap_or_else(PoisonError::into_inner).0.waiting -= 1;
    }

    fn fresh(&self, state: &mut State) -> Option<Arc<Looked>> {
        let Known::Yes(looked) = &state.known else { return None };
        // If it has changed the thread knows, too, and drops it: to let go of the watches takes a while.
        (!has_changed(looked)).then(|| Arc::clone(looked))
    }

    /// The thread: looks when it must.
    pub fn keep(&self) -> ! {
        let mut pace = Pace::default();
        loop {
            match self.next(&pace) {
                Next::Look => {
                    let start = Moment::now();
                    let looked = look(PROGRAMS, Path::new(LISTS));
                    pace.looked(start, Moment::now());
                    self.tell(looked);
                }
                Next::Wait { changes, most } => self.doze(changes.as_deref(), most),
            }
        }
    }

    fn next(&self, pace: &Pace) -> Next {
        let mut state = self.state();
        let now = Moment::now();
        match &state.known {
            Known::Yes(looked) if state.is_wanted && !has_changed(looked) => {
                return Next::Wait { changes: Some(Arc::clone(looked)), most: None };
            }
            Known::No(until) if now < *until => return Next::Wait { changes: None, most: Some(until.since(now)) },
            _ => {}
        }
        let rest = pace.until.filter(|until| state.is_wanted && now < *until);
        let old = std::mem::replace(&mut state.known, rest.map_or(Known::NotYet, Known::No));
        let is_wanted = state.is_wanted;
        drop(state);
        // To let go of thousands of watches takes a while.
        drop(old);
        match rest {
            Some(until) => Next::Wait { changes: None, most: Some(until.since(now)) },
            None if is_wanted => Next::Look,
            None => Next::Wait { changes: None, most: None },
        }
    }

    fn tell(&self, looked: Result<Looked, look::Trouble>) {
        let known = looked.map(|looked| Known::Yes(Arc::new(looked))).unwrap_or_else(|trouble| {
            warn(format_args!("commands start slowly, since the folders of programs are not known: {trouble}"));
            Known::No(Moment::now().plus(AGAIN))
        });
        self.state().known = known;
        self.0.news.notify_all();
    }

    fn doze(&self, changes: Option<&Looked>, most: Option<Duration>) {
        let mut all = vec![PollFd::new(&self.0.wake, PollFlags::IN)];
        all.extend(changes.map(|looked| PollFd::new(&looked.changes, PollFlags::IN)));
        let most = most.and_then(|most| Timespec::try_from(most).ok());
        // Whatever ends it, the state is looked at again.
        let _ = poll(&mut all, most.as_ref());
        let _ = rustix::io::read(&self.0.wake, &mut [0; 8]);
    }

    fn wake(&self) {
        // A full counter wakes, too.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often the thread may look.
#[derive(Debug, Default)]
struct Pace {
    until: Option<Moment>,
    rest: Duration,
}

impl Pace {
    fn looked(&mut self, start: Moment, end: Moment) {
        let was_calm = self.until.is_none_or(|until| start.since(until) >= CALM);
        let own = end.since(start) * REST;
        self.rest = if was_calm { own } else { own.max(self.rest * 2) }.min(REST_MOST);
        self.until = Some(end.plus(self.rest));
    }
}

/// What the thread does next.
enum Next {
    Look,
    Wait { changes: Option<Arc<Looked>>, most: Option<Duration> },
}

/// Whether the kernel has told of a change; if it cannot be asked, it may have.
fn has_changed(looked: &Looked) -> bool {
    let mut one = [PollFd::new(&looked.changes, PollFlags::IN)];
    poll(&mut one, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked() -> Looked {
        let folder = tempfile::tempdir().unwrap();
        look(&[folder.path().to_str().unwrap()], folder.path()).unwrap()
    }

    #[test]
    fn what_changed_is_not_known_any_more() {
        let ground = Ground::new().unwrap();
        assert!(ground.known().is_empty());
        let folder = tempfile::tempdir().unwrap();
        ground.tell(look(&[folder.path().to_str().unwrap()], folder.path()));
        assert_eq!(ground.known().len(), 1);
        std::fs::write(folder.path().join("new"), "").unwrap();
        assert!(ground.known().is_empty());
        ground.want();
        assert!(matches!(ground.next(&Pace::default()), Next::Look));
    }

    #[test]
    fn where_something_changes_all_the_time_it_looks_less_and_less_often() {
        let at = |seconds| Moment::since_boot(Duration::from_secs(seconds));
        let mut pace = Pace::default();
        let mut rests = Vec::new();
        for start in [100, 104, 111, 124, 145, 166, 200] {
            pace.looked(at(start), at(start + 1));
            rests.push(pace.rest.as_secs());
        }
        assert_eq!(rests, [3, 6, 12, 20, 20, 20, 3]);
        let ground = Ground::new().unwrap();
        ground.want();
        pace.looked(Moment::now(), Moment::now().plus(Duration::from_secs(60)));
        assert!(matches!(ground.next(&pace), Next::Wait { most: Some(_), .. }));
        let start = std::time::Instant::now();
        ground.wait();
        assert!(start.elapsed() < PATIENCE, "nobody waits for a look that is not under way");
    }

    #[test]
    fn it_looks_while_it_is_wanted_and_not_soon_after_it_failed() {
        let ground = Ground::new().unwrap();
        assert!(matches!(ground.next(&Pace::default()), Next::Wait { changes: None, most: None }));
        ground.want();
        assert!(matches!(ground.next(&Pace::default()), Next::Look));
        ground.tell(Ok(looked()));
        // Its folder is gone again.
        assert!(matches!(ground.next(&Pace::default()), Next::Look));
        ground.tell(Err(look::Trouble::TooMany("too many")));
        assert!(matches!(ground.next(&Pace::default()), Next::Wait { changes: None, most: Some(_) }));
        ground.let_go();
        assert!(ground.known().is_empty());
    }
}
