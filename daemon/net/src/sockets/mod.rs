//! Sockets for packets: advertisements in and out, ARP and neighbour discovery in and out.

mod filter;
mod neighbour;
mod neighbour_watch;
mod packet;
mod vrrp;

pub(crate) use neighbour::NeighbourSocket;
pub use neighbour_watch::{NeighbourClaim, NeighbourWatched, NeighbourWatcher};
pub use packet::Sender;
pub use vrrp::{Groups, MAX_PACKET, Received, VrrpSocket};
