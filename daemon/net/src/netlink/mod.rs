//! rtnetlink: requests through the crate `rtnetlink`, notifications through a socket of our own, and one reader for what
//! the kernel says about links and addresses in both.
//!
//! The reader takes messages attribute by attribute and skips what it can't parse. `netlink-packet-route` parses a message
//! whole or not at all, and one attribute of a newer kernel must not hide a link.

mod decode;
mod kernel_state;
mod notifications;
mod requests;
mod routing_news;
mod tolerant_socket;

use std::net::IpAddr;

pub use decode::decoded_changes;
pub(crate) use kernel_state::KernelState;
pub(crate) use notifications::{News, Notifications};
pub use requests::RequestSocket;
pub(crate) use requests::{AddressRequest, InetSetting, RouteOrder, route_message};
pub(crate) use routing_news::RoutingNews;

/// The IFA_PROTO value that marks an address as installed by vouchd: 'v'. Linux before 5.18 does not keep it.
pub const OUR_PROTOCOL: u8 = 0x76;

/// The kernel sends datagrams of at most 32 KiB.
const DATAGRAM: usize = 64 * 1024;

/// What the kernel says about a link or an address, in an answer or a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Link(Link),
    LinkGone { index: u32 },
    Address(HeldAddress),
    AddressGone(HeldAddress),
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// IFF_UP: switched on.
    pub(crate) enabled: bool,
    /// IFF_RUNNING: switched on and has a carrier, or is of a kind without one.
    pub(crate) running: bool,
    /// `None` unless the link is Ethernet.
    pub(crate) mac: Option<[u8; 6]>,
    /// `promote_secondaries`: the secondary addresses of a subnet stay when its primary one is removed. The kernel does
    /// not notify about this setting, so it is current only in an answer to a request.
    pub(crate) promotes: bool,
    /// As `promotes`.
    pub(crate) inet: InetSettings,
    /// The kind is macvlan.
    pub(crate) is_macvlan: bool,
    /// The link that this one is on, for a macvlan.
    pub(crate) parent: Option<u32>,
    /// The alias that somebody gave it.
    pub(crate) alias: Option<String>,
}

/// Settings in /proc/sys/net/ipv4/conf of one interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InetSettings {
    pub(crate) forwarding: u32,
    pub(crate) rp_filter: u32,
    pub(crate) arp_announce: u32,
    pub(crate) arp_ignore: u32,
}

impl InetSettings {
    pub(crate) fn get(&self, setting: InetSetting) -> u32 {
        match setting {
            InetSetting::Forwarding => self.forwarding,
            InetSetting::RpFilter => self.rp_filter,
            InetSetting::ArpAnnounce => self.arp_announce,
            InetSetting::ArpIgnore => self.arp_ignore,
        }
    }
}

/// An address that an interface holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeldAddress {
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
    /// The other end of a point-to-point link.
    pub(crate) peer: Option<IpAddr>,
    /// RT_SCOPE_UNIVERSE is 0.
    pub(crate) scope: u8,
    /// The interface already had another address of the same subnet. Only IPv4 has these.
    pub(crate) secondary: bool,
    /// Not usable (yet): duplicate address detection has not ended, or has found another holder. IPv6.
    pub(crate) tentative: bool,
    /// Without a lifetime.
    pub(crate) permanent: bool,
    /// IFA_PROTO; 0 unless somebody set it.
    pub(crate) protocol: u8,
}

impl HeldAddress {
    /// Whether the kernel takes both for the same address.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let identity = |held: &Self| (held.index, held.address, held.prefix, held.peer);
        identity(self) == identity(other)
    }
}
