//! The list, step by step down a tree: at each folder the walk knows which patterns have begun.

use crate::Reason;
use crate::list::{EXCEPT, NEVER};

/// Patterns that have begun on the way to a folder, and how far each is. Most folders have none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    begun: Vec<(u8, u8)>,
    is_root: bool,
}

impl Steps {
    /// At `/`, where the patterns that hold at the root only begin.
    #[must_use]
    pub fn root() -> Self {
        Self { begun: Vec::new(), is_root: true }
    }

    /// A folder that has another name too: what has begun on either way has begun.
    pub fn merge(&mut self, other: &Self) {
        self.is_root |= other.is_root;
        for one in &other.begun {
            if !self.begun.contains(one) {
                self.begun.push(*one);
            }
        }
    }

    /// Whether nothing has begun here.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.begun.is_empty() && !self.is_root
    }
}

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// It and all below is never read.
    Never(&'static Reason),
    /// It is not, and below it the walk goes on from here.
    On(Steps),
}

/// The list, prepared: which patterns may begin with a name is seen by its first and its last byte.
#[derive(Debug)]
pub struct List {
    patterns: Vec<Pattern>,
    by_first: [[u64; WORDS]; 256],
    by_last: [[u64; WORDS]; 256],
}

#[derive(Debug)]
struct Pattern {
    components: Vec<&'static [u8]>,
    /// None: an exception.
    reason: Option<&'static Reason>,
    anchored: bool,
}

const WORDS: usize = 3;

impl List {
    /// How many patterns it can hold.
    pub const MOST: usize = WORDS * 64;

    /// Prepares it.
    #[must_use]
    pub fn new() -> Self {
        let never = NEVER.iter().map(|(text, reason)| Pattern::new(text, Some(reason)));
        let except = EXCEPT.iter().map(|text| Pattern::new(text, None));
        let patterns: Vec<Pattern> = never.chain(except).take(Self::MOST).collect();
        let (mut by_first, mut by_last) = ([[0; WORDS]; 256], [[0; WORDS]; 256]);
        for (index, pattern) in patterns.iter().enumerate().filter(|(_, pattern)| !pattern.anchored) {
            let first = pattern.components.first().copied().unwrap_or_default();
            // A name that fits begins as the pattern does, or, behind a leading `*`, ends as it does.
            let (table, byte) = match first {
                [b'*', .., last] => (&mut by_last, *last),
                [byte, ..] => (&mut by_first, *byte),
                [] => continue,
            };
            if let Some(word) = table.get_mut(usize::from(byte)).and_then(|words| words.get_mut(index / 64)) {
                *word |= 1 << (index % 64);
            }
        }
        Self { patterns, by_first, by_last }
    }

    /// From a folder to what a name in it means.
    #[must_use]
    pub fn step(&self, steps: &Steps, name: &[u8]) -> Step {
        let mut next = Steps::default();
        let mut reason = None;
        let mut except = false;
        let mut try_one = |index: usize, at: usize| {
            let Some(pattern) = self.patterns.get(index) else { return };
            let Some(component) = pattern.components.get(at) else { return };
            if !fits(component, name) {
                return;
            }
            if at + 1 < pattern.components.len() {
                // Both fit: there are at most MOST patterns of few components.
                next.begun.push((index as u8, (at + 1) as u8));
            } else if pattern.reason.is_some() {
                reason = reason.or(pattern.reason);
            } else {
                except = true;
            }
        };
        for (index, at) in &steps.begun {
            try_one(usize::from(*index), usize::from(*at));
        }
        if steps.is_root {
            self.patterns.iter().enumerate().filter(|(_, one)| one.anchored).for_each(|(index, _)| try_one(index, 0));
        }
        for index in self.starting(name) {
            try_one(index, 0);
        }
        match reason {
            Some(reason) if !except => Step::Never(reason),
            _ => Step::On(next),
        }
    }

    /// Whether a pattern ends with a name in this folder: then what the folder holds is looked at one by one, also
    /// when no such name is there yet.
    #[must_use]
    pub fn ends_in(&self, steps: &Steps) -> bool {
        let ends = |(index, at): &(u8, u8)| {
            let pattern = self.patterns.get(usize::from(*index));
            pattern.is_some_and(|one| one.components.len() == usize::from(*at) + 1 && one.reason.is_some())
        };
        steps.begun.iter().any(ends)
    }

    fn starting(&self, name: &[u8]) -> impl Iterator<Item = usize> {
        let words = |table: &[[u64; WORDS]; 256], byte: Option<&u8>| {
            byte.and_then(|byte| table.get(usize::from(*byte))).copied().unwrap_or_default()
        };
        let (first, last) = (words(&self.by_first, name.first()), words(&self.by_last, name.last()));
        let all = first.into_iter().zip(last).enumerate();
        all.flat_map(|(word, (first, last))| {
            let mut bits = first | last;
            std::iter::from_fn(move || {
                let bit = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (bit < 64).then_some(word * 64 + bit as usize)
            })
        })
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

impl Pattern {
    fn new(text: &'static str, reason: Option<&'static Reason>) -> Self {
        let rest = text.strip_prefix('/');
        let components = rest.unwrap_or(text).split('/').map(str::as_bytes).collect();
        Self { components, reason, anchored: rest.is_some() }
    }
}

/// One component: `*` is any bytes, also none; it stands at most once.
fn fits(component: &[u8], name: &[u8]) -> bool {
    match component.iter().position(|byte| *byte == b'*') {
        None => component == name,
        Some(star) => {
            let (start, end) = component.split_at(star);
            let end = end.get(1..).unwrap_or_default();
            name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
        }
    }
}
