//! What `vouchd status --json` prints: the document that the router sends over its control socket.
//!
//! Times are RFC 3339 in UTC, durations are seconds. Fields are added, never renamed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};
use vouchd_health::{CheckStatus, Metric, Term};

use crate::pipe::PluginState;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// The router's name, `daemon.name`.
    pub name: String,
    /// The router's process id.
    pub pid: u32,
    /// When the daemon started.
    pub since: String,
    /// What was loaded, and what is wrong with a newer configuration on disk.
    pub config: ConfigState,
    /// The process that runs the plugins.
    pub checker: Checker,
    /// One per `[instance.…]` and family: one with addresses of both families is two virtual routers of the same name.
    pub instances: Vec<Instance>,
    /// The interfaces of the instances.
    pub interfaces: Vec<Interface>,
    /// One per `[check.…]`.
    pub checks: Vec<Check>,
    /// All plugins in the plugin directories.
    pub plugins: Vec<Plugin>,
}

/// The configuration that runs, and what is wrong with a newer one on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigState {
    /// The main file and the drop-ins.
    pub files: Vec<String>,
    /// When the configuration that runs was loaded.
    pub loaded_at: String,
    /// Why the files on disk can't be used; the configuration loaded before stays in force.
    pub error: Option<String>,
    /// Warnings about the configuration that runs.
    pub warnings: Vec<String>,
    /// The first of the files whose file system does not answer, and since when; shown as `error`.
    #[serde(skip)]
    pub no_answer: Option<(PathBuf, Instant)>,
}

impl ConfigState {
    /// The state with `no_answer` turned into an `error` that says how long it has lasted at `now`.
    pub fn at(mut self, now: Instant) -> Self {
        if let Some((path, since)) = self.no_answer.take() {
            let silent = now.saturating_duration_since(since).as_secs();
            let no_answer = format!(
                "the file system of {} has not answered for {silent} s; keeping its previous contents",
                path.display()
            );
            self.error = Some(self.error.map_or(no_answer.clone(), |error| format!("{no_answer}\n{error}")));
        }
        self
    }
}

/// The process that runs the plugins.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Checker {
    /// Its process id; `None` while it is not running.
    pub pid: Option<u32>,
    /// How many times it had to be restarted.
    pub restarts: u64,
    /// Why it last ended.
    pub error: Option<String>,
    /// When it last ended.
    #[serde(default)]
    pub lost_at: Option<String>,
}

/// A virtual router of this node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name in the configuration.
    pub name: String,
    /// The interface that it runs on.
    pub interface: String,
    /// The family of its advertisements: `IPv4` or `IPv6`.
    #[serde(default)]
    pub family: String,
    /// 1 to 255.
    pub virtual_router_id: u8,
    /// The version of VRRP, 2 or 3.
    pub version: u8,
    /// `initialize`, `backup` or `active`.
    pub state: String,
    /// Why it is in this state, in words.
    pub reason: String,
    /// The reason as one stable word: `silence`, `better`, `link_down`, …
    #[serde(default)]
    pub cause: String,
    /// When it entered this state.
    pub since: String,
    /// Whether it takes over from an active router with a lower priority.
    pub preempt: bool,
    /// Of a virtual router with two routers: `instant`, or `off: ` and why hand-over takes a Skew_Time.
    #[serde(default)]
    pub pair: Option<String>,
    /// The virtual routers that it is active together with, or not at all.
    #[serde(default)]
    pub group: Option<Group>,
    /// Its priority, and what it is made of.
    pub priority: Priority,
    /// The address that it sends from; `None` while the interface can't be used.
    #[serde(default)]
    pub source: Option<String>,
    /// The active router, as far as known; this router itself while it is active.
    pub active: Option<Active>,
    /// The other routers heard, and configured peers not heard.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Its virtual addresses.
    pub addresses: Vec<Address>,
    /// The virtual routes.
    #[serde(default)]
    pub routes: Vec<Routing>,
    /// The virtual rules.
    #[serde(default)]
    pub rules: Vec<Routing>,
    /// Whether vouchd takes over copies of its addresses that somebody else installed.
    #[serde(default)]
    pub adopt: bool,
    /// The interface with the virtual MAC, if the instance uses one.
    #[serde(default)]
    pub virtual_mac: Option<VirtualMac>,
    /// Whether this host accepts packets to the addresses while it is active.
    #[serde(default = "accepted")]
    pub accept: bool,
    /// Why it accepts them although it should not.
    #[serde(default)]
    pub accept_error: Option<String>,
    /// Counters of advertisements.
    pub advertisements: Advertisements,
    /// Changes of state since the daemon started.
    pub transitions: u64,
    /// Elections that this router called by yielding.
    pub elections_called: u64,
}

impl Instance {
    /// Its name for a person: with the family if `all` has another one of the same name.
    pub fn title(&self, all: &[Instance]) -> String {
        let has_twin = all.iter().any(|other| other.name == self.name && other.family != self.family);
        if has_twin { format!("{} ({})", self.name, self.family) } else { self.name.clone() }
    }
}

fn accepted() -> bool {
    true
}

/// The interface with the virtual MAC of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VirtualMac {
    /// Its name.
    pub name: String,
    /// The virtual MAC address.
    pub mac: String,
    /// `up`, `down` or `missing`. It is up while the instance is active.
    pub state: String,
    /// Why it cannot be used.
    pub error: Option<String>,
    /// What could not be set, although it can be used.
    pub warning: Option<String>,
}

/// Virtual routers with one state: a `[group.NAME]`, or the two families of one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// The name of the group, or of the instance.
    pub name: String,
    /// All members, this one too: an instance's name, with its family if it has two.
    pub members: Vec<String>,
    /// How much the group lowers this member's priority, if that is more than its own checks do.
    pub lowers: Option<Lowered>,
}

/// What lowers the priority of a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lowered {
    /// By how much.
    pub by: i16,
    /// The member whose checks do.
    pub member: String,
    /// Which checks.
    pub reason: String,
}

/// An instance's priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Priority {
    /// The configured priority.
    pub base: u8,
    /// The priority after its checks; `None` while it takes no part in elections.
    pub effective: Option<u8>,
    /// What each check adds.
    pub terms: Vec<Term>,
}

/// The active router of a virtual router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    /// The address that it advertises from.
    pub address: String,
    /// The priority that it advertises.
    pub priority: u8,
    /// The form of the peer's checksum (v3 over IPv4): `pseudo-header` or `message-only`.
    pub checksum: Option<String>,
    /// The MAC address that it advertises from; `None` for this router itself.
    #[serde(default)]
    pub mac: Option<String>,
}

/// Another router, by the address that it sends from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// The address that it sends from.
    pub address: String,
    /// Whether it is one of `unicast.peers`.
    pub configured: bool,
    /// The virtual router id in its newest advertisement, discarded or not, if that could be read.
    pub virtual_router_id: Option<u8>,
    /// The priority in its newest advertisement, discarded or not, if that could be read.
    pub priority: Option<u8>,
    /// What the HMAC trailer of its newest accepted advertisement proves: `key 1`, the key of its sender; `missing`, nothing;
    /// or the reason to discard it, which the mode `send` ignores. `None` if this router has no keys, or accepted nothing.
    #[serde(default)]
    pub hmac: Option<String>,
    /// Accepted advertisements.
    pub accepted: u64,
    /// When the newest accepted one was received.
    pub last_accepted: Option<String>,
    /// Discarded advertisements, by reason.
    pub discarded: BTreeMap<String, u64>,
    /// When the newest discarded one was received.
    pub last_discarded: Option<String>,
    /// Why the newest discarded one was discarded.
    pub last_discard: Option<String>,
    /// Set while it advertises although another router is active: what is known about it, and what to do.
    pub claim: Option<String>,
    /// Whether it claims other addresses under the same virtual router id.
    #[serde(default)]
    pub other_addresses: bool,
}

/// A virtual address of an instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Address {
    /// The address.
    pub address: String,
    /// The length of its prefix.
    #[serde(default)]
    pub prefix: u8,
    /// Its interface, if the configuration places it on another one than the instance's.
    #[serde(default)]
    pub interface: Option<String>,
    /// Whether no advertisement names it (`extra_addresses`).
    #[serde(default)]
    pub extra: bool,
    /// Whether vouchd has put it on the interface.
    pub installed: bool,
    /// Whether the host has it of its own, so that vouchd uses it unchanged.
    #[serde(default)]
    pub host: bool,
    /// Why it could not be installed, renewed or removed; cleared once that has worked.
    pub error: Option<String>,
    /// The MAC address heard to answer for it while this router is not active.
    #[serde(default)]
    pub answered_by: Option<String>,
    /// Set if another machine answered for it while this router was active.
    #[serde(default)]
    pub conflict: Option<Conflict>,
    /// Copies on the interface that vouchd did not install. Empty for an owner.
    #[serde(default)]
    pub copies: Vec<Copy>,
}

/// A route or a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Routing {
    /// As in ip-route(8) or ip-rule(8), in the shortest form.
    pub text: String,
    /// Whether vouchd has installed it and it is there.
    pub installed: bool,
    /// Why it could not be installed or removed; cleared once that has worked.
    pub error: Option<String>,
}

/// Another machine that answers for an address of an active router.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conflict {
    /// The MAC address that answered last.
    pub mac: String,
    /// Answers heard since the instance started.
    pub count: u64,
    /// When the last one was heard.
    pub last: String,
    /// When the conflict began, while it lasts.
    #[serde(default)]
    pub since: Option<String>,
}

/// A virtual address that somebody else put on the interface: this host answers for it even as a backup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// The interface that has it.
    pub interface: String,
    /// The address with its prefix length.
    pub address: String,
    /// Whether it is the interface's own address, so that the instance can't take part.
    pub own: bool,
}

/// Counters of advertisements since the daemon started.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Advertisements {
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements sent with priority 0; part of `sent`.
    pub sent_priority_zero: u64,
    /// Advertisements that could not be sent.
    pub send_errors: u64,
    /// Why the newest of them could not be sent.
    #[serde(default)]
    pub send_error: Option<String>,
    /// Advertisements accepted.
    pub received: u64,
    /// Advertisements accepted with priority 0; part of `received`.
    pub received_priority_zero: u64,
    /// Advertisements discarded, by reason.
    pub discarded: BTreeMap<String, u64>,
}

/// An interface that instances run on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// `up`, or why it can't be used.
    pub state: String,
    /// The address that is sent from.
    pub source: Option<String>,
    /// Set if vouchd had to set `promote_secondaries`, or could not, so that the kernel does not delete addresses of the
    /// host together with vouchd's.
    #[serde(default)]
    pub promote_secondaries: Option<String>,
    /// Packets received for virtual routers that are not configured here.
    pub other_virtual_routers: u64,
}

/// A check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its name in the configuration.
    pub name: String,
    /// The name of its plugin.
    pub plugin: String,
    /// `waiting`, `pass`, `warn`, `fail`, `fault`, or `error`.
    pub verdict: String,
    /// What the plugin said, or the reason of the error.
    pub message: String,
    /// Since when the verdict has been this one.
    pub since: String,
    /// The newest run.
    pub last_run: Option<LastRun>,
    /// Runs so far.
    pub runs: u64,
    /// Runs that ended neither `pass` nor `warn`.
    pub failures: u64,
    /// Runs that were due while one was still in flight.
    pub skipped: u64,
    /// When it runs next.
    pub next_run: Option<String>,
}

/// The newest run of a check, which need not have changed the verdict yet (`rise`, `fall`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it ended.
    pub at: String,
    /// Wall clock time in seconds.
    pub duration: f64,
    /// CPU time in seconds.
    pub cpu: f64,
    /// The peak of the plugin's memory in bytes.
    pub memory: u64,
    /// The verdict; `None` if the check could not be carried out, see `error`.
    pub verdict: Option<String>,
    /// What the plugin said.
    pub message: String,
    /// Why the check could not be carried out.
    pub error: Option<String>,
    /// What the plugin measured.
    pub metrics: Vec<Metric>,
}

/// A plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// The file's name without `.wasm`.
    pub name: String,
    /// `component`, `module` or `command`; `None` while no version could be loaded.
    pub kind: Option<String>,
    /// The digest of the version that runs.
    pub sha256: Option<String>,
    /// The file.
    pub source: String,
    /// When the version that runs was loaded.
    pub loaded_at: Option<String>,
    /// Whether its code came from the cache instead of being compiled.
    #[serde(default)]
    pub from_cache: Option<bool>,
    /// How long compiling took, in seconds.
    #[serde(default)]
    pub compile_time: Option<f64>,
    /// Why the newest file does not run.
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

/// A time in the document's form.
pub fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

/// What is waited for, and for how long: `since` is Unix time in seconds.
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
