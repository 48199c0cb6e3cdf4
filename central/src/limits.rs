//! How much one caller may ask for, in a fixed amount of memory.
//!
//! A bucket for each caller: so many at once, then so many a minute. Buckets lie in a table of fixed size; a caller
//! who is new to a full row takes the place of the one with the fullest bucket, which loses least by being
//! forgotten. So a flood from many addresses makes limits looser, never the table larger, and never makes anybody
//! else wait.

use crate::config::{self, Rate};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers that have the same row.
const WAYS: usize = 8;
/// Rows of a table: 32,768 callers, 1 MiB.
const ROWS: usize = 4096;
/// Parts of one request that a bucket is counted in.
const PARTS: u64 = 1_000_000;

/// A caller asks for more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// After how many seconds there is something again.
    pub retry_after: u64,
    /// Whether this is the first refusal since the bucket was last half full: worth a record.
    pub first: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The caller; 0 for nobody.
    tag: u64,
    parts: u64,
    at: Duration,
    told: bool,
}

/// One limit.
#[derive(Debug)]
pub struct Limit {
    rate: Rate,
    hasher: RandomState,
    begun: Instant,
    rows: Mutex<Box<[[Slot; WAYS]]>>,
}

impl Limit {
    /// With empty memory.
    pub fn new(rate: Rate) -> Self {
        let rows = if rate.per_minute == 0 { 0 } else { ROWS };
        let rows = Mutex::new(vec![[Slot::default(); WAYS]; rows].into_boxed_slice());
        Self { rate, hasher: RandomState::new(), begun: Instant::now(), rows }
    }

    /// Takes one from a caller's bucket.
    pub fn take(&self, caller: &impl Hash) -> Result<(), Exceeded> {
        self.take_at(caller, self.begun.elapsed())
    }

    fn take_at(&self, caller: &impl Hash, now: Duration) -> Result<(), Exceeded> {
        let hash = self.hasher.hash_one(caller);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rows.len().max(1);
        let row = usize::try_from(hash).unwrap_or_default() % count;
        // Without a table there is no limit.
        let Some(row) = rows.get_mut(row) else { return Ok(()) };
        self.slot(row, hash.max(1), now).map_or(Ok(()), |slot| self.take_from(slot))
    }

    /// The caller's slot, filled up to now. Nobody else's is touched: a flood would round away what comes back to them.
    fn slot<'r>(&self, row: &'r mut [Slot; WAYS], tag: u64, now: Duration) -> Option<&'r mut Slot> {
        if let Some(at) = row.iter().position(|slot| slot.tag == tag) {
            let slot = row.get_mut(at)?;
            slot.parts = self.filled(slot, now);
            slot.at = now;
            slot.told &= slot.parts < self.full() / 2;
            return Some(slot);
        }
        let slot = row.iter_mut().max_by_key(|slot| if slot.tag == 0 { u64::MAX } else { self.filled(slot, now) })?;
        *slot = Slot { tag, parts: self.full(), at: now, told: false };
        Some(slot)
    }

    fn filled(&self, slot: &Slot, now: Duration) -> u64 {
        let passed = u64::try_from(now.saturating_sub(slot.at).as_micros()).unwrap_or(u64::MAX);
        // A part is a millionth, a minute has sixty million microseconds.
        let came = passed.saturating_mul(u64::from(self.rate.per_minute)) / 60;
        slot.parts.saturating_add(came).min(self.full())
    }

    fn take_from(&self, slot: &mut Slot) -> Result<(), Exceeded> {
        if let Some(left) = slot.parts.checked_sub(PARTS) {
            slot.parts = left;
            return Ok(());
        }
        let (missing, minute) = (PARTS - slot.parts, u64::from(self.rate.per_minute).saturating_mul(PARTS).max(1));
        let first = !std::mem::replace(&mut slot.told, true);
        Err(Exceeded { retry_after: (missing * 60).div_ceil(minute).max(1), first })
    }

    /// How many callers are remembered.
    #[cfg(test)]
    pub(crate) fn callers_for_tests(&self) -> usize {
        self.rows.lock().unwrap().iter().flatten().filter(|slot| slot.tag != 0).count()
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst).saturating_mul(PARTS)
    }
}

/// All of them.
#[derive(Debug)]
pub struct Limits {
    /// Requests for tokens and certificates, by address.
    pub address: Limit,
    /// Tokens and certificates, by agent.
    pub agent: Limit,
    /// The same, by agent and human.
    pub pair: Limit,
    /// Attempts to enrol, by address.
    pub enrol: Limit,
    /// Feed connections, by host.
    pub feed: Limit,
    /// Refused reports that are put on record, by host.
    pub refused: Limit,
}

/// How many of a host's refused reports are on record: no courier that is well has any.
const REFUSED: Rate = Rate { burst: 20, per_minute: 6 };

impl Limits {
    /// As configured.
    pub fn new(settings: &config::Limits) -> Self {
        Self {
            address: Limit::new(settings.address),
            agent: Limit::new(settings.agent),
            pair: Limit::new(settings.pair),
            enrol: Limit::new(settings.enrol),
            feed: Limit::new(settings.feed),
            refused: Limit::new(REFUSED),
        }
    }
}

/// What counts as one address: with IPv6 a whole /64, since whoever has one of its addresses has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(u128);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u128::from(u32::from(address)) | 0xffff << 32),
            IpAddr::V6(address) => Self(u128::from(address) & !u128::from(u64::MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limit(burst: u32, per_minute: u32) -> Limit {
        Limit::new(Rate { burst, per_minute })
    }

    const fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_and_then_so_many_a_minute() {
        let limit = limit(3, 30);
        for _ in 0..3 {
            assert_eq!(limit.take_at(&"a", second(10)), Ok(()));
        }
        assert_eq!(limit.take_at(&"a", second(10)), Err(Exceeded { retry_after: 2, first: true }));
        assert_eq!(limit.take_at(&"a", second(11)), Err(Exceeded { retry_after: 1, first: false }));
        assert_eq!(limit.take_at(&"b", second(11)), Ok(()), "another one's bucket is its own");
        assert_eq!(limit.take_at(&"a", second(12)), Ok(()));
        assert!(!limit.take_at(&"a", second(12)).unwrap_err().first, "it was told of this flood already");
        for _ in 0..3 {
            assert_eq!(limit.take_at(&"a", second(60)), Ok(()));
        }
        assert!(limit.take_at(&"a", second(60)).unwrap_err().first, "a new flood is told anew");
    }

    #[test]
    fn nothing_a_minute_is_no_limit() {
        let limit = limit(0, 0);
        assert!((0..10_000).all(|_| limit.take_at(&"a", second(0)).is_ok()));
    }

    #[test]
    fn a_flood_from_everywhere_stays_in_its_table_and_stops_nobody() {
        let limit = limit(2, 1);
        for stranger in 0..200_000_u32 {
            assert_eq!(limit.take_at(&stranger, second(1)), Ok(()), "each of them is new");
        }
        let rows = limit.rows.lock().unwrap();
        assert_eq!((rows.len(), std::mem::size_of_val(&**rows) / 1024 <= 1536), (ROWS, true));
        drop(rows);
        assert_eq!(limit.take_at(&"somebody else", second(1)), Ok(()));
    }

    #[test]
    fn the_emptiest_bucket_is_not_the_one_that_is_forgotten() {
        let limit = limit(100, 1);
        while limit.take_at(&"flood", second(1)).is_ok() {}
        for stranger in 0..100_000_u32 {
            limit.take_at(&stranger, second(1)).unwrap();
        }
        assert!(limit.take_at(&"flood", second(1)).is_err(), "strangers do not wash it clean");
    }

    #[test]
    fn one_network_of_ipv6_is_one_source() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("192.0.2.1"), source("::ffff:192.0.2.1"));
    }

    proptest! {
        #[test]
        fn never_more_than_the_burst_and_what_came_back(
            burst in 1..50_u32, per_minute in 1..600_u32, steps in prop::collection::vec(0..2_000_u64, 1..300),
        ) {
            let limit = limit(burst, per_minute);
            let (mut now, mut taken) = (Duration::ZERO, 0_u64);
            for step in steps {
                now += Duration::from_millis(step);
                taken += u64::from(limit.take_at(&"a", now).is_ok());
            }
            let came_back = now.as_micros() as u64 * u64::from(per_minute) / 60_000_000;
            prop_assert!(taken <= u64::from(burst) + came_back + 1);
        }
    }
}
