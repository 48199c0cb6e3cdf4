//! Waiting for the disk: all records that are written at once wait at one place.

use super::LogError;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// What becomes of the records that are written at once.
#[derive(Debug, Default)]
pub struct Fate {
    known: Mutex<Option<Result<(), LogError>>>,
    woken: Condvar,
}

impl Fate {
    /// Tells it, once; what was told stays.
    pub fn tell(&self, result: Result<(), LogError>) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
        self.woken.notify_all();
    }
}

/// A record that has its place in the chain.
#[derive(Debug)]
#[must_use = "it is not on stable storage yet"]
pub struct Ticket {
    number: u64,
    fate: Arc<Fate>,
}

impl Ticket {
    pub(super) fn new(number: u64, fate: Arc<Fate>) -> Self {
        Self { number, fate }
    }

    /// Its number, if it comes to stay.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Waits until it is on stable storage, or will never be.
    pub fn wait(&self) -> Result<(), LogError> {
        let mut known = self.fate.known.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(result) = known.as_ref() {
                return result.clone();
            }
            known = self.fate.woken.wait(known).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
