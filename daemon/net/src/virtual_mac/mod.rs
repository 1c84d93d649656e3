//! Interfaces with a virtual MAC address: macvlans that vouchd makes on the interface of an instance.
//!
//! The macvlan exists as long as the instance does, and is switched on while the instance is active. The virtual addresses
//! are on it. What the kernel does with such an interface, and hence how it is made (measured on Linux 6.18):
//!
//! * A macvlan that is switched off does not receive: frames to the virtual MAC are for nobody (RFC 9568 section 6.4.2).
//!   Switching it on and adding an address takes less than a millisecond, and it answers ARP and ND at once.
//! * **Mode bridge.** In mode private, the kernel delivers every multicast frame *from* the virtual MAC to the macvlan
//!   alone, which includes the advertisements of another active router; the parent's sockets would not see them. In mode
//!   bridge, the parent receives them.
//! * The parent would answer ARP for the addresses, too, since Linux answers for every local address on every interface:
//!   `arp_ignore` of the parent is 1. And it would send ARP requests *from* a virtual address with its own MAC address
//!   when a program answers a client; the client would learn that MAC address. `arp_announce` of the parent is 2. Both
//!   are put back. IPv6 needs neither: it answers on the interface of the address only.
//! * `rp_filter` of the macvlan is 2: an answer to the senders there goes out of the parent, so strict filtering would drop
//!   everything, and 2 wins over a 1 in `conf.all`, where 0 would lose. And it ends forwarding with the lease: without an
//!   address on the interface, the kernel finds the senders implausible.
//! * The kernel must not make an IPv6 address from the virtual MAC, which several routers have (RFC 9568 section 7.4), and
//!   must not take router advertisements that arrive there. That needs /proc/sys for IPv6.
//!
//! Nothing is set globally. What the parent's settings were is kept in the alias of the macvlan, in the kernel: it lives
//! exactly as long as the settings may have to be put back, and it says whose macvlan it is.

mod error;
mod keeper;
mod saved;
mod sweep;
mod sysctl;

use std::fmt;
use std::sync::Arc;

use vouchd_wire::{Family, Vrid};

use crate::netlink::Link;

pub use error::VirtualMacError;
pub(crate) use keeper::{VirtualMacKeeper, Wanted};
pub use sweep::{SweptMac, sweep_virtual_macs};

/// The interface with the virtual MAC address of a virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualMac {
    /// The name of the interface, at most 15 bytes.
    pub name: Arc<str>,
    /// The name of the interface that it is on: that of the instance.
    pub parent: Arc<str>,
    /// The family of the virtual router.
    pub family: Family,
    /// Its number.
    pub vrid: Vrid,
}

impl VirtualMac {
    /// The virtual router MAC address (RFC 9568 section 7.3).
    pub fn mac(&self) -> [u8; 6] {
        virtual_mac(self.family, self.vrid)
    }
}

/// The MAC address of a virtual router: 00:00:5e:00:01:VRID, over IPv6 00:00:5e:00:02:VRID (RFC 9568 section 7.3).
pub fn virtual_mac(family: Family, vrid: Vrid) -> [u8; 6] {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0, 0, 0x5e, 0, family, vrid.get()]
}

/// The state of a virtual MAC's interface.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualMacState {
    /// Whether it exists and is vouchd's.
    pub exists: bool,
    /// Whether it is switched on.
    pub up: bool,
    /// Why it cannot be used.
    pub error: Option<VirtualMacError>,
    /// What could not be set, although it can be used.
    pub warning: Option<String>,
}

/// How the alias of a macvlan of vouchd begins.
const MARK: &str = "vouchd";

/// Whether a link is a macvlan that vouchd made.
pub(crate) fn is_marked(link: &Link) -> bool {
    link.is_macvlan && link.alias.as_deref().is_some_and(|alias| alias.split(' ').next() == Some(MARK))
}

/// Whether a MAC address is one of a virtual router. Returns its family and number.
pub(crate) fn virtual_router(mac: [u8; 6]) -> Option<(Family, u8)> {
    match mac {
        [0, 0, 0x5e, 0, 1, vrid] => Some((Family::V4, vrid)),
        [0, 0, 0x5e, 0, 2, vrid] => Some((Family::V6, vrid)),
        _ => None,
    }
}

impl fmt::Display for VirtualMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.name, self.parent)
    }
}

/// A MAC address as text.
pub(crate) struct Text(pub(crate) [u8; 6]);

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
