//! Counts runs: one bad run is no failure yet, one good run no recovery yet.

use serde::{Deserialize, Serialize};

use crate::report::{Report, RunResult, Verdict};

/// How many runs in a row change the status of a check. Both are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Runs in a row better than the status that make it better.
    pub rise: u32,
    /// Runs in a row worse than the status that make it worse.
    pub fall: u32,
}

/// The status of a check, after its runs were counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// No run has ended yet.
    Waiting {
        /// What it waits for.
        reason: String,
    },
    /// The check judges the service.
    Verdict {
        /// Its verdict.
        verdict: Verdict,
        /// Its message to the operator.
        message: String,
        /// The change of priority that the plugin asks for, before it is clamped to the operator's range.
        adjust: Option<i16>,
    },
    /// The check can't be carried out.
    Error {
        /// Why.
        reason: String,
        /// The verdict and `adjust` before the error, for `on_error = "hold"`.
        last: Option<(Verdict, Option<i16>)>,
    },
}

impl CheckStatus {
    /// How bad it is; only the order matters. An error is worse than a failure, which at least is certain, and better than a
    /// fault, with which the plugin explicitly rules this router out.
    fn rank(&self) -> u8 {
        match self {
            CheckStatus::Waiting { .. } => 0,
            CheckStatus::Verdict { verdict: Verdict::Pass, .. } => 1,
            CheckStatus::Verdict { verdict: Verdict::Warn, .. } => 2,
            CheckStatus::Verdict { verdict: Verdict::Fail, .. } => 3,
            CheckStatus::Error { .. } => 4,
            CheckStatus::Verdict { verdict: Verdict::Fault, .. } => 5,
        }
    }

    fn verdict(&self) -> Option<(Verdict, Option<i16>)> {
        match self {
            CheckStatus::Waiting { .. } => None,
            CheckStatus::Verdict { verdict, adjust, .. } => Some((*verdict, *adjust)),
            CheckStatus::Error { last, .. } => *last,
        }
    }
}

/// The counter of one check.
#[derive(Debug, Clone)]
pub struct Counter {
    thresholds: Thresholds,
    status: CheckStatus,
    streak: Streak,
    /// The next result decides at once, because it is the first one, or the first after an interruption.
    undecided: bool,
}

/// How many runs in a row contradict the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Streak {
    None,
    Better(u32),
    Worse(u32),
}

impl Counter {
    /// Makes a counter without results; the first one decides at once.
    pub fn new(thresholds: Thresholds) -> Self {
        let status = CheckStatus::Waiting { reason: "no result yet".to_owned() };
        Counter { thresholds, status, streak: Streak::None, undecided: true }
    }

    /// Makes the counter of the same check under another configuration. The status stays until its next result, which decides
    /// at once.
    pub fn reconfigured(&self, thresholds: Thresholds) -> Self {
        Counter { status: self.status.clone(), ..Counter::new(thresholds) }
    }

    /// The status now.
    pub fn status(&self) -> &CheckStatus {
        &self.status
    }

    /// Whether the last runs contradict the status, so that the check should run at its fast interval.
    pub fn is_changing(&self) -> bool {
        self.streak != Streak::None
    }

    /// Counts one run. Returns whether the status changed in kind (another verdict, to or from an error).
    pub fn record(&mut self, result: &RunResult) -> bool {
        let seen = self.seen(result);
        let (now, current) = (seen.rank(), self.status.rank());
        if self.undecided {
            self.undecided = false;
            return self.set_status(seen);
        }
        if now == current {
            // The same kind, perhaps with a newer message.
            self.set_status(seen);
            return false;
        }
        let decided = if now > current {
            let n = match self.streak {
                Streak::Worse(n) => n + 1,
                Streak::None | Streak::Better(_) => 1,
            };
            self.streak = Streak::Worse(n);
            n >= self.thresholds.fall
        } else {
            let n = match self.streak {
                Streak::Better(n) => n + 1,
                Streak::None | Streak::Worse(_) => 1,
            };
            self.streak = Streak::Better(n);
            n >= self.thresholds.rise
        };
        decided && self.set_status(seen)
    }

    /// Sets the status to an error, because the checker was gone for longer than `error_grace`. The next result decides at
    /// once. Returns whether the status changed in kind.
    pub fn record_loss(&mut self, reason: &str) -> bool {
        self.undecided = true;
        let error = CheckStatus::Error { reason: reason.to_owned(), last: self.status.verdict() };
        self.set_status(error)
    }

    /// Notes that the check can't run yet and why (its plugin is being compiled, say). The kind of status stays, and the next
    /// result decides at once.
    pub fn record_wait(&mut self, why: &str) {
        self.undecided = true;
        self.streak = Streak::None;
        match &mut self.status {
            CheckStatus::Waiting { reason } | CheckStatus::Error { reason, .. } => why.clone_into(reason),
            CheckStatus::Verdict { .. } => {}
        }
    }

    fn set_status(&mut self, status: CheckStatus) -> bool {
        let changed = status.rank() != self.status.rank();
        self.status = status;
        self.streak = Streak::None;
        changed
    }

    fn seen(&self, result: &RunResult) -> CheckStatus {
        match result {
            RunResult::Report(Report { verdict, message, adjust, .. }) => {
                CheckStatus::Verdict { verdict: *verdict, message: message.clone(), adjust: *adjust }
            }
            RunResult::TimedOut { after } => CheckStatus::Verdict {
                verdict: Verdict::Fail,
                message: format!("timed out after {} ms", after.as_millis()),
                adjust: None,
            },
            RunResult::Error { reason } => CheckStatus::Error { reason: reason.clone(), last: self.status.verdict() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdict: Verdict) -> RunResult {
        RunResult::Report(Report { verdict, message: String::new(), adjust: None, metrics: Vec::new() })
    }

    fn error(reason: &str) -> RunResult {
        RunResult::Error { reason: reason.to_owned() }
    }

    fn counter(rise: u32, fall: u32, first: Verdict) -> Counter {
        let mut counter = Counter::new(Thresholds { rise, fall });
        assert!(counter.record(&run(first)));
        counter
    }

    fn verdict(counter: &Counter) -> Option<Verdict> {
        match counter.status() {
            CheckStatus::Verdict { verdict, .. } => Some(*verdict),
            CheckStatus::Waiting { .. } | CheckStatus::Error { .. } => None,
        }
    }

    #[test]
    fn first_result_decides_at_once_whatever_rise_and_fall_are() {
        for first in [Verdict::Pass, Verdict::Warn, Verdict::Fail, Verdict::Fault] {
            assert_eq!(verdict(&counter(5, 5, first)), Some(first));
        }
    }

    #[test]
    fn reconfigured_counter_keeps_the_verdict_until_the_next_result_decides() {
        let counter = counter(2, 2, Verdict::Fail).reconfigured(Thresholds { rise: 5, fall: 5 });
        assert_eq!(verdict(&counter), Some(Verdict::Fail));
        let mut counter = counter;
        assert!(counter.record(&run(Verdict::Pass)));
        assert_eq!(verdict(&counter), Some(Verdict::Pass));
        counter.record(&run(Verdict::Fail));
        assert_eq!(verdict(&counter), Some(Verdict::Pass), "counted as usual from there");
    }

    #[test]
    fn failure_counts_after_fall_runs_and_recovery_after_rise_runs() {
        let mut counter = counter(2, 3, Verdict::Pass);
        for current in [Verdict::Pass, Verdict::Pass, Verdict::Fail] {
            counter.record(&run(Verdict::Fail));
            assert_eq!(verdict(&counter), Some(current));
        }
        for current in [Verdict::Fail, Verdict::Pass] {
            counter.record(&run(Verdict::Pass));
            assert_eq!(verdict(&counter), Some(current));
        }
    }

    #[test]
    fn run_that_agrees_with_the_status_restarts_the_count() {
        let mut counter = counter(1, 2, Verdict::Pass);
        for seen in [Verdict::Fail, Verdict::Pass, Verdict::Fail] {
            counter.record(&run(seen));
            assert_eq!(verdict(&counter), Some(Verdict::Pass));
        }
        assert!(counter.is_changing());
        counter.record(&run(Verdict::Fail));
        assert_eq!(verdict(&counter), Some(Verdict::Fail));
        assert!(!counter.is_changing());
    }

    #[test]
    fn worse_runs_of_different_kinds_count_together_and_the_last_one_decides() {
        let mut counter = counter(1, 2, Verdict::Pass);
        counter.record(&run(Verdict::Fail));
        assert!(counter.record(&error("trapped")));
        assert_eq!(
            counter.status(),
            &CheckStatus::Error { reason: "trapped".to_owned(), last: Some((Verdict::Pass, None)) }
        );
    }

    #[test]
    fn timeout_counts_as_a_failure() {
        let mut counter = counter(1, 1, Verdict::Pass);
        assert!(counter.record(&RunResult::TimedOut { after: std::time::Duration::from_millis(500) }));
        assert_eq!(verdict(&counter), Some(Verdict::Fail));
    }

    #[test]
    fn second_error_keeps_the_verdict_from_before_the_first() {
        let mut counter = counter(1, 1, Verdict::Warn);
        counter.record(&error("a"));
        counter.record(&error("b"));
        assert_eq!(counter.status(), &CheckStatus::Error { reason: "b".to_owned(), last: Some((Verdict::Warn, None)) });
    }

    #[test]
    fn next_result_decides_at_once_after_the_checker_was_lost() {
        let mut counter = counter(3, 3, Verdict::Pass);
        assert!(counter.record_loss("the checker does not run"));
        assert!(matches!(counter.status(), CheckStatus::Error { .. }));
        assert!(counter.record(&run(Verdict::Pass)));
        assert_eq!(verdict(&counter), Some(Verdict::Pass));
    }

    #[test]
    fn waiting_check_keeps_its_status_and_the_next_result_decides_at_once() {
        let mut fresh = Counter::new(Thresholds { rise: 3, fall: 3 });
        fresh.record_wait("its plugin is being compiled");
        assert_eq!(fresh.status(), &CheckStatus::Waiting { reason: "its plugin is being compiled".to_owned() });
        let mut known = counter(3, 3, Verdict::Pass);
        known.record(&run(Verdict::Fail));
        known.record_wait("its plugin is being compiled");
        assert_eq!(verdict(&known), Some(Verdict::Pass));
        assert!(!known.is_changing());
        assert!(known.record(&run(Verdict::Fail)));
        let mut broken = counter(1, 1, Verdict::Pass);
        broken.record(&error("no plugin"));
        broken.record_wait("its plugin is being compiled");
        assert_eq!(
            broken.status(),
            &CheckStatus::Error {
                reason: "its plugin is being compiled".to_owned(),
                last: Some((Verdict::Pass, None))
            }
        );
    }

    proptest::proptest! {
        #[test]
        fn only_a_passing_run_leads_to_pass(results in proptest::collection::vec(0u8..5, 1..60), rise in 1u32..4, fall in 1u32..4) {
            let mut counter = Counter::new(Thresholds { rise, fall });
            for result in results {
                let run = match result {
                    0 => run(Verdict::Pass),
                    1 => run(Verdict::Warn),
                    2 => run(Verdict::Fail),
                    3 => run(Verdict::Fault),
                    _ => error("broken"),
                };
                let before = verdict(&counter);
                counter.record(&run);
                if verdict(&counter) == Some(Verdict::Pass) && before != Some(Verdict::Pass) {
                    proptest::prop_assert_eq!(result, 0);
                }
            }
        }
    }
}
