//! How old the newest head is, without believing the wall clock.
//!
//! Central answered a nonce that was made at a known moment of CLOCK_BOOTTIME, so its answer's time is not
//! before that moment. From there on the kernel counts. A later head moves the anchor forward only: heads
//! that a courier holds back look old, a wall clock that is set looks like nothing at all.

use crate::clock::Moment;
use std::time::Duration;
use tether_statement::UnixTime;

/// A signed time and the moment from which it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anchor {
    time: UnixTime,
    moment: Moment,
}

impl Anchor {
    /// `time` was signed not before `moment`.
    pub fn new(time: UnixTime, moment: Moment) -> Self {
        Self { time, moment }
    }

    /// The least that central's clock can show now.
    pub fn at(&self, now: Moment) -> UnixTime {
        self.time.saturating_add(now.since(self.moment).as_secs())
    }

    /// A newer signed time was seen.
    #[must_use]
    pub fn seen(self, time: UnixTime, now: Moment) -> Self {
        if time > self.at(now) { Self::new(time, now) } else { self }
    }
}

/// How this host stands towards central.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Central has not answered since agentd started.
    NotResumed,
    /// The newest head of which every statement was read is this old.
    Age(Duration),
}

impl Freshness {
    /// Whether a new login or privileged command may be had.
    pub fn admits(self, max_silence: Duration) -> bool {
        matches!(self, Self::Age(age) if age <= max_silence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(seconds: u64) -> Moment {
        Moment::since_boot(Duration::from_secs(seconds))
    }

    #[test]
    fn time_goes_on_without_a_wall_clock_and_never_back() {
        let anchor = Anchor::new(1000, moment(10));
        assert_eq!(anchor.at(moment(25)), 1015);
        assert_eq!(anchor.seen(1010, moment(25)).at(moment(25)), 1015, "an old head moves nothing");
        assert_eq!(anchor.seen(1030, moment(25)).at(moment(26)), 1031);
    }

    #[test]
    fn only_a_known_young_age_admits() {
        let most = Duration::from_secs(60);
        assert!(Freshness::Age(most).admits(most));
        assert!(!Freshness::Age(most + Duration::from_secs(1)).admits(most));
        assert!(!Freshness::NotResumed.admits(most));
    }
}
