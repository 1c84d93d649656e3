//! What an address has besides its prefix.

use std::net::{IpAddr, Ipv4Addr};

/// The attributes of an address, as in ip-address(8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressAttributes {
    /// The label (IPv4). `None`: the interface's name.
    pub label: Option<String>,
    /// The scope (IPv4), RT_SCOPE_*.
    pub scope: u8,
    /// The broadcast address (IPv4).
    pub broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// IFA_F_HOMEADDRESS (IPv6)
    pub home: bool,
    /// IFA_F_MANAGETEMPADDR (IPv6)
    pub manage_temporary: bool,
    /// IFA_F_NOPREFIXROUTE
    pub no_prefix_route: bool,
    /// IFA_F_MCAUTOJOIN
    pub auto_join: bool,
    /// The preferred lifetime is zero: the kernel prefers other addresses as a source.
    pub deprecated: bool,
}

impl AddressAttributes {
    /// Those of an address of which nothing is said. A single IPv6 address is deprecated, so that the kernel prefers other
    /// addresses as the source of connections.
    pub fn usual(address: IpAddr, prefix: u8) -> Self {
        AddressAttributes { deprecated: address.is_ipv6() && prefix == 128, ..Self::default() }
    }

    /// Whether the kernel changes an address from these to `new` in place. Otherwise it has to be removed and added.
    pub(crate) fn change_in_place(&self, new: &Self, address: IpAddr) -> bool {
        let in_place = Self { deprecated: new.deprecated, ..self.clone() };
        match address {
            IpAddr::V4(_) => in_place == *new,
            // The kernel has no other attribute of an IPv6 address, and takes new flags and a new peer.
            IpAddr::V6(_) => self.auto_join == new.auto_join,
        }
    }
}
