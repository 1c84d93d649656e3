//! The state of interfaces and their own addresses, and news about it.

mod table;
mod watcher;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use vouchd_wire::Family;
pub use watcher::{LinkEvents, LinkWatcher};

/// An interface to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name. It need not exist yet.
    pub interface: String,
    /// The families of the virtual routers on it. Addresses of others are not reported.
    pub families: BTreeSet<Family>,
    /// The virtual addresses of all instances on it. None of them counts as the interface's own address while it has
    /// another one.
    pub addresses: BTreeSet<IpAddr>,
    /// Configured sources of advertisements. They may be on another interface, or on loopback.
    pub sources: BTreeSet<IpAddr>,
}

/// The state of an interface, as far as it matters to a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It can carry packets.
    Up {
        /// The interface index. When it changes, the interface was deleted and created again: open new sockets.
        index: u32,
        /// The MAC address; `None` unless the link is Ethernet.
        mac: Option<[u8; 6]>,
        /// The primary address of each family, from which advertisements are sent.
        sources: Sources,
        /// All usable addresses that are not ours, the primary one first, then the configured sources that are on other
        /// interfaces. A configured source must be one of them.
        addresses: Vec<IpAddr>,
    },
    /// It exists but cannot carry packets.
    Down {
        /// As in `Up`.
        index: u32,
        /// The reason.
        reason: DownReason,
        /// As in `Up`.
        mac: Option<[u8; 6]>,
        /// As in `Up`: for a router that goes on without its interface.
        sources: Sources,
        /// As in `Up`.
        addresses: Vec<IpAddr>,
    },
    /// There is no interface of that name.
    Missing,
}

/// The primary address of an interface in each family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sources {
    /// The primary IPv4 address.
    pub v4: Option<Ipv4Addr>,
    /// A link-local address, usable (RFC 9568 section 5.1.2.1).
    pub v6: Option<Ipv6Addr>,
}

impl Sources {
    /// The address of one family.
    pub fn of(&self, family: Family) -> Option<IpAddr> {
        match family {
            Family::V4 => self.v4.map(IpAddr::V4),
            Family::V6 => self.v6.map(IpAddr::V6),
        }
    }
}

/// Why an interface is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// Switched off (`ip link set … down`).
    SwitchedOff,
    /// Switched on but without a carrier: cable, switch port, or the device below it.
    NoCarrier,
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { sources, .. } => match (sources.v4, sources.v6) {
                (Some(v4), Some(v6)) => write!(f, "up, addresses {v4} and {v6}"),
                (Some(v4), None) => write!(f, "up, address {v4}"),
                (None, Some(v6)) => write!(f, "up, address {v6}"),
                (None, None) => f.write_str("up, but without an address of its own to send from"),
            },
            Self::Down { reason: DownReason::SwitchedOff, .. } => f.write_str("switched off"),
            Self::Down { reason: DownReason::NoCarrier, .. } => f.write_str("no carrier"),
            Self::Missing => f.write_str("does not exist"),
        }
    }
}

/// The new state of a watched interface. The first one is sent as soon as the interface is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkEvent {
    /// Its name.
    pub interface: String,
    /// Its state.
    pub state: LinkState,
}

/// Whether an interface can carry packets, whatever its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Switched on and with a carrier.
    Up,
    /// It exists but cannot carry packets.
    Down(DownReason),
    /// There is no interface of that name.
    Missing,
}

/// The new state of any interface of the host. The first list has all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarrierEvent {
    /// Its name.
    pub interface: String,
    /// Its state.
    pub carrier: Carrier,
}
