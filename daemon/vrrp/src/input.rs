//! What can happen to a router.

use std::net::IpAddr;

use vouchd_wire::Priority;

/// One thing that happened, for [`crate::Router::handle`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// The interface changed.
    Link(Link),
    /// The node's checks changed their mind.
    Health(Health),
    /// A VRRP packet arrived on the router's interface.
    Packet(Packet<'a>),
    /// The [`crate::Router::deadline`] has come; harmless at any other time. Hand over every packet that has
    /// already arrived first.
    Timer,
    /// The kernel has added all addresses of the last [`crate::Action::Install`]. That one was only renewed is nothing to
    /// report.
    AddressesInstalled,
    /// The kernel refused one of the addresses of the last [`crate::Action::Install`].
    AddressesFailed {
        /// What the kernel said.
        reason: String,
    },
    /// The daemon stops, or this router is removed. Nothing that comes later has an effect.
    Shutdown,
}

/// Whether the interface can carry advertisements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// It can, and this is the primary address to send from. Also to be given when only the address changes.
    Up {
        /// The primary address, of the family of the virtual addresses.
        source: IpAddr,
    },
    /// It can't.
    Down {
        /// Why, for status: "carrier lost", "no IPv4 address".
        reason: String,
    },
}

/// Whether the node may hold the addresses, and how well it would serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// A check that decides has not run yet. It keeps a router out that does not take part; one that does goes on as
    /// it is until there is a verdict (a check added by a reload must not cost the addresses).
    Waiting {
        /// For what, for status.
        reason: String,
        /// The effective priority that the other checks make, for a router that takes part.
        priority: Priority,
    },
    /// It may, at this effective priority: taken as 1..=254, and ignored by an owner.
    Fit {
        /// The effective priority.
        priority: Priority,
        /// Which checks made it so, for log and status.
        reason: String,
    },
    /// It must not: hard fault.
    Fault {
        /// Which check said so, for log, status and explanation.
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
