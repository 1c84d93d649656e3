//! What `vouchd status --json` prints: the document that the router sends over its control socket.
//!
//! Times are RFC 3339 in UTC, durations are seconds. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use vouchd_health::{CheckStatus, Metric, Term};

use crate::pipe::PluginState;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// The router's name, `daemon.name`.
    pub name: String,
    pub pid: u32,
    pub since: String,
    pub config: ConfigState,
    pub checker: Checker,
    pub instances: Vec<Instance>,
    pub interfaces: Vec<Interface>,
    pub checks: Vec<Check>,
    pub plugins: Vec<Plugin>,
}

/// The configuration that runs, and what is wrong with a newer one on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigState {
    pub files: Vec<String>,
    pub loaded_at: String,
    /// The files on disk can't be used; what runs is what was loaded before.
    pub error: Option<String>,
    pub warnings: Vec<String>,
    /// The first of the files whose file system does not answer, and since when; told as `error`.
    #[serde(skip)]
    pub no_answer: Option<(PathBuf, Instant)>,
}

impl ConfigState {
    /// As it is shown at this moment.
    pub fn at(mut self, now: Instant) -> Self {
        if let Some((path, since)) = self.no_answer.take() {
            let silent = now.saturating_duration_since(since).as_secs();
            let no_answer = format!(
                "the file system under {} does not answer, for {silent} s; what it said before stays",
                path.display()
            );
            self.error = Some(self.error.map_or(no_answer.clone(), |error| format!("{no_answer}\n{error}")));
        }
        self
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checker {
    /// None: not running at the moment.
    pub pid: Option<u32>,
    /// Times that it had to be started again.
    pub restarts: u64,
    /// Why it ended last.
    pub error: Option<String>,
    /// When it ended last.
    #[serde(default)]
    pub lost_at: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    pub name: String,
    pub interface: String,
    pub virtual_router_id: u8,
    pub version: u8,
    /// `initialize`, `backup` or `active`.
    pub state: String,
    /// Why it is in this state, in words.
    pub reason: String,
    /// The same in one word that stays the same: `silence`, `better`, `link_down`, …
    #[serde(default)]
    pub cause: String,
    pub since: String,
    pub preempt: bool,
    pub priority: Priority,
    /// The address that it sends from; none while the interface can't be used.
    #[serde(default)]
    pub source: Option<String>,
    /// The active router, as far as known; this router itself while it is active.
    pub active: Option<Active>,
    /// The other routers that were heard, and the configured ones that were not.
    #[serde(default)]
    pub peers: Vec<Peer>,
    pub addresses: Vec<Address>,
    /// Whether copies of its addresses that are not vouchd's are taken over.
    #[serde(default)]
    pub adopt: bool,
    pub advertisements: Advertisements,
    /// Changes of state since the start.
    pub transitions: u64,
    /// Elections that this router has called by yielding.
    pub elections_called: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    pub base: u8,
    /// None while it takes no part in elections.
    pub effective: Option<u8>,
    pub terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    pub address: String,
    pub priority: u8,
    /// The form of the peer's checksum (v3 over IPv4): `pseudo-header` or `message-only`.
    pub checksum: Option<String>,
    /// The MAC address from which it advertises; none for this router itself.
    #[serde(default)]
    pub mac: Option<String>,
}

/// Another router, by the address that it sends from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    pub address: String,
    /// It is one of `unicast.peers`.
    pub configured: bool,
    /// What its newest advertisement named, discarded or not, as far as it could be read.
    pub virtual_router_id: Option<u8>,
    pub priority: Option<u8>,
    /// Advertisements that counted.
    pub accepted: u64,
    pub last_accepted: Option<String>,
    /// The others, by reason.
    pub discarded: BTreeMap<String, u64>,
    pub last_discarded: Option<String>,
    /// The reason of the newest one.
    pub last_discard: Option<String>,
    /// It advertises as an active router although another one is active: what is known about it, and what to do.
    pub claim: Option<String>,
    /// What it claims are other addresses, under the same virtual router id.
    #[serde(default)]
    pub other_addresses: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Address {
    pub address: String,
    /// The length of its prefix.
    #[serde(default)]
    pub prefix: u8,
    /// Whether the kernel has it on the interface, because of us.
    pub installed: bool,
    /// Whether the host has it anyway, so that it is used as it is.
    #[serde(default)]
    pub host: bool,
    /// Why it could not be installed, renewed or removed, until that has healed.
    pub error: Option<String>,
    /// The MAC address that answers for it while this router is not active, as far as heard.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// Another machine answered for it while this router was active.
    #[serde(default)]
    pub conflict: Option<Conflict>,
    /// Copies on the interface that are not vouchd's. Empty for an owner.
    #[serde(default)]
    pub copies: Vec<Copy>,
}

/// Another machine that answers for an address of an active router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The newest one's MAC address.
    pub mac: String,
    /// How often it was heard, since the instance was started.
    pub count: u64,
    pub last: String,
    /// While it goes on: since when.
    #[serde(default)]
    pub since: Option<String>,
}

/// A virtual address that somebody else put on the interface: while a backup, this host answers for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    pub interface: String,
    /// With its prefix length.
    pub address: String,
    /// It is the interface's own address, so the instance can't take part.
    pub own: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Advertisements {
    pub sent: u64,
    /// Of those, with priority 0.
    pub sent_priority_zero: u64,
    /// Could not be sent.
    pub send_errors: u64,
    /// Why the newest one could not be sent.
    #[serde(default)]
    pub send_error: Option<String>,
    pub received: u64,
    pub received_priority_zero: u64,
    /// By reason.
    pub discarded: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    /// `up`, or why it can't be used.
    pub state: String,
    pub source: Option<String>,
    /// That vouchd had to set `promote_secondaries`, or could not, lest addresses of the host go together with its own.
    #[serde(default)]
    pub promote_secondaries: Option<String>,
    /// Packets of virtual routers that are not configured here.
    pub other_virtual_routers: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    pub plugin: String,
    /// `waiting`, `pass`, `warn`, `fail`, `fault`, or `error`.
    pub verdict: String,
    pub message: String,
    pub since: String,
    pub last_run: Option<LastRun>,
    pub runs: u64,
    /// Runs that ended neither `pass` nor `warn`.
    pub failures: u64,
    /// Runs that were due while one was still in flight.
    pub skipped: u64,
    pub next_run: Option<String>,
}

/// The newest run, which need not have decided anything yet (`rise`, `fall`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    pub at: String,
    pub duration: f64,
    pub cpu: f64,
    /// Peak of the plugin's memory in bytes.
    pub memory: u64,
    /// None: the check could not be carried out, see `error`.
    pub verdict: Option<String>,
    pub message: String,
    pub error: Option<String>,
    pub metrics: Vec<Metric>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    pub name: String,
    /// `component` or `module`; none while no version could be loaded.
    pub kind: Option<String>,
    pub sha256: Option<String>,
    pub source: String,
    pub loaded_at: Option<String>,
    /// Whether it did not have to be compiled, because an earlier start had done that.
    #[serde(default)]
    pub from_cache: Option<bool>,
    /// Seconds that compiling took.
    #[serde(default)]
    pub compile_time: Option<f64>,
    pub error: Option<String>,
    /// What the newest file waits for, and for how long: `is being compiled, for 7 s`.
    #[serde(default)]
    pub pending: Option<String>,
}

impl From<&PluginState> for Plugin {
    fn from(state: &PluginState) -> Self {
        let loaded = state.loaded.as_ref();
        Plugin {
            name: state.name.clone(),
            kind: loaded.map(|loaded| loaded.kind.clone()),
            sha256: loaded.map(|loaded| loaded.sha256.clone()),
            source: state.source.display().to_string(),
            loaded_at: loaded
                .map(|loaded| time(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(loaded.loaded_at))),
            from_cache: loaded.map(|loaded| loaded.compiled_in.is_none()),
            compile_time: loaded.and_then(|loaded| loaded.compiled_in).map(|took| took.as_secs_f64()),
            error: state.error.clone(),
            pending: state.pending.as_ref().map(|pending| waiting(&pending.what, pending.since)),
        }
    }
}

/// A time as the document has it.
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// What is awaited, and for how long.
pub fn waiting(what: &str, since: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{what}, for {} s", now.saturating_sub(since))
}

/// The status of a check as the document has it: the verdict's word, and the message.
pub fn verdict(status: &CheckStatus) -> (&'static str, String) {
    match status {
        CheckStatus::Waiting { reason } => ("waiting", reason.clone()),
        CheckStatus::Verdict { verdict, message, .. } => (verdict.as_str(), message.clone()),
        CheckStatus::Error { reason, .. } => ("error", reason.clone()),
    }
}
