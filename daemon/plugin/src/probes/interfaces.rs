//! This host's links and addresses, in the network namespace that the checker runs in.
//!
//! Read by getifaddrs(3), and not with rtnetlink: netlink-proto drops a message of the kernel that it can't decode, and a
//! link or address missing from the list would be a false verdict.

use std::net::IpAddr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

/// One address of a link, or a link without one.
pub(super) struct Entry {
    pub(super) link: String,
    pub(super) is_up: bool,
    pub(super) has_carrier: bool,
    pub(super) address: Option<IpAddr>,
    /// Length of the address's prefix in bits.
    pub(super) prefix: u8,
}

pub(super) fn entries() -> nix::Result<impl Iterator<Item = Entry>> {
    Ok(getifaddrs()?.map(Entry::from))
}

impl From<InterfaceAddress> for Entry {
    fn from(entry: InterfaceAddress) -> Self {
        let address = entry.address.as_ref().and_then(ip);
        let whole = if address.is_some_and(|ip| ip.is_ipv4()) { 32 } else { 128 };
        Entry {
            link: link_name(&entry.interface_name).to_owned(),
            is_up: entry.flags.contains(InterfaceFlags::IFF_UP),
            has_carrier: entry.flags.contains(InterfaceFlags::IFF_LOWER_UP),
            address,
            prefix: entry.netmask.as_ref().and_then(ones).unwrap_or(whole),
        }
    }
}

/// An IPv4 address may go by a label (`eth0:1`), which begins with the link's name.
fn link_name(label: &str) -> &str {
    label.split(':').next().unwrap_or_default()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (None, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        (None, None) => None,
    }
}

fn ones(mask: &SockaddrStorage) -> Option<u8> {
    let ones = match ip(mask)? {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    u8::try_from(ones).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_names_its_link() {
        assert_eq!(link_name("eth0:vip"), "eth0");
        assert_eq!(link_name("eth0.12"), "eth0.12");
    }
}
