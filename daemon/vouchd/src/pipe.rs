//! What the router and the checker say to each other: one JSON message a datagram, over a `SOCK_SEQPACKET` pair.
//!
//! The checker is not trusted: what it sends is bounded in size, typed, and can do no more than say how a run ended.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_config::Check;
use vouchd_health::RunResult;
use vouchd_plugin::{CacheKey, CacheSettings};

/// Longest message in bytes. A report's message and metrics are capped far below it.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// The descriptor at which the checker finds its end of the pair: its standard input.
pub const CHECKER_FD: i32 = 0;

/// How often the checker says that it is alive.
pub const HEARTBEAT: Duration = Duration::from_millis(250);

/// Router to checker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToChecker {
    /// Always the first message.
    Init(Init),
    /// One check; sent after `Init`, one message each. After `Start`: a check that is new or has changed (which replaces
    /// the one of the same name, its memo included).
    Check(Box<Check>),
    /// A check that is no longer configured.
    Forget { check: String },
    /// All checks that were configured at start have been sent: run them.
    Start,
    /// The status of a check is about to change (run it at its fast interval), or no longer.
    Pace { check: String, fast: bool },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Init {
    pub plugin_dir: PathBuf,
    pub builtin_plugin_dir: PathBuf,
    /// Public keys; none: plugins need no signature.
    pub plugin_keys: Vec<String>,
    pub cache: Option<Cache>,
}

/// Where compiled plugins are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    pub directory: PathBuf,
    pub key: Secret,
}

impl From<Cache> for CacheSettings {
    fn from(cache: Cache) -> Self {
        CacheSettings { directory: cache.directory, key: CacheKey(cache.key.0) }
    }
}

/// What nobody but the daemon may know.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Secret(pub [u8; 32]);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Checker to router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromChecker {
    Heartbeat,
    /// A run has ended.
    Run(RunDone),
    /// A plugin file was loaded, failed to load, or is gone. Sent for every file at start.
    Plugin(PluginState),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDone {
    pub check: String,
    pub result: RunResult,
    pub duration: Duration,
    /// CPU time spent in the plugin's own code.
    pub cpu: Duration,
    /// Peak of the plugin's memory in bytes.
    pub memory: u64,
    /// Runs that were due while one was still in flight, since the last message.
    pub skipped: u64,
    /// Until the next run, as planned now.
    pub next_in: Duration,
    /// What the plugin logged; capped by the host.
    pub log: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// `debug`, `info`, `warn`, `error`.
    pub level: String,
    pub message: String,
}

/// A plugin as `status` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginState {
    /// File name without `.wasm`.
    pub name: String,
    pub source: PathBuf,
    /// The version that runs; none if no version ever loaded, or the file is gone.
    pub loaded: Option<LoadedPlugin>,
    /// Why the newest file does not run.
    pub error: Option<String>,
    /// What became of the newest file is not known yet.
    pub pending: Option<Pending>,
    /// There is no file any more.
    pub is_gone: bool,
}

/// What a plugin's file waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// What is said of the plugin: `is being compiled`.
    pub what: String,
    /// Unix time in seconds.
    pub since: u64,
    /// It takes longer than usual: worth a line in the log.
    pub is_long: bool,
}

impl PluginState {
    /// What keeps the plugin from running at all: the file is pending, and no earlier version runs.
    pub fn awaited(&self) -> Option<&Pending> {
        self.pending.as_ref().filter(|_| self.loaded.is_none())
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadedPlugin {
    /// `component`, `module` or `command`.
    pub kind: String,
    pub sha256: String,
    /// Unix time in seconds.
    pub loaded_at: u64,
    /// How long compiling took; none if it had been compiled before.
    pub compiled_in: Option<Duration>,
}
