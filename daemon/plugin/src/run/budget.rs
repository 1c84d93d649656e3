//! The memory of all runs together.
//!
//! Each run may have what its check's limits allow, and any number of runs may wait. Where that comes to more than there
//! is, the run that has the most is ended: the greedy one pays, not who happens to ask.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::run::turns::Bell;

/// At least this much, for all plugins together.
const LEAST: u64 = 128 << 20;
const MOST: u64 = 1 << 30;

/// Shared by the runs of a host.
#[derive(Debug)]
pub(crate) struct Budget {
    total: u64,
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    next: u64,
    /// Of all runs that were not ended for others.
    taken: u64,
    runs: HashMap<u64, Part>,
}

struct Part {
    bytes: u64,
    bell: Arc<Bell>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

/// What one run has of it, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    run: u64,
}

/// All together want more than there is, and this run has the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) total: u64,
    pub(crate) runs: usize,
}

impl Budget {
    pub(crate) fn new(total: u64) -> Arc<Self> {
        Arc::new(Budget { total, shares: Mutex::default() })
    }

    /// An eighth of the memory that this process can have, within bounds; but enough for any one run.
    pub(crate) fn of_this_machine(largest_run: u64) -> Arc<Self> {
        let available = machine_memory().unwrap_or(MOST);
        Self::new((available / 8).clamp(LEAST, MOST).max(largest_run.saturating_mul(2)))
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// For a run that hears of its end by the bell.
    pub(crate) fn share(self: &Arc<Self>, bell: &Arc<Bell>) -> Share {
        let mut shares = self.shares();
        let run = shares.next;
        shares.next += 1;
        shares.runs.insert(run, Part { bytes: 0, bell: Arc::clone(bell) });
        Share { budget: Arc::clone(self), run }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// The run grows by so many bytes. Where that is too much for all together, those with the most are ended.
    ///
    /// # Errors
    /// If the one with the most is this one.
    pub(crate) fn grow(&self, bytes: u64) -> Result<(), Exhausted> {
        let mut shares = self.budget.shares();
        let runs = shares.runs.len();
        let Some(part) = shares.runs.get_mut(&self.run) else {
            // Ended for others, and about to notice.
            return Err(Exhausted { total: self.budget.total, runs });
        };
        part.bytes += bytes;
        shares.taken += bytes;
        while shares.taken > self.budget.total {
            let largest = shares.runs.iter().max_by_key(|(run, part)| (part.bytes, **run == self.run));
            let Some(largest) = largest.map(|(run, _)| *run) else { break };
            let Some(part) = shares.runs.remove(&largest) else { break };
            shares.taken -= part.bytes;
            if largest == self.run {
                return Err(Exhausted { total: self.budget.total, runs });
            }
            part.bell.stop();
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shares = self.budget.shares();
        if let Some(part) = shares.runs.remove(&self.run) {
            shares.taken -= part.bytes;
        }
    }
}

/// Of the machine or of the control group that this process is in, whichever is less.
fn machine_memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? << 10;
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|groups| {
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok()?.trim().parse::<u64>().ok()
    });
    Some(group.map_or(machine, |group| group.min(machine)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_has_the_most_is_ended() {
        let budget = Budget::new(100);
        let bells: Vec<Arc<Bell>> = (0..3).map(|_| Arc::default()).collect();
        let shares: Vec<_> = bells.iter().map(|bell| budget.share(bell)).collect();
        assert_eq!(shares[0].grow(60), Ok(()));
        assert_eq!(shares[1].grow(30), Ok(()));
        assert_eq!(shares[2].grow(20), Ok(()), "it is not the one that has too much");
        let stopped: Vec<_> = bells.iter().map(|bell| bell.is_stopped()).collect();
        assert_eq!(stopped, [true, false, false]);
        assert_eq!(shares[0].grow(1), Err(Exhausted { total: 100, runs: 2 }));
        // Together 50; the second wants to have the most, and more than there is.
        assert_eq!(shares[1].grow(51), Err(Exhausted { total: 100, runs: 2 }));
        assert_eq!(shares[2].grow(80), Ok(()), "what was given back is there again");
        drop(shares);
        let last = budget.share(&bells[0]);
        assert_eq!(last.grow(100), Ok(()));
        assert_eq!(last.grow(1), Err(Exhausted { total: 100, runs: 1 }));
    }
}
