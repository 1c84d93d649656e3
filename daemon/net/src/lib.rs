//! The kernel's side of a router: sockets, addresses, ARP, links.
//!
//! The protocol thread of the daemon is a plain poll loop that must never wait. So this crate splits the kernel in two:
//!
//! * what never waits is done on the spot: [`VrrpSocket`] sends and receives advertisements;
//! * what may wait for the kernel's rtnl lock has a thread of its own: [`AddressKeeper`] keeps the one model of what we put
//!   where, and adds, leases, removes and announces virtual addresses; [`LinkWatcher`] follows interfaces and addresses.
//!
//! Both threads report through [`channel`], whose receiving end is a file descriptor for poll.
//!
//! The protocol engine sees all of it through the trait [`Network`]: [`Kernel`] is the real one, [`double::Recorder`] a
//! recording one for tests. IPv4 only so far; nothing here decides anything about the protocol.

mod address;
mod announce;
mod arp_watch;
mod clock;
pub mod double;
mod examine;
mod holdings;
mod keeper;
mod link_socket;
mod links;
mod mirror;
mod netlink;
mod network;
pub mod realtime;
mod socket;
mod wakeup;
mod watcher;

pub use address::{
    AddressChange, AddressCommand, AddressError, AddressState, Claim, CommandKind, CommandRefused, HostCopy,
    InstanceKey, Late, Lifetime, Presence, Report, VirtualAddress,
};
pub use arp_watch::{ArpClaim, ArpWatched, ArpWatcher};
pub use clock::Time;
pub use examine::{Finding, examine};
pub use keeper::{AddressKeeper, sweep};
pub use link_socket::Sender;
pub use links::{DownReason, LinkEvent, LinkState, Watched};
pub use netlink::OUR_PROTOCOL;
pub use network::{Kernel, Network};
pub use socket::{Groups, MAX_PACKET, Received, VrrpSocket};
pub use wakeup::{Closed, Notifier, Receiver, channel};
pub use watcher::LinkWatcher;
