//! Requests about macvlan interfaces, and about the IPv4 settings of interfaces.

use std::io;

use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, LinkAttribute, LinkFlags, LinkMessage, MacVlanMode,
};
use rtnetlink::LinkMacVlan;

use super::RequestSocket;

/// `IFLA_INET_CONF` of linux/if_link.h, inside IFLA_AF_SPEC for AF_INET.
const IFLA_INET_CONF: u16 = 1;

/// A setting in /proc/sys/net/ipv4/conf of one interface, by its number in linux/ip.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub(crate) enum InetSetting {
    Forwarding = 1,
    RpFilter = 8,
    ArpAnnounce = 18,
    ArpIgnore = 19,
}

impl InetSetting {
    /// Its name in /proc/sys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forwarding => "forwarding",
            Self::RpFilter => "rp_filter",
            Self::ArpAnnounce => "arp_announce",
            Self::ArpIgnore => "arp_ignore",
        }
    }
}

impl RequestSocket {
    /// Makes a macvlan in bridge mode on the interface `parent`. It is switched off.
    ///
    /// # Errors
    /// `EEXIST` if the name is taken, `EBUSY` if the parent is a port of a bridge or the like, `EOPNOTSUPP` if the kernel
    /// has no macvlan; else as [`RequestSocket::send`].
    pub(crate) fn add_macvlan(&mut self, parent: u32, name: &str, mac: [u8; 6]) -> io::Result<()> {
        let message = LinkMacVlan::new(name, parent, MacVlanMode::Bridge).address(mac.to_vec()).build();
        let request = self.handle.link().add(message);
        self.send(request.execute())
    }

    /// Removes a link.
    ///
    /// # Errors
    /// `ENODEV` if it is not there; else as [`RequestSocket::send`].
    pub(crate) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let request = self.handle.link().del(index);
        self.send(request.execute())
    }

    /// Switches a link on or off.
    ///
    /// # Errors
    /// `EADDRINUSE` if another macvlan with the same MAC address is switched on; else as [`RequestSocket::send`].
    pub(crate) fn switch_link(&mut self, index: u32, on: bool) -> io::Result<()> {
        let mut message = message(index);
        message.header.change_mask = LinkFlags::Up;
        if on {
            message.header.flags = LinkFlags::Up;
        }
        self.set(message)
    }

    /// Sets the alias of a link: a text that the kernel only keeps.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn set_alias(&mut self, index: u32, alias: &str) -> io::Result<()> {
        let mut message = message(index);
        message.attributes.push(LinkAttribute::IfAlias(alias.to_owned()));
        self.set(message)
    }

    /// Keeps the kernel from making IPv6 addresses out of the link's MAC address.
    ///
    /// # Errors
    /// `EAFNOSUPPORT` without IPv6; else as [`RequestSocket::send`].
    pub(crate) fn generate_no_addresses(&mut self, index: u32) -> io::Result<()> {
        let mut message = message(index);
        let settings = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![settings]));
        self.set(message)
    }

    /// Changes IPv4 settings of a link. Not through /proc/sys, which may be read-only for this process.
    ///
    /// # Errors
    /// As [`RequestSocket::send`].
    pub(crate) fn set_inet(&mut self, index: u32, settings: &[(InetSetting, u32)]) -> io::Result<()> {
        if settings.is_empty() {
            return Ok(());
        }
        let mut message = message(index);
        let settings = AfSpecUnspec::Inet(vec![AfSpecInet::Other(nested(settings))]);
        message.attributes.push(LinkAttribute::AfSpecUnspec(vec![settings]));
        self.set(message)
    }

    fn set(&mut self, message: LinkMessage) -> io::Result<()> {
        let request = self.handle.link().set(message);
        self.send(request.execute())
    }
}

/// The settings as one attribute. By hand, because `AfSpecInet::DevConfRequest` leaves out every setting that is 0.
fn nested(settings: &[(InetSetting, u32)]) -> DefaultNla {
    let mut bytes = Vec::new();
    for &(setting, value) in settings {
        let attribute = DefaultNla::new(setting as u16, value.to_ne_bytes().to_vec());
        let start = bytes.len();
        bytes.resize(start + attribute.buffer_len(), 0);
        attribute.emit(&mut bytes[start..]);
    }
    DefaultNla::new(IFLA_INET_CONF | NLA_F_NESTED, bytes)
}

fn message(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_of_zero_is_sent_too() {
        let attribute = nested(&[(InetSetting::ArpIgnore, 0), (InetSetting::RpFilter, 2)]);
        let mut bytes = vec![0; attribute.buffer_len()];
        attribute.emit(&mut bytes);
        let expected: Vec<u8> = [
            &20u16.to_ne_bytes()[..],
            &(1u16 | 0x8000).to_ne_bytes(),
            &8u16.to_ne_bytes(),
            &19u16.to_ne_bytes(),
            &0u32.to_ne_bytes(),
            &8u16.to_ne_bytes(),
            &8u16.to_ne_bytes(),
            &2u32.to_ne_bytes(),
        ]
        .concat();
        assert_eq!(bytes, expected);
    }
}
