//! The memory of all runs together.
//!
//! Each run may use what its check's limits allow, and any number of runs may wait. When all together exceed the budget, the
//! run with the most memory is ended, whichever run asked for more.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::waker::RunWaker;

/// Bounds of the budget in bytes, whatever memory the machine has.
const LEAST: u64 = 128 << 20;
const MOST: u64 = 1 << 30;

/// Shared by the runs of a host.
#[derive(Debug)]
pub(super) struct Budget {
    total: u64,
    shares: Mutex<Shares>,
}

#[derive(Debug, Default)]
struct Shares {
    /// The key of the next run.
    next: u64,
    /// Sum of `runs`.
    taken: u64,
    /// All runs that were not ended.
    runs: HashMap<u64, Part>,
}

struct Part {
    bytes: u64,
    waker: Arc<RunWaker>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.bytes)
    }
}

/// The part of one run, which returns to the budget when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    run: u64,
}

/// The budget is exceeded, and this run has the most memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exhausted {
    /// The budget in bytes.
    pub(super) total: u64,
    /// The number of runs that share it.
    pub(super) runs: usize,
}

impl Budget {
    pub(super) fn new(total: u64) -> Arc<Self> {
        Arc::new(Budget { total, shares: Mutex::default() })
    }

    /// An eighth of the memory that this process can have, within bounds, but at least enough for two runs like the largest.
    pub(super) fn of_this_machine(largest_run: u64) -> Arc<Self> {
        let available = machine_memory().unwrap_or(MOST);
        Self::new((available / 8).clamp(LEAST, MOST).max(largest_run.saturating_mul(2)))
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Adds a run, which `waker` can stop.
    pub(super) fn share(self: &Arc<Self>, waker: &Arc<RunWaker>) -> Share {
        let mut shares = self.shares();
        let run = shares.next;
        shares.next += 1;
        shares.runs.insert(run, Part { bytes: 0, waker: Arc::clone(waker) });
        Share { budget: Arc::clone(self), run }
    }

    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Adds `bytes` to the run. While the budget is exceeded, ends the run with the most memory.
    ///
    /// # Errors
    /// If that run is this one.
    pub(super) fn grow(&self, bytes: u64) -> Result<(), Exhausted> {
        let mut shares = self.budget.shares();
        let runs = shares.runs.len();
        let Some(part) = shares.runs.get_mut(&self.run) else {
            // It was ended and has not noticed yet.
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
            part.waker.stop();
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

/// Memory in bytes: the machine's, or what the control group of this process allows if that is less.
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
    fn run_with_the_most_memory_is_ended() {
        let budget = Budget::new(100);
        let wakers: Vec<Arc<RunWaker>> = (0..3).map(|_| Arc::default()).collect();
        let shares: Vec<_> = wakers.iter().map(|waker| budget.share(waker)).collect();
        assert_eq!(shares[0].grow(60), Ok(()));
        assert_eq!(shares[1].grow(30), Ok(()));
        assert_eq!(shares[2].grow(20), Ok(()), "another run has more");
        let stopped: Vec<_> = wakers.iter().map(|waker| waker.is_stopped()).collect();
        assert_eq!(stopped, [true, false, false]);
        assert_eq!(shares[0].grow(1), Err(Exhausted { total: 100, runs: 2 }));
        // 50 in all; the second run asks for more than is left, and would have the most.
        assert_eq!(shares[1].grow(51), Err(Exhausted { total: 100, runs: 2 }));
        assert_eq!(shares[2].grow(80), Ok(()), "memory of ended runs is available again");
        drop(shares);
        let last = budget.share(&wakers[0]);
        assert_eq!(last.grow(100), Ok(()));
        assert_eq!(last.grow(1), Err(Exhausted { total: 100, runs: 1 }));
    }
}
