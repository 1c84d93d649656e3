//! Virtual addresses and their attributes.

use std::net::{IpAddr, Ipv4Addr};

/// An address that only the active router has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub ip: IpAddr,
    /// The prefix length to install it with, 1 to 32 or 128.
    pub prefix: u8,
    /// The interface to install it on. `None`: the instance's own, or its virtual MAC's.
    pub interface: Option<String>,
    /// The address label (IPv4), `eth0:1`.
    pub label: Option<String>,
    /// The scope, RT_SCOPE_*: 0 global, 200 site, 253 link, 254 host.
    pub scope: u8,
    /// The broadcast address (IPv4). `None`: no broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Flags of the address, as in ip-address(8).
    pub flags: AddressFlags,
}

impl VirtualAddress {
    /// An address with this prefix length and nothing else.
    pub fn new(ip: IpAddr, prefix: u8) -> Self {
        VirtualAddress {
            ip,
            prefix,
            interface: None,
            label: None,
            scope: 0,
            broadcast: None,
            peer: None,
            flags: AddressFlags::default(),
        }
    }
}

/// Flags of an address (ip-address(8)). Duplicate address detection is always off for a virtual address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct AddressFlags {
    /// `home` (IPv6): the home address of RFC 6275.
    pub home: bool,
    /// `mngtmpaddr` (IPv6): the kernel makes temporary addresses from it.
    pub manage_temporary: bool,
    /// `noprefixroute`: the kernel adds no route for the prefix.
    pub no_prefix_route: bool,
    /// `autojoin`: the kernel joins the multicast group.
    pub auto_join: bool,
    /// The preferred lifetime is zero: the kernel prefers other addresses as a source. Default for IPv6 addresses with a
    /// prefix length of 128.
    pub deprecated: bool,
}
