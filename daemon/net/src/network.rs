//! The network as the protocol engine sees it: a trait, and the kernel behind it.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::Family;

use crate::addresses::{AddressCommand, AddressKeeper, CommandRefused};
use crate::sockets::{Groups, VrrpSocket};

/// The network as the protocol engine sees it. Nothing here ever blocks.
pub trait Network {
    /// Sends a VRRP packet out of `interface`, from `source` to `destination`.
    ///
    /// # Errors
    /// As [`VrrpSocket::send`]; `NotConnected` if the interface has no open socket of that family.
    fn send(&mut self, interface: &str, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()>;

    /// As [`Network::send`] to a multicast group, with this MAC address as the source of the frame.
    ///
    /// # Errors
    /// As [`Network::send`].
    fn send_from(
        &mut self,
        mac: [u8; 6],
        interface: &str,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> io::Result<()>;

    /// Queues a command about virtual addresses. Commands are carried out later, in order.
    ///
    /// # Errors
    /// The command will not be carried out.
    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused>;
}

/// The kernel of this host: the sockets of each interface, and the address keeper.
#[derive(Debug)]
pub struct Kernel {
    sockets: BTreeMap<(String, Family), VrrpSocket>,
    keeper: AddressKeeper,
}

impl Kernel {
    /// Starts without sockets.
    pub fn new(keeper: AddressKeeper) -> Self {
        Self { sockets: BTreeMap::new(), keeper }
    }

    /// Opens the sockets of `interface` for one family, in place of the open ones.
    ///
    /// # Errors
    /// As [`VrrpSocket::open`]; the old ones are closed in any case.
    pub fn open(&mut self, interface: &str, family: Family, groups: Groups) -> io::Result<()> {
        self.close(interface, family);
        let socket = VrrpSocket::open(interface, family, groups)?;
        self.sockets.insert((interface.to_owned(), family), socket);
        Ok(())
    }

    /// Closes the sockets of `interface` for one family, if they are open.
    pub fn close(&mut self, interface: &str, family: Family) {
        self.sockets.remove(&(interface.to_owned(), family));
    }

    /// The open sockets by interface, to poll and to receive from.
    pub fn sockets(&self) -> impl Iterator<Item = (&str, &VrrpSocket)> {
        self.sockets.iter().map(|((interface, _), socket)| (interface.as_str(), socket))
    }

    /// The sockets of `interface` for one family, if they are open.
    pub fn socket(&self, interface: &(String, Family)) -> Option<&VrrpSocket> {
        self.sockets.get(interface)
    }

    fn open_socket(&self, interface: &str, destination: IpAddr) -> io::Result<&VrrpSocket> {
        self.sockets
            .get(&(interface.to_owned(), Family::of(destination)))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, format!("no socket on {interface}")))
    }

    /// Closes the sockets and waits until the queued address commands are carried out. Returns whether that took no longer
    /// than `patience`.
    pub fn finish(self, patience: Duration) -> bool {
        self.keeper.finish(patience)
    }
}

impl Network for Kernel {
    fn send(&mut self, interface: &str, source: IpAddr, destination: IpAddr, payload: &[u8]) -> io::Result<()> {
        self.open_socket(interface, destination)?.send(source, destination, payload)
    }

    fn send_from(
        &mut self,
        mac: [u8; 6],
        interface: &str,
        source: IpAddr,
        destination: IpAddr,
        payload: &[u8],
    ) -> io::Result<()> {
        self.open_socket(interface, destination)?.send_from(mac, source, destination, payload)
    }

    fn address(&mut self, command: AddressCommand) -> Result<(), CommandRefused> {
        self.keeper.command(command)
    }
}
