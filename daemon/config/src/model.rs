//! The configuration as the daemon uses it: typed, in range, with every default filled in.
//!
//! What crosses the pipe to the checker process ([`Check`], [`Grants`], [`Limits`]) can be serialized. Everything compares
//! by value, so that a reload can tell what is new, gone or changed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_health::{Influence, Thresholds};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Priority, Version, Vrid};

use crate::grants::Grants;

/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = "/run/vouchd/control.sock";

/// Where the main configuration file is unless a command says otherwise.
pub const DEFAULT_FILE: &str = "/etc/vouchd/vouchd.toml";

/// `[daemon]`: what the process as a whole does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// This router's name in logs and status. None: the host name.
    pub name: Option<String>,
    /// The operator's plugins, watched.
    pub plugin_dir: PathBuf,
    /// The plugins that come with the daemon; one of the same name in `plugin_dir` wins.
    pub builtin_plugin_dir: PathBuf,
    /// Public keys of minisign: a plugin needs a signature by one of them. None: no plugin needs one.
    pub plugin_keys: Vec<String>,
    /// The control socket.
    pub control: PathBuf,
    /// Where compiled plugins are kept. None: nowhere, every start compiles.
    pub cache_dir: Option<PathBuf>,
    /// The user that the checker process becomes. None: `vouchd` if there is one, else `nobody`.
    pub user: Option<String>,
    /// How long the checker may be gone before its checks count as errors.
    pub error_grace: Duration,
    /// Whether the protocol thread asks for real-time scheduling and locked memory.
    pub realtime: bool,
}

/// `[check.NAME]`: a plugin with parameters, run at an interval.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub name: String,
    /// The plugin's file name without `.wasm`.
    pub plugin: String,
    /// The only file that may run as this plugin: SHA-256 of its bytes in lower-case hex. None: any.
    pub sha256: Option<String>,
    /// In file order. Tables are flattened to `outer.inner`, an array is the same key several times.
    pub params: Vec<(String, String)>,
    pub interval: Duration,
    /// A run that takes longer counts as a failure. May be longer than the interval: runs never overlap.
    pub timeout: Duration,
    /// Used instead of `interval` while the verdict is about to change. Not longer than `interval`.
    pub fast_interval: Duration,
    pub thresholds: Thresholds,
    /// What the check costs an instance that does not say otherwise.
    pub influence: Influence,
    pub grants: Grants,
    pub limits: Limits,
    /// For plugins that are programs.
    pub exit_codes: ExitCodes,
}

/// What the exit status of a program says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitCodes {
    /// 0 is pass, anything else is fail.
    #[default]
    Plain,
    /// 0 is pass, 1 warn, 2 fail, 3 an error of the check; anything else is fail.
    Nagios,
}

/// What one run may use. Passing a limit is an error of the check, not a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Linear memory, in bytes.
    pub memory: u64,
    /// Time spent computing, not waiting.
    pub cpu: Duration,
    /// Elements of all tables together.
    pub table_elements: u32,
    /// Bytes of report (message and metrics) and of printed output, each.
    pub output: u64,
    /// Lines that a run may log; more are dropped.
    pub log_lines: u32,
    /// Connections open at the same time.
    pub connections: u32,
    /// Probes that a run may make.
    pub probes: u32,
    /// Bytes that one probe carries in each direction, and that are read of one file.
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

/// `[instance.NAME]`: one virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    pub name: String,
    pub interface: String,
    pub vrid: Vrid,
    /// The base priority, 1 to 255; 255 owns the addresses.
    pub priority: Priority,
    pub version: Version,
    pub advert_interval: AdvertInterval,
    pub auth: Auth,
    /// Whether to take over from an active router of lower priority.
    pub preempt: bool,
    /// 1 to 255 addresses, no two the same.
    pub addresses: Vec<VirtualAddress>,
    /// None: multicast.
    pub unicast: Option<Unicast>,
    /// In file order, no check twice.
    pub checks: Vec<CheckUse>,
    /// Whether addresses are installed with a lifetime and renewed.
    pub lease: bool,
    /// Whether copies of the addresses that are not vouchd's are taken over. Never of an owner.
    pub adopt: bool,
    /// The form of the checksum that is sent. What is received may have either.
    pub checksum: ChecksumForm,
    pub garp: Garp,
}

/// An address that moves with the active state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    pub ip: IpAddr,
    /// The prefix length with which it is installed, 1 to 32.
    pub prefix: u8,
}

/// Advertisements to known peers instead of multicast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unicast {
    /// Our own address, never one of `peers`.
    pub source: IpAddr,
    /// At least one, no two the same.
    pub peers: Vec<IpAddr>,
}

/// A check that an instance depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckUse {
    /// The name of a check in [`Config::checks`](crate::Config::checks).
    pub check: String,
    /// The check's own influence with this instance's changes.
    pub influence: Influence,
}

/// Gratuitous ARP after becoming active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garp {
    /// Announcements per address, at once and again after `delay`.
    pub repeat: u32,
    /// Until the second round. Zero: no second round.
    pub delay: Duration,
    /// Between announcements while active. Zero: none.
    pub refresh: Duration,
    /// Announcements per address at each refresh.
    pub refresh_repeat: u32,
}

impl Default for Garp {
    fn default() -> Self {
        Garp { repeat: 5, delay: Duration::from_secs(5), refresh: Duration::ZERO, refresh_repeat: 1 }
    }
}
