//! Counting of runs: one bad run is not yet a failure, one good run not yet a recovery.

use serde::{Deserialize, Serialize};

use crate::report::{Report, RunResult, Verdict};

/// How many runs in a row it takes to believe a change. Both at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// Runs better than the standing before the standing gets better.
    pub rise: u32,
    /// Runs worse than the standing before the standing gets worse.
    pub fall: u32,
}

/// What is believed of a check, after counting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No run has ended yet.
    Waiting,
    Verdict {
        verdict: Verdict,
        message: String,
        /// The plugin's own wish for the priority.
        adjust: Option<i16>,
    },
    /// The check can't be carried out.
    Error {
        reason: String,
        /// What was believed before, for `on_error = "hold"`.
        last: Option<(Verdict, Option<i16>)>,
    },
}

impl Standing {
    /// How bad it is; only the order matters. An error is worse than a failure, which is at least known, and better
    /// than a fault, which is an explicit "not me".
    fn rank(&self) -> u8 {
        match self {
            Standing::Waiting => 0,
            Standing::Verdict { verdict: Verdict::Pass, .. } => 1,
            Standing::Verdict { verdict: Verdict::Warn, .. } => 2,
            Standing::Verdict { verdict: Verdict::Fail, .. } => 3,
            Standing::Error { .. } => 4,
            Standing::Verdict { verdict: Verdict::Fault, .. } => 5,
        }
    }

    fn verdict(&self) -> Option<(Verdict, Option<i16>)> {
        match self {
            Standing::Waiting => None,
            Standing::Verdict { verdict, adjust, .. } => Some((*verdict, *adjust)),
            Standing::Error { last, .. } => *last,
        }
    }
}

/// The counter of one check.
#[derive(Debug, Clone)]
pub struct Counter {
    counting: Counting,
    standing: Standing,
    streak: Streak,
    /// The next result decides at once: it is the first, or the first after the checker was gone.
    undecided: bool,
}

/// Runs in a row that contradict the standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streak {
    None,
    Better(u32),
    Worse(u32),
}

impl Counter {
    pub fn new(counting: Counting) -> Self {
        Counter { counting, standing: Standing::Waiting, streak: Streak::None, undecided: true }
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether the standing is about to change: the check should run at its fast interval.
    pub fn is_changing(&self) -> bool {
        self.streak != Streak::None
    }

    /// Counts one run. True if the standing changed in kind (verdict, or error).
    pub fn record(&mut self, result: &RunResult) -> bool {
        let seen = self.seen(result);
        let (now, believed) = (seen.rank(), self.standing.rank());
        if self.undecided {
            self.undecided = false;
            return self.believe(seen);
        }
        if now == believed {
            // The same again, perhaps with a newer message.
            self.believe(seen);
            return false;
        }
        let decided = if now > believed {
            let n = match self.streak {
                Streak::Worse(n) => n + 1,
                Streak::None | Streak::Better(_) => 1,
            };
            self.streak = Streak::Worse(n);
            n >= self.counting.fall
        } else {
            let n = match self.streak {
                Streak::Better(n) => n + 1,
                Streak::None | Streak::Worse(_) => 1,
            };
            self.streak = Streak::Better(n);
            n >= self.counting.rise
        };
        decided && self.believe(seen)
    }

    /// No run can be expected: the checker is gone for longer than its grace. Believed at once; the next result decides
    /// at once again. True if the standing changed in kind.
    pub fn lost(&mut self, reason: &str) -> bool {
        self.undecided = true;
        let error = Standing::Error { reason: reason.to_owned(), last: self.standing.verdict() };
        self.believe(error)
    }

    fn believe(&mut self, standing: Standing) -> bool {
        let changed = standing.rank() != self.standing.rank();
        self.standing = standing;
        self.streak = Streak::None;
        changed
    }

    fn seen(&self, result: &RunResult) -> Standing {
        match result {
            RunResult::Report(Report { verdict, message, adjust, .. }) => {
                Standing::Verdict { verdict: *verdict, message: message.clone(), adjust: *adjust }
            }
            RunResult::TimedOut { after } => Standing::Verdict {
                verdict: Verdict::Fail,
                message: format!("timed out after {} ms", after.as_millis()),
                adjust: None,
            },
            RunResult::Error { reason } => {
                Standing::Error { reason: reason.clone(), last: self.standing.verdict() }
            }
        }
    }
}
