//! Steps: each is told when it begins, and with its time when it is done.

use anyhow::{Context, Result};
use serde::Serialize;
use std::time::Instant;

/// One step of the story.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// What happened.
    pub name: String,
    /// How long it took.
    pub milliseconds: u64,
}

/// What is told.
#[derive(Debug)]
pub enum Told<'t> {
    /// A step begins.
    Begun(&'t str),
    /// A step is done; what was seen.
    Done(&'t Step, &'t str),
}

/// Tells the steps as they come.
pub struct Teller<'t> {
    pub(super) steps: Vec<Step>,
    tell: &'t mut dyn FnMut(Told<'_>),
}

impl<'t> Teller<'t> {
    pub(super) fn new(tell: &'t mut dyn FnMut(Told<'_>)) -> Self {
        Self { steps: Vec::new(), tell }
    }

    /// Runs a step; what it gives beside its value is shown.
    pub(super) fn step<T>(&mut self, name: &str, run: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        (self.tell)(Told::Begun(name));
        let start = Instant::now();
        let (value, shown) = run().with_context(|| name.to_owned())?;
        let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let step = Step { name: name.to_owned(), milliseconds };
        (self.tell)(Told::Done(&step, &shown));
        self.steps.push(step);
        Ok(value)
    }
}
