//! `[check.NAME]`: a plugin with parameters, and what its runs may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_health::{Influence, Thresholds};

use crate::grants::Grants;

/// `[check.NAME]`: a plugin with parameters, run at an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Unique among the checks.
    pub name: String,
    /// The plugin's file name without `.wasm`.
    pub plugin: String,
    /// The SHA-256, in lower-case hex, of the only file that may run as this plugin. `None`: any file.
    pub sha256: Option<String>,
    /// In file order. Tables are flattened to `outer.inner`; a list is the same key several times.
    pub params: Vec<(String, String)>,
    /// The time from the start of one run to the start of the next; 10 ms to 1 h.
    pub interval: Duration,
    /// A longer run counts as a failure. May exceed the interval: runs never overlap.
    pub timeout: Duration,
    /// Used instead of `interval` while the status is about to change. At most `interval`.
    pub fast_interval: Duration,
    /// `rise` and `fall`.
    pub thresholds: Thresholds,
    /// What the check costs an instance that does not override it.
    pub influence: Influence,
    /// `allow`: what its runs may reach.
    pub grants: Grants,
    /// What one run may use.
    pub limits: Limits,
    /// For WASI programs.
    pub exit_codes: ExitCodes,
}

/// What the exit status of a WASI program means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodes {
    /// 0 is pass, any other status is fail.
    #[default]
    Plain,
    /// 0 is pass, 1 warn, 2 fail, 3 an error of the check; any other status is fail.
    Nagios,
}

/// What one run may use. Exceeding a limit is an error of the check, not a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Time spent computing, without waiting.
    pub cpu: Duration,
    /// Elements of all WebAssembly tables together.
    pub table_elements: u32,
    /// Bytes of the report (message and metrics), and bytes of printed output.
    pub output: u64,
    /// Lines that a run may log. Further lines are dropped, which is no error.
    pub log_lines: u32,
    /// Connections open at the same time.
    pub connections: u32,
    /// Number of probes.
    pub probes: u32,
    /// Bytes that one probe may send, receive or read from a file.
    pub probe_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: 16 << 20,
            cpu: Duration::from_millis(500),
            table_elements: 10_000,
            output: 64 << 10,
            log_lines: 20,
            connections: 4,
            probes: 64,
            probe_bytes: 1 << 20,
        }
    }
}

/// A check that an instance lists.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckUse {
    /// The name of a check in [`Config::checks`](crate::Config::checks).
    pub check: String,
    /// The check's influence, with this instance's overrides.
    pub influence: Influence,
}
