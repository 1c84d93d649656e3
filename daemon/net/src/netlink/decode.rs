//! Datagrams of the kernel, read into the few facts that a router needs.
//!
//! Hand-written on the header and attribute types of `netlink-packet-route`: its own parser of whole messages fails on
//! any attribute that it can't parse, whether we need that attribute or not.

use netlink_packet_core::{NetlinkBuffer, NlaBuffer, NlasIterator, Parseable, ParseableParametrized};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeader, AddressHeaderFlags};
use netlink_packet_route::link::{AfSpecInet, InetDevConf, LinkAttribute, LinkFlags, LinkHeader, LinkLayerType};

use super::{Change, HeldAddress, InetSettings, Link};

const NETLINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const LINK_HEADER: usize = 16;

/// `IFLA_INET_CONF` of linux/if_link.h, inside IFLA_AF_SPEC for AF_INET.
const IFLA_INET_CONF: u16 = 1;

/// `IFLA_INFO_KIND` of linux/if_link.h, inside IFLA_LINKINFO.
const IFLA_INFO_KIND: u16 = 1;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) kind: u16,
    /// The port of the socket whose request made the kernel send this; 0 if it was no request.
    pub(super) port: u32,
    /// The whole message, with its header.
    pub(super) bytes: &'a [u8],
}

/// Splits a datagram into its messages. Stops at a message that is longer than what is left.
pub(super) fn messages(datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = buffer.length() as usize;
        let bytes = rest.get(..length).filter(|bytes| bytes.len() >= NETLINK_HEADER)?;
        let message = Message { kind: buffer.message_type(), port: buffer.port_number(), bytes };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

impl Message<'_> {
    /// What the message says about links and addresses; `None` if that is nothing.
    pub(super) fn change(&self) -> Option<Change> {
        change(self.kind, self.bytes.get(NETLINK_HEADER..)?)
    }
}

/// Decodes a datagram of notifications as the reader does, and returns how many changes of links and addresses it reports:
/// for fuzzing.
pub fn decoded_changes(datagram: &[u8]) -> usize {
    messages(datagram).filter_map(|message| message.change()).count()
}

fn change(kind: u16, payload: &[u8]) -> Option<Change> {
    match kind {
        libc::RTM_NEWLINK => link(payload).map(Change::Link),
        // The kernel reports a port that leaves its bridge as RTM_DELLINK of the family AF_BRIDGE. The link lives on.
        libc::RTM_DELLINK => link(payload).map(|link| Change::LinkGone { index: link.index }),
        libc::RTM_NEWADDR => held_address(payload).map(Change::Address),
        libc::RTM_DELADDR => held_address(payload).map(Change::AddressGone),
        _ => None,
    }
}

fn link(payload: &[u8]) -> Option<Link> {
    let header = LinkHeader::parse(payload).ok()?;
    if header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut name = None;
    let mut mac = None;
    let mut settings = None;
    let (mut is_macvlan, mut parent, mut alias) = (false, None, None);
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..)?) {
        let attribute = attribute.ok()?;
        // Whole, this attribute fails to parse with any of its address families.
        if attribute.kind() == libc::IFLA_AF_SPEC {
            settings = inet_settings(attribute.value());
            continue;
        }
        // The rest of it differs from kind to kind, and is of no interest.
        if attribute.kind() == libc::IFLA_LINKINFO {
            is_macvlan =
                find(attribute.value(), IFLA_INFO_KIND).is_some_and(|kind| kind.value().starts_with(b"macvlan"));
            continue;
        }
        match LinkAttribute::parse_with_param(&attribute, header.interface_family) {
            Ok(LinkAttribute::IfName(found)) => name = Some(found),
            Ok(LinkAttribute::Address(found)) => mac = <[u8; 6]>::try_from(found).ok(),
            Ok(LinkAttribute::Link(found)) => parent = Some(found),
            Ok(LinkAttribute::IfAlias(found)) => alias = Some(found),
            Ok(_) | Err(_) => {}
        }
    }
    Some(Link {
        index: header.index,
        name: name?,
        enabled: header.flags.contains(LinkFlags::Up),
        running: header.flags.contains(LinkFlags::Up | LinkFlags::Running),
        mac: mac.filter(|_| header.link_layer_type == LinkLayerType::Ether),
        promotes: settings.as_ref().is_some_and(|settings| settings.promote_secondaries != 0),
        inet: settings.map(|settings| read(&settings)).unwrap_or_default(),
        is_macvlan,
        parent,
        alias,
    })
}

/// The IPv4 settings in the value of IFLA_AF_SPEC.
fn inet_settings(families: &[u8]) -> Option<InetDevConf> {
    let family = find(families, libc::AF_INET as u16)?;
    match AfSpecInet::parse(&find(family.value(), IFLA_INET_CONF)?) {
        Ok(AfSpecInet::DevConf(settings)) => Some(settings),
        Ok(_) | Err(_) => None,
    }
}

fn read(settings: &InetDevConf) -> InetSettings {
    let value = |value: i32| u32::try_from(value).unwrap_or(0);
    InetSettings {
        forwarding: value(settings.forwarding),
        rp_filter: value(settings.rp_filter),
        arp_announce: value(settings.arp_announce),
        arp_ignore: value(settings.arp_ignore),
    }
}

fn find(attributes: &[u8], kind: u16) -> Option<NlaBuffer<&[u8]>> {
    NlasIterator::new(attributes).map_while(Result::ok).find(|attribute| attribute.kind() == kind)
}

fn held_address(payload: &[u8]) -> Option<HeldAddress> {
    let header = AddressHeader::parse(payload).ok()?;
    let is_ipv4 = match header.family {
        AddressFamily::Inet => true,
        AddressFamily::Inet6 => false,
        _ => return None,
    };
    let mut local = None;
    let mut address = None;
    let mut protocol = 0;
    for attribute in NlasIterator::new(payload.get(ADDRESS_HEADER..)?) {
        match AddressAttribute::parse(&attribute.ok()?) {
            Ok(AddressAttribute::Local(found)) if found.is_ipv4() == is_ipv4 => local = Some(found),
            Ok(AddressAttribute::Address(found)) if found.is_ipv4() == is_ipv4 => address = Some(found),
            Ok(AddressAttribute::Protocol(found)) => protocol = u8::from(found),
            Ok(_) | Err(_) => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end.
    let held = local.or(address)?;
    Some(HeldAddress {
        index: header.index,
        address: held,
        prefix: header.prefix_len,
        peer: address.filter(|address| *address != held),
        scope: u8::from(header.scope),
        // In IPv6 the same bit marks a temporary address.
        secondary: is_ipv4 && header.flags.contains(AddressHeaderFlags::Secondary),
        tentative: is_tentative(header.flags),
        permanent: header.flags.contains(AddressHeaderFlags::Permanent),
        protocol,
    })
}

/// An optimistic address is usable while it is tentative (RFC 4429).
fn is_tentative(flags: AddressHeaderFlags) -> bool {
    flags.contains(AddressHeaderFlags::Dadfailed)
        || flags.contains(AddressHeaderFlags::Tentative) && !flags.contains(AddressHeaderFlags::Optimistic)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use netlink_packet_core::{DefaultNla, Emitable};
    use netlink_packet_route::address::{AddressMessage, AddressProtocol};
    use netlink_packet_route::link::{AfSpecUnspec, LinkMessage};

    use super::*;
    use crate::netlink::OUR_PROTOCOL;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn bytes(message: &impl Emitable) -> Vec<u8> {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        bytes
    }

    fn address_message() -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header = AddressHeader { family: AddressFamily::Inet, prefix_len: 24, index: 7, ..Default::default() };
        message.attributes = vec![AddressAttribute::Local(ADDRESS.into()), AddressAttribute::Address(ADDRESS.into())];
        message
    }

    fn link_message() -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = 3;
        message.attributes.push(LinkAttribute::IfName("eth0".into()));
        message
    }

    #[test]
    fn address_message_is_read_back() {
        let mut message = address_message();
        message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(OUR_PROTOCOL)));
        assert_eq!(
            change(libc::RTM_DELADDR, &bytes(&message)),
            Some(Change::AddressGone(HeldAddress {
                index: 7,
                address: ADDRESS.into(),
                prefix: 24,
                peer: None,
                scope: 0,
                secondary: false,
                tentative: false,
                permanent: false,
                protocol: OUR_PROTOCOL,
            }))
        );
    }

    #[test]
    fn local_end_counts_on_a_point_to_point_link() {
        let mut message = address_message();
        message.attributes[1] = AddressAttribute::Address(Ipv4Addr::new(192, 0, 2, 2).into());
        let held = held_address(&bytes(&message)).unwrap();
        assert_eq!(held.address, IpAddr::from(ADDRESS));
    }

    #[test]
    fn ipv6_address_is_tentative_until_duplicate_address_detection_has_ended() {
        let address = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
        for (flags, tentative) in [(0x80, false), (0xc0, true), (0xc4, false), (0x88, true), (0x81, false)] {
            let mut message = AddressMessage::default();
            message.header = AddressHeader {
                family: AddressFamily::Inet6,
                prefix_len: 64,
                flags: AddressHeaderFlags::from_bits_retain(flags),
                index: 7,
                ..Default::default()
            };
            message.attributes = vec![AddressAttribute::Address(address.into())];
            let held = held_address(&bytes(&message)).unwrap();
            assert_eq!((held.address, held.prefix, held.tentative), (address.into(), 64, tentative), "{flags:#x}");
            assert!(!held.secondary, "a temporary address is not a secondary one");
        }
    }

    #[test]
    fn port_that_leaves_its_bridge_is_not_a_link_that_goes() {
        let mut message = link_message();
        assert_eq!(change(libc::RTM_DELLINK, &bytes(&message)), Some(Change::LinkGone { index: 3 }));
        message.header.interface_family = AddressFamily::Bridge;
        assert_eq!(change(libc::RTM_DELLINK, &bytes(&message)), None);
    }

    #[test]
    fn attribute_that_does_not_parse_hides_neither_link_nor_setting() {
        let mut settings = InetDevConf::default();
        settings.promote_secondaries = 1;
        let broken = |kind| DefaultNla::new(kind, vec![1]);
        let mut message = link_message();
        message.attributes.insert(0, LinkAttribute::Other(broken(libc::IFLA_MTU)));
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![
            AfSpecUnspec::Other(broken(libc::AF_INET6 as u16)),
            AfSpecUnspec::Inet(vec![AfSpecInet::DevConf(settings)]),
        ]));
        let payload = bytes(&message);
        assert!(LinkMessage::parse(&payload).is_err(), "the library's own parser gives up");
        let Some(Change::Link(link)) = change(libc::RTM_NEWLINK, &payload) else { panic!("no link") };
        assert_eq!((link.name.as_str(), link.promotes), ("eth0", true));
    }

    #[test]
    fn cut_messages_and_datagrams_never_panic() {
        let message = bytes(&address_message());
        for length in 0..message.len() {
            let _ = change(libc::RTM_NEWADDR, &message[..length]);
            let _ = change(libc::RTM_NEWLINK, &message[..length]);
        }
        let mut datagram = vec![0; NETLINK_HEADER];
        datagram[0] = 200;
        assert_eq!(messages(&datagram).count(), 0, "a length beyond the datagram");
        datagram[0] = 0;
        assert_eq!(messages(&datagram).count(), 0, "a length that would never end");
        datagram[0] = 16;
        assert_eq!(messages(&datagram).count(), 1);
    }
}
