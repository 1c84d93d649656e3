//! Tries all rows with a make of router, many at a time: a row waits far more than it computes.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::lab::Lab;
use crate::plan::Setup;
use crate::router::{Make, NotApplicable};
use crate::rows::{ROWS, Row};

/// How a row ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As the row says.
    Pass,
    /// What was seen instead.
    Fail(String),
    /// Why it cannot be tried.
    NotApplicable(String),
}

/// A row, tried in one set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The row's number.
    pub row: u32,
    /// Its position in [`ROWS`] and the set-up, so that a row that is tried in several ways keeps its order.
    pub place: (usize, Setup),
    /// How it ended.
    pub outcome: Outcome,
}

/// What to try.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only these rows; empty: all.
    pub rows: Vec<u32>,
    /// Only these set-ups; empty: all.
    pub setups: Vec<Setup>,
    /// How many at a time.
    pub lanes: usize,
    /// Rows that are known to fail, and are not tried a second time.
    pub known_failures: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rows: Vec::new(), setups: Vec::new(), lanes: 24, known_failures: Vec::new() }
    }
}

/// Tries at a time of the last round.
const FEW: usize = 4;

/// Tries the rows. What fails is tried again with fewer neighbours, and if it is not much once more almost alone, since real
/// clocks run on a shared machine. A row that fails every time fails with what was seen first.
pub fn run(make: &Make, options: &Options) -> Vec<Tried> {
    let wanted = |row: &Row, setup: Setup| {
        (options.rows.is_empty() || options.rows.contains(&row.number))
            && (options.setups.is_empty() || options.setups.contains(&setup))
    };
    let places: Vec<_> = ROWS
        .iter()
        .enumerate()
        .flat_map(|(index, row)| row.setups.iter().map(move |&setup| (index, setup)))
        .filter(|&(index, setup)| wanted(&ROWS[index], setup))
        .collect();
    let mut tried = round(make, &places, options.lanes);
    for lanes in [options.lanes.div_ceil(2), FEW] {
        let failed: Vec<_> = tried
            .iter()
            .filter(|tried| matches!(tried.outcome, Outcome::Fail(_)) && !options.known_failures.contains(&tried.row))
            .map(|tried| tried.place)
            .collect();
        // The last try is for a handful: many that fail twice are no matter of time.
        if lanes == FEW && failed.len() > 4 * FEW {
            break;
        }
        for again in round(make, &failed, lanes) {
            if matches!(again.outcome, Outcome::Pass)
                && let Some(first) = tried.iter_mut().find(|first| first.place == again.place)
            {
                eprintln!("{}: row {} in {}: passed at another try", make.name, first.row, again.place.1.name());
                first.outcome = Outcome::Pass;
            }
        }
    }
    tried.sort_by_key(|tried| (tried.row, tried.place));
    tried
}

fn round(make: &Make, places: &[(usize, Setup)], lanes: usize) -> Vec<Tried> {
    let queue = Mutex::new(places.iter().copied().collect::<VecDeque<_>>());
    let (done, all) = (AtomicUsize::new(0), places.len());
    let tried = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..lanes.min(all) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics with it").pop_front();
                    let Some((index, setup)) = next else { break };
                    let outcome = attempt(make, &ROWS[index], setup);
                    let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let row = ROWS[index].number;
                    if let Outcome::Fail(seen) = &outcome {
                        eprintln!("{} [{count}/{all}]: row {row} in {}: {seen}", make.name, setup.name());
                    }
                    tried.lock().expect("no thread panics with it").push(Tried { row, place: (index, setup), outcome });
                }
            });
        }
    });
    tried.into_inner().expect("no thread panics with it")
}

/// Tries a row once.
fn attempt(make: &Make, row: &Row, setup: Setup) -> Outcome {
    let once = || -> anyhow::Result<()> {
        let lab = Lab::new(make, setup)?;
        (row.test)(&lab)
    };
    match catch_unwind(AssertUnwindSafe(once)) {
        Ok(Ok(())) => Outcome::Pass,
        Ok(Err(error)) => match error.downcast_ref::<NotApplicable>() {
            Some(reason) => Outcome::NotApplicable(reason.to_string()),
            None => Outcome::Fail(format!("{error:#}")),
        },
        Err(_) => Outcome::Fail("the tester panicked: see above".to_owned()),
    }
}
