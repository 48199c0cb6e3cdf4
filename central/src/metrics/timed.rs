//! A store that is timed, with the time that a caller waits for its turn.

use super::Metrics;
use crate::store::{Act, Store, StoreError};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Another store, timed.
pub struct Timed {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl Timed {
    /// Times `store`.
    pub fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }
}

impl Store for Timed {
    fn act(&self, work: &mut dyn FnMut(&mut dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let done = self.store.act(work);
        self.metrics.store_took("act", begun.elapsed());
        done
    }

    fn look(&self, work: &mut dyn FnMut(&dyn Act) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let begun = Instant::now();
        let done = self.store.look(work);
        self.metrics.store_took("look", begun.elapsed());
        done
    }

    fn back_up(&self, to: &Path) -> Result<(), StoreError> {
        self.store.back_up(to)
    }
}
