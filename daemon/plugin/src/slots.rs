//! Room for runs: so many at the same time, of which checks that take long have a part only, so that a quick one finds room
//! beside hundreds of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// A run that took at least this long was a slow one.
const SLOW: Duration = Duration::from_millis(250);

/// So many slow runs in a row make a slow check: once may be the machine's doing.
const SLOW_RUNS: u8 = 2;

/// A run that computed for this long takes turns away from others.
const COMPUTING: Duration = Duration::from_millis(50);

/// More checks than this are forgotten together, and are known again after a run each.
const MAX_KNOWN: usize = 10_000;

pub(crate) struct Slots {
    all: Semaphore,
    /// What slow checks may have of them.
    slow: Semaphore,
    /// What computing checks may have of them: each delays the others by its turns.
    computing: Semaphore,
    known: Mutex<HashMap<String, Record>>,
}

/// What a check's runs were like.
#[derive(Debug, Clone, Copy)]
struct Record {
    /// Slow runs since the last quick one.
    slow: u8,
    computing: bool,
}

/// Room for one run, until it is dropped.
pub(crate) struct Slot<'a> {
    _part: Option<SemaphorePermit<'a>>,
    _slot: SemaphorePermit<'a>,
}

impl Slots {
    pub(crate) fn new(slots: u32) -> Self {
        let slots = slots as usize;
        Slots {
            all: Semaphore::new(slots),
            slow: Semaphore::new((slots * 3 / 4).max(1)),
            computing: Semaphore::new((slots / 16).max(1)),
            known: Mutex::default(),
        }
    }

    /// Waits for room. None only if the host is gone.
    pub(crate) async fn acquire(&self, check: &str) -> Option<Slot<'_>> {
        let record = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(check).copied();
        let part = match record {
            Some(Record { computing: true, .. }) => Some(&self.computing),
            Some(Record { slow: SLOW_RUNS.., .. }) => Some(&self.slow),
            // Who is not known yet has to get in to become so.
            Some(_) | None => None,
        };
        let part = match part {
            Some(part) => Some(part.acquire().await.ok()?),
            None => None,
        };
        Some(Slot { _part: part, _slot: self.all.acquire().await.ok()? })
    }

    /// How a run of the check went.
    pub(crate) fn took(&self, check: &str, duration: Duration, cpu: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        // The first run says it all: nobody knows better yet.
        let slow_before = known.get(check).map_or(SLOW_RUNS - 1, |record| record.slow);
        let slow = if duration < SLOW { 0 } else { slow_before.saturating_add(1) };
        known.insert(check.to_owned(), Record { slow, computing: cpu >= COMPUTING });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);

    /// How many runs of so many checks find room at once.
    async fn rooms<'a>(slots: &'a Slots, name: &str, count: usize) -> Vec<Slot<'a>> {
        let mut taken = Vec::new();
        for number in 0..count {
            let name = format!("{name}{number}");
            if let Ok(Some(slot)) = tokio::time::timeout(QUICK, slots.acquire(&name)).await {
                taken.push(slot);
            }
        }
        taken
    }

    fn known(slots: &Slots, name: &str, count: usize, duration: Duration, cpu: Duration) {
        for number in 0..count {
            slots.took(&format!("{name}{number}"), duration, cpu);
        }
    }

    #[tokio::test]
    async fn quick_checks_find_room_beside_any_number_of_others() {
        let slots = Slots::new(64);
        known(&slots, "slow", 100, SLOW, QUICK);
        known(&slots, "computing", 100, SLOW, COMPUTING);
        known(&slots, "quick", 100, QUICK, QUICK);
        let slow = rooms(&slots, "slow", 100).await;
        let computing = rooms(&slots, "computing", 100).await;
        assert_eq!((slow.len(), computing.len()), (48, 4));
        assert_eq!(rooms(&slots, "unknown", 1).await.len(), 1, "nobody knows yet what it is like");
        assert_eq!(rooms(&slots, "quick", 100).await.len(), 12);
        drop((slow, computing));
        assert_eq!(rooms(&slots, "quick", 100).await.len(), 64);
    }

    #[tokio::test]
    async fn one_slow_run_of_a_quick_check_changes_nothing_and_one_quick_run_of_a_slow_one_does() {
        let slots = Slots::new(4);
        known(&slots, "slow", 3, SLOW, QUICK);
        let _slow = rooms(&slots, "slow", 3).await;
        for (took, fits) in [(QUICK, true), (SLOW, true), (SLOW, false), (QUICK, true)] {
            slots.took("a", took, QUICK);
            let room = tokio::time::timeout(QUICK, slots.acquire("a")).await;
            assert_eq!(room.is_ok(), fits, "{took:?}");
        }
    }

    #[tokio::test]
    async fn a_host_with_one_slot_has_room_for_everybody_in_turn() {
        let slots = Slots::new(1);
        known(&slots, "computing", 1, SLOW, COMPUTING);
        for name in ["computing", "unknown"] {
            assert_eq!(rooms(&slots, name, 1).await.len(), 1, "{name}");
        }
    }
}
