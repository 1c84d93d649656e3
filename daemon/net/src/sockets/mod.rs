//! Sockets for packets: advertisements in and out, ARP in and out.

mod arp;
mod arp_watch;
mod filter;
mod packet;
mod vrrp;

pub(crate) use arp::ArpSocket;
pub use arp_watch::{ArpClaim, ArpWatched, ArpWatcher};
pub use packet::Sender;
pub use vrrp::{Groups, MAX_PACKET, Received, VrrpSocket};
