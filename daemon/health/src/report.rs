//! What one run of a check found out.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a check says about the thing that it watches, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Works.
    Pass,
    /// Works, but another router would serve better.
    Warn,
    /// Does not work. What that costs is the operator's choice.
    Fail,
    /// This router must not be active, whatever it costs.
    Fault,
}

impl Verdict {
    /// Its word, as in logs and status.
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
    pub name: String,
    pub value: f64,
    /// `s`, `B`, `%`, `c`, or empty.
    pub unit: String,
}

/// What a plugin reports when it could carry out its check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub verdict: Verdict,
    /// One line for the operator.
    pub message: String,
    /// The plugin's own wish for the priority, before the operator's range is applied.
    pub adjust: Option<i16>,
    pub metrics: Vec<Metric>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunResult {
    Report(Report),
    /// Not finished within its timeout. Counts as [`Verdict::Fail`]: a hung service looks like that.
    TimedOut {
        after: Duration,
    },
    /// The check could not be carried out; says nothing about the service.
    Error {
        reason: String,
    },
}
