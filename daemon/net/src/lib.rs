//! The kernel's side of a router: sockets, addresses, links, ARP.
//!
//! The protocol thread of the daemon is a plain poll loop that must never wait. So this crate splits the kernel in two:
//!
//! * Calls that never wait are made on the spot: [`VrrpSocket`] sends and receives advertisements.
//! * Calls that may wait for the kernel's rtnl lock have threads of their own: [`AddressKeeper`] adds, leases, removes and
//!   announces virtual addresses; [`LinkWatcher`] follows interfaces and their addresses; [`NeighbourWatcher`] listens for other
//!   machines that claim one of ours.
//!
//! The threads report through [`channel`], whose receiving end is a file descriptor for `poll`.
//!
//! The protocol engine sees all of it through the trait [`Network`]. [`Kernel`] implements it for real, and
//! [`double::Recorder`] records calls for tests. No decision of the protocol is made here.
#![warn(missing_docs, unreachable_pub)]

mod addresses;
mod channel;
mod clock;
pub mod double;
mod links;
mod netfilter;
mod netlink;
mod network;
pub mod realtime;
mod routing;
mod sockets;
mod virtual_mac;

pub use addresses::{
    AddressAttributes, AddressChange, AddressCommand, AddressError, AddressKeeper, AddressState, Claim, CommandKind,
    CommandRefused, Finding, HostCopy, InstanceKey, Late, Lifetime, Presence, Report, VirtualAddress, examine, sweep,
};
pub use channel::{Closed, Notifier, Receiver, channel};
pub use clock::{now, wall_clock};
pub use links::{Carrier, CarrierEvent, DownReason, LinkEvent, LinkEvents, LinkState, LinkWatcher, Sources, Watched};
pub use netlink::{OUR_PROTOCOL, RequestSocket, decoded_changes};
pub use network::{Kernel, Network};
pub use routing::{Routing, RoutingChange, RoutingError, RoutingItem, RoutingState, sweep_routing};
pub use sockets::{
    Groups, MAX_PACKET, NeighbourClaim, NeighbourWatched, NeighbourWatcher, Received, Sender, VrrpSocket,
};
pub use virtual_mac::{SweptMac, VirtualMac, VirtualMacError, VirtualMacState, sweep_virtual_macs, virtual_mac};
