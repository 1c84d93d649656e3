//! Requests about addresses.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, AddressScope, CacheInfo,
};
use rtnetlink::AddressMessageBuilder;

use super::{RequestSocket, finished};
use crate::addresses::AddressAttributes;
use crate::netlink::{Change, HeldAddress, OUR_PROTOCOL};

/// A change of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRequest {
    /// Adds the address with our mark, valid for this many seconds. `EEXIST` if it is there already; over IPv6 also if it
    /// is there with another prefix.
    Add { index: u32, address: IpAddr, prefix: u8, seconds: u32 },
    /// Gives the address our mark and this many seconds. Adds it if it is not there.
    Renew { index: u32, address: IpAddr, prefix: u8, seconds: u32 },
    /// Removes the address. `EADDRNOTAVAIL` if it is not there.
    Remove { index: u32, address: IpAddr, prefix: u8 },
}

impl RequestSocket {
    /// Carries out one change. Of the attributes, a removal needs the peer.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn change_address(&mut self, request: AddressRequest, attributes: &AddressAttributes) -> io::Result<()> {
        let addresses = self.handle.address();
        match request {
            AddressRequest::Add { index, address, prefix, seconds } => {
                let mut request = addresses.add(index, address, prefix);
                complete(request.message_mut(), address, seconds, attributes);
                self.send(request.execute())
            }
            AddressRequest::Renew { index, address, prefix, seconds } => {
                let mut request = addresses.add(index, address, prefix).replace();
                complete(request.message_mut(), address, seconds, attributes);
                self.send(request.execute())
            }
            AddressRequest::Remove { index, address, prefix } => {
                let mut message = message(index, address, prefix);
                leave_out_broadcast(&mut message);
                set_peer(&mut message, address, attributes.peer);
                self.send(addresses.del(message).execute())
            }
        }
    }

    /// Returns all addresses of both families of all interfaces.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn addresses(&mut self) -> io::Result<Vec<HeldAddress>> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Unspec;
        let answers = self.read(finished(request.execute()))?;
        let held = answers.into_iter().filter_map(|change| match change {
            Change::Address(address) => Some(address),
            Change::Link(_) | Change::LinkGone { .. } | Change::AddressGone(_) => None,
        });
        Ok(held.collect())
    }
}

fn message(index: u32, address: IpAddr, prefix: u8) -> AddressMessage {
    match address {
        IpAddr::V4(address) => AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix).build(),
        IpAddr::V6(address) => AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix).build(),
    }
}

/// Adds the attributes, our mark and a lifetime; `u32::MAX` seconds last forever.
///
/// A virtual IPv6 address is usable at once: duplicate address detection would delay it by a second, and find the
/// predecessor.
fn complete(message: &mut AddressMessage, address: IpAddr, seconds: u32, attributes: &AddressAttributes) {
    let AddressAttributes { label, scope, broadcast, peer, .. } = attributes;
    leave_out_broadcast(message);
    set_peer(message, address, *peer);
    let mut lifetime = CacheInfo::default();
    (lifetime.ifa_valid, lifetime.ifa_preferred) = (seconds, if attributes.deprecated { 0 } else { seconds });
    if address.is_ipv4() {
        message.header.scope = AddressScope::from(*scope);
        message.attributes.extend(label.clone().map(AddressAttribute::Label));
        message.attributes.extend(broadcast.map(AddressAttribute::Broadcast));
    }
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, address.is_ipv6());
    flags.set(AddressFlags::Homeaddress, attributes.home);
    flags.set(AddressFlags::Managetempaddr, attributes.manage_temporary);
    flags.set(AddressFlags::Noprefixroute, attributes.no_prefix_route);
    flags.set(AddressFlags::Mcautojoin, attributes.auto_join);
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
}

/// On a point-to-point link IFA_ADDRESS is the other end, and IFA_LOCAL this one.
fn set_peer(message: &mut AddressMessage, address: IpAddr, peer: Option<IpAddr>) {
    let Some(peer) = peer else { return };
    let is_end =
        |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::Address(_) | AddressAttribute::Local(_));
    message.attributes.retain(|attribute| !is_end(attribute));
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(peer)]);
}

/// The library sets a broadcast address. A virtual address has none unless the operator sets it, as with `ip address add`.
fn leave_out_broadcast(message: &mut AddressMessage) {
    message.attributes.retain(|attribute| !matches!(attribute, AddressAttribute::Broadcast(_)));
}
