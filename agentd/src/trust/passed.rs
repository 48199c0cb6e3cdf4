//! Positions that were left behind since the start: a head that was signed before the statement after it
//! may arrive after that statement, and is no sign of a second feed.

use std::collections::VecDeque;
use tether_statement::{Head, Position, UnixTime};

/// How many are remembered; heads come every ten seconds.
const PASSED_MAX: usize = 1024;
/// How far central's clock may be ahead of what this host makes of it, in seconds.
const SLACK: u64 = 5;

/// Each position with the time at which the statement after it was signed.
#[derive(Debug, Default)]
pub struct Passed(VecDeque<(Position, UnixTime)>);

impl Passed {
    /// The feed went on from `position`.
    pub fn add(&mut self, position: Position, followed_at: UnixTime) {
        if self.0.len() == PASSED_MAX {
            self.0.pop_front();
        }
        self.0.push_back((position, followed_at));
    }

    /// Whether a head names a position that was passed, and was signed before it was. A statement that
    /// claims to be from the future excuses no head that leaves it out.
    pub fn covers(&self, head: &Head, now: UnixTime) -> bool {
        let most = now.saturating_add(SLACK);
        self.0.iter().any(|(position, followed_at)| {
            *position == head.position && head.time <= *followed_at && *followed_at <= most
        })
    }
}
