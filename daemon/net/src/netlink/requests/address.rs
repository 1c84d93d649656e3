//! Requests about IPv4 addresses.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol, CacheInfo};
use rtnetlink::AddressMessageBuilder;

use super::{RequestSocket, finished};
use crate::netlink::{Change, HeldAddress, OUR_PROTOCOL};

/// A change of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRequest {
    /// Adds the address with our mark, valid for this many seconds. `EEXIST` if it is there already.
    Add { index: u32, address: Ipv4Addr, prefix: u8, seconds: u32 },
    /// Gives the address our mark and this many seconds. Adds it if it is not there.
    Renew { index: u32, address: Ipv4Addr, prefix: u8, seconds: u32 },
    /// Removes the address. `EADDRNOTAVAIL` if it is not there.
    Remove { index: u32, address: Ipv4Addr, prefix: u8 },
}

impl RequestSocket {
    /// Carries out one change.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn change_address(&mut self, request: AddressRequest) -> io::Result<()> {
        let addresses = self.handle.address();
        match request {
            AddressRequest::Add { index, address, prefix, seconds } => {
                let mut request = addresses.add(index, address.into(), prefix);
                mark(request.message_mut(), seconds);
                self.send(request.execute())
            }
            AddressRequest::Renew { index, address, prefix, seconds } => {
                let mut request = addresses.add(index, address.into(), prefix).replace();
                mark(request.message_mut(), seconds);
                self.send(request.execute())
            }
            AddressRequest::Remove { index, address, prefix } => {
                let mut message =
                    AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build();
                leave_out_broadcast(&mut message);
                self.send(addresses.del(message).execute())
            }
        }
    }

    /// Returns all IPv4 addresses of all interfaces.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<HeldAddress>> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        let answers = self.read(finished(request.execute()))?;
        let held = answers.into_iter().filter_map(|change| match change {
            Change::Address(address) => Some(address),
            Change::Link(_) | Change::LinkGone { .. } | Change::AddressGone(_) => None,
        });
        Ok(held.collect())
    }
}

/// Adds our mark and a lifetime; `u32::MAX` seconds last forever.
fn mark(message: &mut AddressMessage, seconds: u32) {
    leave_out_broadcast(message);
    let mut lifetime = CacheInfo::default();
    (lifetime.ifa_valid, lifetime.ifa_preferred) = (seconds, seconds);
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
}

/// The library sets a broadcast address. A virtual address has none, as with `ip address add`.
fn leave_out_broadcast(message: &mut AddressMessage) {
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
}
