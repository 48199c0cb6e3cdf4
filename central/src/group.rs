//! Questions of many at once, answered together: who asks while an answer is being worked out is part of the next one.
//!
//! A thousand hosts that report have one transaction and one flush for all who came meanwhile, and one alone waits for
//! nobody.

use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// The most questions of one answer: the first of very many are not to wait for the last.
const MOST: usize = 128;

type Asked<Q, A> = (Q, oneshot::Sender<A>);

/// Who waits.
#[derive(Debug)]
pub struct Group<Q, A>(Arc<Mutex<State<Q, A>>>);

#[derive(Debug)]
struct State<Q, A> {
    waiting: Vec<Asked<Q, A>>,
    /// Somebody works on answers and will come back for those who wait.
    led: bool,
}

impl<Q, A> Default for Group<Q, A> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { waiting: Vec::new(), led: false })))
    }
}

impl<Q: Send + 'static, A: Send + 'static> Group<Q, A> {
    /// Asks. `work` answers each of its questions, in their order, where it may wait for the disk. None if it died.
    pub async fn ask(&self, question: Q, work: impl Fn(Vec<Q>) -> Vec<A> + Send + 'static) -> Option<A> {
        let (sender, answer) = oneshot::channel();
        let leads = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.waiting.push((question, sender));
            !std::mem::replace(&mut state.led, true)
        };
        if leads {
            let leader = Leader(Arc::clone(&self.0));
            tokio::task::spawn_blocking(move || leader.work(&work));
        }
        answer.await.ok()
    }
}

/// Who works on answers, until nobody waits.
struct Leader<Q, A>(Arc<Mutex<State<Q, A>>>);

impl<Q, A> Leader<Q, A> {
    fn work(&self, work: &impl Fn(Vec<Q>) -> Vec<A>) {
        while let Some(asked) = self.next() {
            let (questions, senders): (Vec<Q>, Vec<_>) = asked.into_iter().unzip();
            for (sender, answer) in senders.into_iter().zip(work(questions)) {
                // Who asked may be gone.
                let _gone = sender.send(answer);
            }
        }
    }

    fn next(&self) -> Option<Vec<Asked<Q, A>>> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            state.led = false;
            return None;
        }
        let most = state.waiting.len().min(MOST);
        Some(state.waiting.drain(..most).collect())
    }
}

impl<Q, A> Drop for Leader<Q, A> {
    /// After a panic whoever waits is told, and the next one leads.
    fn drop(&mut self) {
        // Else the work is done, and another one may lead already.
        if std::thread::panicking() {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.led = false;
            state.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    /// What was asked while the first answer was worked out comes in one piece, and everybody gets their own answer.
    #[test]
    fn who_comes_meanwhile_is_answered_together() {
        let (group, runtime) = (Arc::new(Group::<u32, (u32, usize)>::default()), runtime());
        let (free, hold) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        let ask = |number: u32| {
            let (group, hold, begun) = (Arc::clone(&group), Arc::clone(&hold), begun.clone());
            runtime.spawn(async move {
                group
                    .ask(number, move |asked| {
                        begun.send(()).unwrap();
                        hold.lock().unwrap().recv().unwrap();
                        asked.iter().map(|one| (one * 10, asked.len())).collect()
                    })
                    .await
            })
        };
        let first = ask(1);
        begins.recv().unwrap();
        let others: Vec<_> = (2..200).map(ask).collect();
        while group.0.lock().unwrap().waiting.len() < 198 {
            std::thread::yield_now();
        }
        (0..3).for_each(|_| free.send(()).unwrap());
        runtime.block_on(async {
            assert_eq!(first.await.unwrap(), Some((10, 1)));
            let mut sizes = std::collections::BTreeMap::<usize, usize>::new();
            for (number, other) in (2..200).zip(others) {
                let (answer, together) = other.await.unwrap().unwrap();
                assert_eq!(answer, number * 10);
                *sizes.entry(together).or_default() += 1;
            }
            // In two pieces, none above the most.
            assert_eq!(sizes, [(MOST, MOST), (198 - MOST, 198 - MOST)].into());
        });
        while group.0.lock().unwrap().led {
            std::thread::yield_now();
        }
    }

    #[test]
    fn work_that_dies_leaves_nobody_waiting() {
        let (group, runtime) = (Group::<bool, ()>::default(), runtime());
        let work = |asked: Vec<bool>| {
            assert!(!asked.contains(&true), "as a test wants it");
            asked.iter().map(|_| ()).collect()
        };
        assert_eq!(runtime.block_on(group.ask(true, work)), None);
        // The thread that died may still be on its way out.
        while group.0.lock().unwrap().led {
            std::thread::yield_now();
        }
        assert_eq!(runtime.block_on(group.ask(false, work)), Some(()));
    }
}
