//! The messages between the router and the checker: one JSON message a datagram, over a `SOCK_SEQPACKET` pair.
//!
//! The router does not trust the checker. Messages from it are typed and bounded in size, and can report only how runs ended
//! and what is known of plugin files.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_config::Check;
use vouchd_health::{LogLine, RunResult};

use crate::cache::CacheSettings;

/// The longest message in bytes. The host caps a report's message and metrics far below it.
pub const MAX_MESSAGE: usize = 128 * 1024;

/// The descriptor that is the checker's end of the pair: its standard input.
pub const CHECKER_FD: i32 = 0;

/// The interval at which the checker reports that it is alive.
pub const HEARTBEAT: Duration = Duration::from_millis(250);

/// A message from the router to the checker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToChecker {
    /// Always the first message.
    Init(Init),
    /// A check, one per message, after `Init`. After `Start`, a new check, or a changed one, which replaces the check of that
    /// name and its memo.
    Check(Box<Check>),
    /// A check that is no longer configured.
    Forget {
        /// Its name.
        check: String,
    },
    /// All checks configured at the start have been sent: run them.
    Start,
    /// Sets the pace of a check: fast while its status is about to change.
    Pace {
        /// Its name.
        check: String,
        /// Whether to run it at its fast interval.
        fast: bool,
    },
}

/// What the checker needs from `[daemon]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Init {
    /// The operator's plugins.
    pub plugin_dir: PathBuf,
    /// The plugins that ship with vouchd.
    pub builtin_plugin_dir: PathBuf,
    /// Public keys. If empty, plugins need no signature.
    pub plugin_keys: Vec<String>,
    /// Where compiled plugins are kept; `None` if they can't be.
    pub cache: Option<CacheSettings>,
}

/// A message from the checker to the router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromChecker {
    /// The checker is alive.
    Heartbeat,
    /// A run has ended.
    Run(RunDone),
    /// A plugin file was loaded, failed to load, or is gone. Sent for every file at start.
    Plugin(PluginState),
}

/// A run that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDone {
    /// The name of the check.
    pub check: String,
    /// How it ended.
    pub result: RunResult,
    /// Wall clock time.
    pub duration: Duration,
    /// CPU time spent in the plugin's own code.
    pub cpu: Duration,
    /// The peak of the plugin's memory in bytes.
    pub memory: u64,
    /// Runs since the last message that were due while one was still in flight.
    pub skipped: u64,
    /// The time until the next run, as planned now.
    pub next_in: Duration,
    /// What the plugin logged; the host caps it.
    pub log: Vec<LogLine>,
}

/// A plugin file, and the version of it that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginState {
    /// File name without `.wasm`.
    pub name: String,
    /// The file.
    pub source: PathBuf,
    /// The version that runs; `None` if no version was ever loaded, or the file is gone.
    pub loaded: Option<LoadedPlugin>,
    /// Why the newest file does not run.
    pub error: Option<String>,
    /// What the newest file waits for, if it is not loaded yet.
    pub pending: Option<Pending>,
    /// Whether the file is gone.
    pub is_gone: bool,
}

/// What a plugin file waits for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// A verb phrase about the plugin: `is being compiled`.
    pub what: String,
    /// Unix time in seconds.
    pub since: u64,
    /// Whether it takes longer than usual, so that it is worth a line in the log.
    pub is_long: bool,
}

impl PluginState {
    /// What the plugin's first version waits for. `None` if a version runs.
    pub fn awaited(&self) -> Option<&Pending> {
        self.pending.as_ref().filter(|_| self.loaded.is_none())
    }
}

/// The version of a plugin that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadedPlugin {
    /// `component`, `module` or `command`.
    pub kind: String,
    /// The digest of the file, in lower-case hex.
    pub sha256: String,
    /// Unix time in seconds.
    pub loaded_at: u64,
    /// How long compiling took; `None` if the code came from the cache.
    pub compiled_in: Option<Duration>,
}
