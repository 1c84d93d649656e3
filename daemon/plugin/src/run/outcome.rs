//! What goes into a run and what comes out of it.

use std::time::Duration;

use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::RunResult;
pub use vouchd_health::{LogLevel, LogLine};

use crate::probes::process::ProcessHandle;

/// One run to be carried out.
pub struct Run<'a> {
    /// Name of the check in the configuration.
    pub check: &'a str,
    /// Flattened parameters in file order.
    pub params: &'a [(String, String)],
    pub grants: &'a Grants,
    pub limits: &'a Limits,
    /// Wall clock, for starting the plugin and everything it does.
    pub timeout: Duration,
    /// What the check's last run kept; empty at first.
    pub memo: Vec<u8>,
    /// For a program.
    pub exit_codes: ExitCodes,
}

/// How a run ended, what it used, and what it looked at.
#[derive(Debug)]
pub struct Outcome {
    pub result: RunResult,
    /// Wall clock, without waiting for a turn to compute.
    pub duration: Duration,
    /// Of the run's duration, until the plugin's instance was there to be called.
    pub instantiation: Duration,
    /// CPU time spent in the plugin's code and in the host on its behalf.
    pub cpu: Duration,
    /// Peak of the plugin's linear memories in bytes.
    pub memory: u64,
    /// What the plugin logged or printed, capped by the check's limits.
    pub log: Vec<LogLine>,
    /// To hand to the next run. None: keep what there is.
    pub memo: Option<Vec<u8>>,
    /// In the order they were made.
    pub probes: Vec<Probe>,
    pub watch: Watch,
}

/// A probe that a run made, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `process nginx`, `tcp 127.0.0.1:3306`, `http GET http://127.0.0.1/`.
    pub what: String,
    /// `2 found`, `connected`, `200`, or what went wrong.
    pub answer: String,
    pub took: Duration,
}

/// What a run looked at: when one of these changes, the check should run again at once.
#[derive(Debug, Default)]
pub struct Watch {
    pub processes: Vec<ProcessHandle>,
}
