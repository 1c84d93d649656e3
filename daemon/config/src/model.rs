//! The configuration as the daemon uses it: typed, in range, with every default filled in.
//!
//! [`Check`], [`Grants`] and [`Limits`] go through the pipe to the checker process and can be serialized. All types compare by
//! value, so that a reload can find out what is new, gone or changed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vouchd_health::{Influence, Thresholds};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};

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
    /// How long after the boot of the machine the instances begin to take part.
    pub delay_after_boot: Duration,
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
    /// Whether to send and accept version 2 too, for the time in which a group of routers moves from version 2 to 3
    /// (RFC 9568 section 8.4). Only with version 3, over IPv4.
    pub also_version_2: bool,
    /// Advertisement_Interval of this router.
    pub advert_interval: AdvertInterval,
    /// The simple text authentication of version 2.
    pub auth: Auth,
    /// The authentication by HMAC, in both versions. Never together with a simple text password.
    pub hmac: Option<Hmac>,
    /// Whether to take over from an active router of lower priority.
    pub preempt: bool,
    /// How long to wait before taking over from an active router of lower priority. Zero: a down interval only.
    pub preempt_delay: Duration,
    /// The intervals of silence in Active_Down_Interval, 1 to 100; 3 in every RFC.
    pub down_timer_adverts: u8,
    /// How long after the start of the daemon the instance begins to take part.
    pub startup_delay: Duration,
    /// How many routers the virtual router has, if the operator says so. With 2, hand-over is instant.
    pub routers: Option<u8>,
    /// The virtual addresses, in advertisements: at most 255 of each family, no two the same. With both families the
    /// instance is two virtual routers that share their state. The first IPv6 address is link-local. May be empty.
    pub addresses: Vec<VirtualAddress>,
    /// Further addresses that only the active router has, which no advertisement names. Any family.
    pub extra_addresses: Vec<VirtualAddress>,
    /// The families of the advertisements: those of `addresses`, or of the sources and peers if there are none.
    pub families: Vec<Family>,
    /// `None`: multicast.
    pub unicast: Option<Unicast>,
    /// The group and the source of multicast advertisements.
    pub multicast: Multicast,
    /// Whether the active router uses the virtual MAC address, on an interface of its own (macvlan).
    pub virtual_mac: Option<VirtualMac>,
    /// Accept_Mode: whether the active router accepts packets to the virtual addresses. Always true for an owner.
    pub accept: bool,
    /// The interfaces, besides its own, that the instance needs or prefers to be up.
    pub track: Vec<Track>,
    /// Whether the instance is in fault while its own interface is down. Without it the interface is still needed to send.
    pub track_link: bool,
    /// How long the interface, or a tracked one, must stay down or up before it counts. Zero: at once.
    pub link_delay: Duration,
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

impl Instance {
    /// The virtual router of one family: the instance with the addresses, sources, peers and groups of that family alone.
    /// `extra_addresses` stay with the first family.
    pub fn of_family(&self, family: Family) -> Instance {
        let is_of = |ip: &IpAddr| Family::of(*ip) == family;
        let mut instance = self.clone();
        instance.families = vec![family];
        instance.addresses.retain(|address| is_of(&address.ip));
        if self.families.first() != Some(&family) {
            instance.extra_addresses.clear();
        }
        if let Some(unicast) = &mut instance.unicast {
            unicast.sources.retain(is_of);
            unicast.peers.retain(|peer| is_of(&peer.address));
        }
        instance.multicast.groups.retain(is_of);
        instance.multicast.sources.retain(is_of);
        if family == Family::V6 {
            instance.version = Version::V3;
            instance.also_version_2 = false;
            instance.auth = Auth::None;
        }
        instance
    }
}

/// An address that only the active router has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length to install it with, 1 to 32 or 128.
    pub prefix: u8,
    /// The interface to install it on. `None`: the instance's own, or its virtual MAC's.
    pub interface: Option<String>,
    /// The address label (IPv4), `eth0:1`.
    pub label: Option<String>,
    /// The scope, RT_SCOPE_*: 0 global, 200 site, 253 link, 254 host.
    pub scope: u8,
    /// The broadcast address (IPv4). `None`: no broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Flags of the address, as in ip-address(8).
    pub flags: AddressFlags,
}

impl VirtualAddress {
    /// An address with this prefix length and nothing else.
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        VirtualAddress {
            ip,
            prefix,
            interface: None,
            label: None,
            scope: 0,
            broadcast: None,
            peer: None,
            flags: AddressFlags::default(),
        }
    }
}

/// Flags of an address (ip-address(8)). Duplicate address detection is always off for a virtual address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AddressFlags {
    /// `home` (IPv6): the home address of RFC 6275.
    pub home: bool,
    /// `mngtmpaddr` (IPv6): the kernel makes temporary addresses from it.
    pub manage_temporary: bool,
    /// `noprefixroute`: the kernel adds no route for the prefix.
    pub no_prefix_route: bool,
    /// `autojoin`: the kernel joins the multicast group.
    pub auto_join: bool,
    /// The preferred lifetime is zero: the kernel prefers other addresses as a source. Default for IPv6 addresses with a
    /// prefix length of 128.
    pub deprecated: bool,
}

/// Advertisements by unicast to configured peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unicast {
    /// The address to send from, one for each family; never one of `peers`.
    pub sources: Vec<IpAddr>,
    /// At least one of each family; no two the same.
    pub peers: Vec<Peer>,
}

/// Another router, reached by unicast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The smallest TTL or hop limit on arrival, 1 to 255. 255 in every RFC: no router lies between.
    pub hop_limit: u8,
}

/// Where multicast advertisements go and come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Multicast {
    /// The groups instead of 224.0.0.18 and ff02::12, at most one of each family.
    pub groups: Vec<IpAddr>,
    /// The addresses to send from instead of the interface's primary ones, at most one of each family.
    pub sources: Vec<IpAddr>,
}

/// The interface with the virtual MAC address 00:00:5e:00:01:VRID (IPv4) or 00:00:5e:00:02:VRID (IPv6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMac {
    /// Its name. `None`: `vrrp4.VRID` or `vrrp6.VRID`, with the index of the interface if that is taken.
    pub name: Option<String>,
}

/// Another interface whose state matters to an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Its name, or a pattern with `*` and `?`: at least one interface that matches must be up.
    pub interface: String,
    /// What is added to the priority: if negative while it is down, if positive while it is up. `None`: while it is down,
    /// the instance is in fault.
    pub weight: Option<i16>,
}

/// The authentication by HMAC (draft-cassen-vrrp-auth-hmac).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// The keys, each with another id. Packets with any of them are accepted.
    pub keys: Vec<HmacKey>,
    /// The id of the key to send with.
    pub active_key: u8,
    /// What to accept.
    pub mode: HmacMode,
    /// Whether a packet that is not newer than the last one of its sender is discarded.
    pub anti_replay: bool,
    /// How far the clocks of two routers may differ. `None`: by any time.
    pub time_window: Option<Duration>,
}

/// A key of HMAC-SHA256.
#[derive(Clone, PartialEq, Eq)]
pub struct HmacKey {
    /// 0 to 255.
    pub id: u8,
    /// 16 to 64 bytes.
    pub secret: Vec<u8>,
}

// Not derived: no log line may show a key.
impl fmt::Debug for HmacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HmacKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a router with HMAC keys accepts, so that a group can be moved to HMAC node by node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HmacMode {
    /// Sends the trailer; accepts packets without one, and does not check those with one.
    SendOnly,
    /// Sends the trailer; accepts packets without one, and checks those with one.
    AcceptEither,
    /// Sends the trailer; accepts only packets with a right one.
    #[default]
    Require,
}

/// `[group.NAME]`: instances that are active together or not at all (a sync group).
///
/// The checks and tracked interfaces of the group are already added to each of its instances.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Unique among the groups.
    pub name: String,
    /// Names of at least two instances, in file order, each in one group only.
    pub instances: Vec<String>,
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
