//! The configuration as the daemon uses it: typed, in range, with every default filled in.
//!
//! [`Check`], [`Grants`] and [`Limits`] go through the pipe to the checker process and can be serialized. All types compare by
//! value, so that a reload can find out what is new, gone or changed.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_health::{Influence, Thresholds};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Priority, Version, Vrid};

use crate::grants::Grants;

/// The default path of the control socket.
pub const DEFAULT_CONTROL: &str = "/run/vouchd/control.sock";

/// The default path of the main configuration file.
pub const DEFAULT_FILE: &str = "/etc/vouchd/vouchd.toml";

/// `[daemon]`: settings of the daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    /// This router's name in logs and status. `None`: the host name.
    pub name: Option<String>,
    /// The operator's plugins. The daemon watches this directory.
    pub plugin_dir: PathBuf,
    /// The plugins that come with the daemon. One of the same name in `plugin_dir` replaces one of these.
    pub builtin_plugin_dir: PathBuf,
    /// Public keys of minisign: a plugin needs a signature by one of them. Empty: no plugin needs a signature.
    pub plugin_keys: Vec<String>,
    /// The path of the control socket.
    pub control: PathBuf,
    /// The directory for compiled plugins. `None`: every start compiles them again.
    pub cache_dir: Option<PathBuf>,
    /// The user that the checker process runs as. `None`: `vouchd` if it exists, else `nobody`.
    pub user: Option<String>,
    /// How long the checker may be gone before all checks count as errors.
    pub error_grace: Duration,
    /// Whether the protocol thread asks for real-time scheduling and locked memory.
    pub realtime: bool,
}

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

/// `[instance.NAME]`: one virtual router.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// Unique among the instances.
    pub name: String,
    /// The name of the network interface. It need not exist.
    pub interface: String,
    /// Unique among the instances on the same interface.
    pub vrid: Vrid,
    /// The base priority, 1 to 255; 255 owns the addresses.
    pub priority: Priority,
    /// The VRRP version to send and to accept.
    pub version: Version,
    /// Advertisement_Interval of this router.
    pub advert_interval: AdvertInterval,
    /// The authentication of version 2.
    pub auth: Auth,
    /// Whether to take over from an active router of lower priority.
    pub preempt: bool,
    /// 1 to 255 different addresses of one family.
    pub addresses: Vec<VirtualAddress>,
    /// `None`: multicast.
    pub unicast: Option<Unicast>,
    /// In file order; each check at most once.
    pub checks: Vec<CheckUse>,
    /// Whether addresses are installed with a limited lifetime and renewed.
    pub lease: bool,
    /// Whether to take over copies of the addresses that vouchd did not install. Never for an owner.
    pub adopt: bool,
    /// The checksum form to send. Both are accepted.
    pub checksum: ChecksumForm,
    /// How to announce the addresses.
    pub garp: Garp,
}

/// An address that only the active router has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length to install it with, 1 to 32.
    pub prefix: u8,
}

/// Advertisements by unicast to configured peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unicast {
    /// The address to send from; never one of `peers`.
    pub source: IpAddr,
    /// At least one; no two the same.
    pub peers: Vec<IpAddr>,
}

/// A check that an instance lists.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckUse {
    /// The name of a check in [`Config::checks`](crate::Config::checks).
    pub check: String,
    /// The check's influence, with this instance's overrides.
    pub influence: Influence,
}

/// Gratuitous ARP of an active router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Garp {
    /// Packets per address on becoming active, and again after `delay`.
    pub repeat: u32,
    /// The time until the second round. Zero: no second round.
    pub delay: Duration,
    /// The interval of further announcements. Zero: none.
    pub refresh: Duration,
    /// Packets per address in each of these.
    pub refresh_repeat: u32,
}

impl Default for Garp {
    fn default() -> Self {
        Garp { repeat: 5, delay: Duration::from_secs(5), refresh: Duration::ZERO, refresh_repeat: 1 }
    }
}
