//! What the caller reports to a router.

use std::net::IpAddr;

use vouchd_wire::Priority;

use crate::group::Order;

/// Something that happened, for [`crate::Router::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The interface came up, went down or changed its primary address.
    Link(Link),
    /// The result of the node's checks changed.
    Health(Health),
    /// A VRRP packet arrived on the router's interface.
    Packet(Packet<'a>),
    /// The [`crate::Router::deadline`] has passed; harmless at any other time. Hand over every packet that has already
    /// arrived first.
    Timer,
    /// The kernel has added all addresses of the last [`crate::Action::Install`]. Not to be sent if it only renewed them.
    AddressesInstalled,
    /// The kernel refused one of the addresses of the last [`crate::Action::Install`].
    AddressesFailed {
        /// The kernel's error, for status.
        reason: String,
    },
    /// A decision of the router's group. Without [`crate::Config::grouped`] it has no effect.
    Group(Order),
    /// The daemon stops, or this router is removed. It stays in Initialize for good.
    Shutdown,
}

/// Whether the interface can carry advertisements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The interface can carry advertisements. Send this again whenever the address changes.
    Up {
        /// The primary address to send from, of the family of the virtual addresses.
        source: IpAddr,
    },
    /// The interface can't carry advertisements.
    Down {
        /// Why, for status: "carrier lost", "no IPv4 address".
        reason: String,
    },
}

/// Whether the node may hold the addresses, and at which priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// A check without a weight has no result yet. A router in Initialize stays there; one that takes part goes on until the
    /// result is known, because a check that a reload added must not cost it the addresses.
    Waiting {
        /// What it waits for, for status.
        reason: String,
        /// The effective priority by the other checks, for a router that takes part.
        priority: Priority,
    },
    /// The node may hold the addresses.
    Fit {
        /// The effective priority, clamped to 1..=254. An owner ignores it.
        priority: Priority,
        /// Which checks led to it, for log and status.
        reason: String,
    },
    /// The node must not hold the addresses (hard fault).
    Fault {
        /// Which check failed and why, for log and status.
        reason: String,
    },
}

/// A received VRRP packet (IP protocol 112).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The IP source.
    pub source: IpAddr,
    /// The IP destination.
    pub destination: IpAddr,
    /// The TTL or hop limit on arrival.
    pub ttl: u8,
    /// What follows the IP header, up to the IP total length.
    pub payload: &'a [u8],
}
