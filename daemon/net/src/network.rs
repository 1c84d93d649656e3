//! What the protocol engine calls: the trait, and the real thing behind it.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::address::{AddressCommand, CommandRefused};
use crate::keeper::AddressKeeper;
use crate::socket::{Groups, VrrpSocket};

/// The network as the protocol engine sees it. Nothing here ever waits.
pub trait Network {
    /// Sends a VRRP packet out of `interface`, from `source` to `destination`.
    ///
    /// # Errors
    /// As [`VrrpSocket::send`]; `NotConnected` when the interface has no socket.
    fn send(&mut self, interface: &str, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()>;

    /// Orders something about virtual addresses; it is carried out later, in order.
    ///
    /// # Errors
    /// The command will not be carried out.
    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused>;
}

/// The kernel of this host: one socket per interface, and the keeper of the addresses.
#[derive(Debug)]
pub struct Kernel {
    sockets: BTreeMap<String, VrrpSocket>,
    keeper: AddressKeeper,
}

impl Kernel {
    /// A kernel without sockets so far.
    pub fn new(keeper: AddressKeeper) -> Self {
        Self { sockets: BTreeMap::new(), keeper }
    }

    /// Opens the socket of `interface`, in place of the one before.
    ///
    /// # Errors
    /// As [`VrrpSocket::open`]; the one before is closed all the same.
    pub fn open(&mut self, interface: &str, groups: Groups) -> io::Result<()> {
        self.close(interface);
        let socket = VrrpSocket::open(interface, groups)?;
        self.sockets.insert(interface.to_owned(), socket);
        Ok(())
    }

    /// Closes the socket of `interface`, if there is one.
    pub fn close(&mut self, interface: &str) {
        self.sockets.remove(interface);
    }

    /// The open sockets with their interfaces, to poll and to receive from.
    pub fn sockets(&self) -> impl Iterator<Item = (&str, &VrrpSocket)> {
        self.sockets.iter().map(|(interface, socket)| (interface.as_str(), socket))
    }

    /// The socket of `interface`, if it is open.
    pub fn socket(&self, interface: &str) -> Option<&VrrpSocket> {
        self.sockets.get(interface)
    }

    /// Closes the sockets and waits until the ordered address commands are carried out; whether that took no longer
    /// than `patience`.
    pub fn finish(self, patience: Duration) -> bool {
        self.keeper.finish(patience)
    }
}

impl Network for Kernel {
    fn send(&mut self, interface: &str, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> io::Result<()> {
        let socket = self
            .sockets
            .get(interface)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, format!("no socket on {interface}")))?;
        socket.send(source, destination, payload)
    }

    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused> {
        self.keeper.command(command)
    }
}
