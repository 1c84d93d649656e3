//! Sockets for packets: advertisements in and out, ARP in and out.

mod arp_watch;
mod filter;
mod neighbour;
mod packet;
mod vrrp;

pub use arp_watch::{ArpClaim, ArpWatched, ArpWatcher};
pub(crate) use neighbour::NeighbourSocket;
pub use packet::Sender;
pub use vrrp::{Groups, MAX_PACKET, Received, VrrpSocket};
