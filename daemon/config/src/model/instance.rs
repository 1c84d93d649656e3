//! `[instance.NAME]` and `[group.NAME]`: virtual routers.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_iproute::{Route, Rule};
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};

use super::{CheckUse, Hmac, VirtualAddress};

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
    /// Routes that only the active router has. Any family.
    pub routes: Vec<Route>,
    /// Rules of policy routing that only the active router has. Any family.
    pub rules: Vec<Rule>,
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
    /// `extra_addresses`, `routes` and `rules` stay with the first family.
    pub fn of_family(&self, family: Family) -> Instance {
        let is_of = |ip: &IpAddr| Family::of(*ip) == family;
        let mut instance = self.clone();
        instance.families = vec![family];
        instance.addresses.retain(|address| is_of(&address.ip));
        if self.families.first() != Some(&family) {
            instance.extra_addresses.clear();
            instance.routes.clear();
            instance.rules.clear();
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
    /// Its name. `None`: `vrrp4.VRID` or `vrrp6.VRID`, with `.2` and so on where several interfaces have that number.
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
