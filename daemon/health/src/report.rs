//! The result of one run of a check.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A check's judgement of the service that it watches, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The service works.
    Pass,
    /// The service works, but another router would serve better.
    Warn,
    /// The service does not work. The operator decides what that costs.
    Fail,
    /// This router must not be active, whatever the weight.
    Fault,
}

impl Verdict {
    /// The word for it in logs and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
            Verdict::Fault => "fault",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number that a plugin measured during a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// The plugin's name for it.
    pub name: String,
    /// In `unit`.
    pub value: f64,
    /// `s`, `B`, `%`, `c` (a counter), or empty.
    pub unit: String,
}

/// What a plugin reports about the service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The plugin's judgement.
    pub verdict: Verdict,
    /// One line for the operator.
    pub message: String,
    /// The change of priority that the plugin asks for, before it is clamped to the operator's range.
    pub adjust: Option<i16>,
    /// In the plugin's order.
    pub metrics: Vec<Metric>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    /// The plugin reported.
    Report(Report),
    /// The run exceeded its timeout. Counts as [`Verdict::Fail`], because this is what a hung service looks like.
    TimedOut {
        /// The timeout.
        after: Duration,
    },
    /// The check could not be carried out. This says nothing about the service.
    Error {
        /// Why, for the operator.
        reason: String,
    },
}
