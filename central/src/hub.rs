//! Hosts that listen, and how far they have read: who has news is woken, and who waits for a host is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tether_identity::HostId;
use tokio::sync::watch;

/// One host's place.
#[derive(Debug)]
pub struct Place {
    /// Moves when its feed has grown.
    pub news: watch::Sender<u64>,
    /// How far the host has acknowledged its feed in this process' life.
    pub read: watch::Sender<u64>,
    /// Moves when a newer connection takes over the feed: the older one ends.
    pub turn: watch::Sender<u64>,
    /// One batch of its chain at a time: others wait before theirs is read.
    pub batch: tokio::sync::Semaphore,
}

/// All hosts' places.
#[derive(Debug)]
pub struct Hub {
    places: Mutex<HashMap<HostId, Arc<Place>>>,
    /// Moves when keys or bundles have changed, which concerns all hosts.
    pub common: watch::Sender<u64>,
    /// Central is told to stop: feeds, which have no end of their own, end.
    pub stop: watch::Sender<bool>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { places: Mutex::default(), common: watch::Sender::new(0), stop: watch::Sender::new(false) }
    }
}

impl Hub {
    /// A host's place.
    pub fn place(&self, host: &HostId) -> Arc<Place> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Place {
            news: watch::Sender::new(0),
            read: watch::Sender::new(0),
            turn: watch::Sender::new(0),
            batch: tokio::sync::Semaphore::new(1),
        };
        Arc::clone(places.entry(host.clone()).or_insert_with(|| Arc::new(new())))
    }

    /// The host's feed has grown.
    pub fn tell(&self, host: &HostId) {
        self.place(host).news.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Keys or bundles have changed.
    pub fn tell_all(&self) {
        self.common.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// A host has read so far.
    pub fn note_read(&self, host: &HostId, number: u64) {
        self.place(host).read.send_if_modified(|read| {
            let further = number > *read;
            *read = (*read).max(number);
            further
        });
    }
}
