//! Many scenarios, one seed after the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Report, Scenario, run};

/// What a campaign showed.
#[derive(Debug, Default)]
pub struct Campaign {
    /// All runs together.
    pub report: Report,
    /// How many seeds were tried, from the first one on.
    pub seeds: u64,
    /// The seeds that broke an invariant, and how.
    pub failures: Vec<(u64, String)>,
}

/// Runs the scenarios of `first` and the seeds after it until there were this many elections, or ten of them failed. The
/// seeds that are tried depend on nothing else, except that some more may be tried with more than one thread.
pub fn campaign(first: u64, elections: u64, threads: usize) -> Campaign {
    let (next, done, stop) = (AtomicU64::new(first), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        let mut part = Campaign::default();
        while done.load(Ordering::Relaxed) < elections && !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let report = run(&Scenario::generate(seed));
            done.fetch_add(report.figures.elections, Ordering::Relaxed);
            part.report.add(&report);
            part.seeds += 1;
            part.failures.extend(report.failure.map(|why| (seed, why)));
            stop.fetch_or(part.failures.len() >= 10, Ordering::Relaxed);
        }
        part
    };
    let parts: Vec<Campaign> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    let mut all = Campaign::default();
    for part in parts {
        all.report.add(&part.report);
        all.seeds += part.seeds;
        all.failures.extend(part.failures);
    }
    all.failures.sort();
    all
}
