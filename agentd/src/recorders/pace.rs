//! How fast a channel may show things: so many bytes a second, and what it had left of the last second at once.

use std::time::{Duration, Instant};

/// How much of what was not used is kept.
const BURST: Duration = Duration::from_secs(1);

/// One channel's pace.
#[derive(Debug)]
pub struct Pace {
    /// Bytes a second; none: any.
    rate: Option<u64>,
    /// Up to when what was shown is paid for.
    paid: Instant,
}

impl Pace {
    /// So many bytes a second; 0 is any.
    pub fn new(rate: u64, now: Instant) -> Self {
        Self { rate: (rate > 0).then_some(rate), paid: now.checked_sub(BURST).unwrap_or(now) }
    }

    /// So much was shown. Until when nothing more is taken, if it was too much.
    pub fn spend(&mut self, bytes: usize, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        let least = now.checked_sub(BURST).unwrap_or(now);
        let nanos = u128::from(bytes as u64) * 1_000_000_000 / u128::from(rate);
        self.paid = self.paid.max(least) + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        (self.paid > now).then_some(self.paid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_second_at_once_and_then_its_rate() {
        let now = Instant::now();
        let mut pace = Pace::new(1000, now);
        assert_eq!(pace.spend(1000, now), None, "the burst");
        assert_eq!(pace.spend(500, now), Some(now + SECOND / 2));
        assert_eq!(pace.spend(500, now + SECOND / 2), Some(now + SECOND));
        // Who rests has a second's worth again, and no more.
        let later = now + 100 * SECOND;
        assert_eq!(pace.spend(1000, later), None);
        assert_eq!(pace.spend(1, later), Some(later + SECOND / 1000));
    }

    #[test]
    fn none_is_any() {
        let now = Instant::now();
        assert_eq!(Pace::new(0, now).spend(usize::MAX, now), None);
    }
}
