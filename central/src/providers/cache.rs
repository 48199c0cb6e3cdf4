//! An issuer's keys, kept. They are fetched outside of the lock, by one caller at a time; others who need what is fetched
//! wait for that one, and who has what they need waits for nobody.
//!
//! What a token says can make central ask its provider, so that is bounded: a few fetches at once, then one each ten
//! seconds, and so many who wait.

use anyhow::{Result, anyhow};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tether_oauth::JwkSet;

/// How long keys are used without asking again.
const FRESH: Duration = Duration::from_secs(300);
/// How long they are used when the provider does not answer.
const STALE_MAX: Duration = Duration::from_secs(3600);
/// How many fetches may come at once, and how often one more.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(10);
/// The most callers that wait for one fetch: each holds a thread of central's.
const WAITING_MAX: usize = 32;

#[derive(Debug)]
pub(super) struct Cache {
    state: Mutex<State>,
    fetched: Condvar,
}

#[derive(Debug)]
struct State {
    keys: Option<(JwkSet, Instant)>,
    fetches_left: u32,
    refilled: Instant,
    fetching: bool,
    waiting: usize,
    /// How many fetches have ended, and why the last one failed if it did.
    turn: u64,
    failed: String,
}

/// Somebody fetches; whatever comes of it, they are done when this is dropped.
struct Fetching<'c>(&'c Cache);

impl Cache {
    pub(super) fn new() -> Self {
        let state = State {
            keys: None,
            fetches_left: BURST,
            refilled: Instant::now(),
            fetching: false,
            waiting: 0,
            turn: 0,
            failed: String::new(),
        };
        Self { state: Mutex::new(state), fetched: Condvar::new() }
    }

    /// The keys, with the one that is named if the issuer has it.
    pub(super) fn get(&self, kid: Option<&str>, fetch: impl FnOnce() -> Result<JwkSet>) -> Result<JwkSet> {
        let mut state = self.lock();
        if let Some(keys) = state.named(kid, FRESH) {
            return Ok(keys);
        }
        if state.fetching {
            // What is about to be fetched anew still holds.
            if let Some(keys) = state.named(kid, STALE_MAX) {
                return Ok(keys);
            }
            return if state.waiting < WAITING_MAX { self.wait(state) } else { state.kept("too many wait for them") };
        }
        if !state.may_fetch() {
            return state.kept("it was asked too often");
        }
        state.fetching = true;
        drop(state);
        let fetching = Fetching(self);
        let fetched = fetch();
        let mut state = self.lock();
        match fetched {
            Ok(keys) => state.keys = Some((keys, Instant::now())),
            Err(error) => state.failed = format!("{error:#}"),
        }
        let kept = state.kept("");
        drop(state);
        drop(fetching);
        kept
    }

    /// Whether the keys are of that time or later.
    pub(super) fn is_of(&self, time: Instant) -> bool {
        self.lock().keys.as_ref().is_some_and(|(_, at)| *at >= time)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>) -> Result<JwkSet> {
        let turn = state.turn;
        state.waiting += 1;
        let ended = self.fetched.wait_while(state, |state| state.turn == turn);
        let mut state = ended.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state.kept("")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.fetching = false;
        state.turn = state.turn.wrapping_add(1);
        drop(state);
        self.0.fetched.notify_all();
    }
}

impl State {
    /// The keys if they are young enough and have the one that is named.
    fn named(&self, kid: Option<&str>, age: Duration) -> Option<JwkSet> {
        let (keys, at) = self.keys.as_ref()?;
        (at.elapsed() < age && kid.is_none_or(|kid| keys.names(kid))).then(|| keys.clone())
    }

    /// The keys as they are, if they are not too old.
    fn kept(&self, why: &str) -> Result<JwkSet> {
        match &self.keys {
            Some((keys, at)) if at.elapsed() < STALE_MAX => Ok(keys.clone()),
            _ if why.is_empty() => Err(anyhow!("{}", self.failed)),
            _ => Err(anyhow!("{why}")),
        }
    }

    fn may_fetch(&mut self) -> bool {
        let passed = self.refilled.elapsed().as_secs() / REFILL.as_secs();
        if passed > 0 {
            self.fetches_left = self.fetches_left.saturating_add(u32::try_from(passed).unwrap_or(BURST)).min(BURST);
            self.refilled = Instant::now();
        }
        let may = self.fetches_left > 0;
        self.fetches_left = self.fetches_left.saturating_sub(1);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};
    use tether_oauth::issue::PrivateKey;

    fn set(kids: &[&str]) -> JwkSet {
        let key = |kid: &&str| {
            let mut jwk = PrivateKey::from_seed(&[1; 32]).unwrap().jwk();
            jwk["kid"] = (*kid).into();
            jwk
        };
        let keys: Vec<_> = kids.iter().map(key).collect();
        JwkSet::parse(serde_json::json!({"keys": keys}).to_string().as_bytes()).unwrap()
    }

    /// A provider that answers when it is let: how it is let, and when it was asked.
    fn slow(
        cache: &Arc<Cache>,
        kid: &'static str,
        answer: JwkSet,
    ) -> (mpsc::Sender<()>, std::thread::JoinHandle<bool>) {
        let ((go, wait), (asked, begun)) = (mpsc::channel::<()>(), mpsc::channel());
        let cache = Arc::clone(cache);
        let thread = std::thread::spawn(move || {
            let got = cache.get(Some(kid), || {
                asked.send(()).unwrap();
                wait.recv().unwrap();
                Ok(answer)
            });
            got.unwrap().names(kid)
        });
        begun.recv().unwrap();
        (go, thread)
    }

    #[test]
    fn a_slow_provider_holds_up_only_those_who_need_its_answer() {
        let cache = Arc::new(Cache::new());
        cache.get(Some("a"), || Ok(set(&["a"]))).unwrap();
        let (go, first) = slow(&cache, "b", set(&["a", "b"]));
        // Known keys are there at once, while the fetch goes on. Were the lock held this would never return.
        let (done, is_done) = mpsc::channel();
        let other = Arc::clone(&cache);
        std::thread::spawn(move || done.send(other.get(Some("a"), || panic!("no second fetch")).unwrap().names("a")));
        assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(true));
        // Who needs the new key waits for that fetch and makes none.
        let fetches = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let (cache, fetches) = (Arc::clone(&cache), Arc::clone(&fetches));
                std::thread::spawn(move || {
                    let count = || {
                        fetches.fetch_add(1, Ordering::SeqCst);
                        Ok(set(&[]))
                    };
                    cache.get(Some("b"), count).unwrap().names("b")
                })
            })
            .collect();
        while cache.lock().waiting < 3 {
            std::thread::yield_now();
        }
        go.send(()).unwrap();
        assert!(first.join().unwrap());
        assert!(waiting.into_iter().all(|thread| thread.join().unwrap()));
        assert_eq!(fetches.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn those_who_wait_are_bounded() {
        let cache = Arc::new(Cache::new());
        let (go, first) = slow(&cache, "a", set(&["a"]));
        cache.lock().waiting = WAITING_MAX;
        let refused = cache.get(Some("a"), || panic!("no second fetch")).unwrap_err();
        assert!(refused.to_string().contains("too many wait"), "{refused}");
        cache.lock().waiting = 0;
        go.send(()).unwrap();
        assert!(first.join().unwrap());
    }

    #[test]
    fn a_fetch_that_fails_or_dies_lets_the_next_one_try() {
        let cache = Cache::new();
        assert_eq!(cache.get(None, || Err(anyhow!("it is down"))).unwrap_err().to_string(), "it is down");
        let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cache.get(None, || panic!("as a test"))));
        assert!(died.is_err());
        assert!(cache.get(Some("a"), || Ok(set(&["a"]))).unwrap().names("a"));
        // And when it fails later, what was had is used on.
        assert!(cache.get(Some("b"), || Err(anyhow!("it is down"))).unwrap().names("a"));
    }

    #[test]
    fn unknown_keys_make_few_fetches() {
        let (cache, mut fetches) = (Cache::new(), 0);
        for _ in 0..100 {
            let _keys = cache.get(Some("nobody's"), || {
                fetches += 1;
                Ok(set(&["a"]))
            });
        }
        assert!(fetches <= BURST as usize + 1, "{fetches}");
    }
}
