//! What goes into a run and what comes out of it.

use std::time::Duration;

use vouchd_config::{ExitCodes, Grants, Limits};
use vouchd_health::RunResult;
pub use vouchd_health::{LogLevel, LogLine};

use crate::probes::process::ProcessHandle;

/// A run to carry out.
pub struct Run<'a> {
    /// Name of the check in the configuration.
    pub check: &'a str,
    /// Parameters as the plugin gets them: names with the tables they lie in, values as text, in the order of the file.
    pub params: &'a [(String, String)],
    /// What the plugin may probe.
    pub grants: &'a Grants,
    /// What the plugin may use.
    pub limits: &'a Limits,
    /// Wall-clock time for starting the plugin and everything it does.
    pub timeout: Duration,
    /// The memo that the check's last run kept; empty at first.
    pub memo: Vec<u8>,
    /// What the exit status means, for a WASI command.
    pub exit_codes: ExitCodes,
}

/// The result of a run, what it used, and what it looked at.
#[derive(Debug)]
pub struct Outcome {
    /// The plugin's report, or why there is none.
    pub result: RunResult,
    /// Wall-clock time, without waiting for a turn to compute.
    pub duration: Duration,
    /// The part of `duration` before the plugin was called.
    pub instantiation: Duration,
    /// CPU time spent in the plugin's code and in the host on its behalf.
    pub cpu: Duration,
    /// Peak of the plugin's linear memories in bytes.
    pub memory: u64,
    /// What the plugin logged or printed, within the check's limits.
    pub log: Vec<LogLine>,
    /// The memo for the next run. `None`: the earlier one stays.
    pub memo: Option<Vec<u8>>,
    /// The probes that the plugin made, in order.
    pub probes: Vec<Probe>,
    /// What to watch until the next run.
    pub watch: Watch,
}

/// A probe that a run made, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// `process nginx`, `tcp 127.0.0.1:3306`, `http GET http://127.0.0.1/`.
    pub what: String,
    /// `2 found`, `connected`, `200`, or what went wrong.
    pub answer: String,
    /// Wall-clock time, of all calls if it is a connection.
    pub took: Duration,
}

/// What a run looked at. When one of these changes, the check should run again at once.
#[derive(Debug, Default)]
pub struct Watch {
    /// Processes that it found.
    pub processes: Vec<ProcessHandle>,
}
