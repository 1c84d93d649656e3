//! The state of interfaces and their own addresses, and news about it.

mod table;
mod watcher;

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

pub use watcher::LinkWatcher;

/// An interface to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name. It need not exist yet.
    pub interface: String,
    /// The virtual addresses of all instances on it. None of them counts as the interface's own address while it has
    /// another one.
    pub addresses: BTreeSet<Ipv4Addr>,
}

/// The state of an interface, as far as it matters to a router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// It is usable.
    Up {
        /// The interface index. When it changes, the interface was deleted and created again: open new sockets.
        index: u32,
        /// The MAC address; `None` unless the link is Ethernet.
        mac: Option<[u8; 6]>,
        /// The primary address, from which advertisements are sent.
        source: Ipv4Addr,
        /// All addresses that are not ours, the primary one first. A configured source must be one of them.
        addresses: Vec<Ipv4Addr>,
    },
    /// It is up but has no IPv4 address of its own.
    NoAddress {
        /// As in `Up`.
        index: u32,
        /// As in `Up`.
        mac: Option<[u8; 6]>,
    },
    /// It exists but cannot carry packets.
    Down {
        /// As in `Up`.
        index: u32,
        /// The reason.
        reason: DownReason,
    },
    /// There is no interface of that name.
    Missing,
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
            Self::Up { source, .. } => write!(f, "up, address {source}"),
            Self::NoAddress { .. } => f.write_str("up, but without an IPv4 address of its own"),
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
