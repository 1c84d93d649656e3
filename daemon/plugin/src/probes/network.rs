//! Links and addresses of the host, in the network namespace that the daemon runs in.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::contract::ProbeError;
use crate::contract::network::{Address, Link};
use crate::probes::changes::Changes;
use crate::shortage::lacking;

pub(crate) fn links(changes: Option<&Changes>) -> Result<Vec<Link>, ProbeError> {
    changes.inspect(|changes| changes.watch_network());
    let mut links = BTreeMap::new();
    for entry in getifaddrs().map_err(failed)? {
        let up = entry.flags.contains(InterfaceFlags::IFF_UP);
        let carrier = entry.flags.contains(InterfaceFlags::IFF_LOWER_UP);
        let name = link_name(entry.interface_name);
        links.insert(name.clone(), Link { name, up, carrier });
    }
    Ok(links.into_values().collect())
}

pub(crate) fn addresses(changes: Option<&Changes>) -> Result<Vec<Address>, ProbeError> {
    changes.inspect(|changes| changes.watch_network());
    let mut addresses = Vec::new();
    for entry in getifaddrs().map_err(failed)? {
        let Some(ip) = entry.address.as_ref().and_then(ip) else { continue };
        let prefix = entry.netmask.as_ref().and_then(ip_bits).unwrap_or(if ip.is_ipv4() { 32 } else { 128 });
        addresses.push(Address { link: link_name(entry.interface_name), ip: ip.to_string(), prefix });
    }
    Ok(addresses)
}

/// The interface by which this host reaches the address, where nothing that it sends there leaves the host.
pub(crate) fn without_carrier(there: SocketAddr) -> Option<String> {
    // Connecting a datagram socket asks for the route, and sends nothing.
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    let here = socket.local_addr().ok()?.ip();
    let mut found = None;
    for entry in getifaddrs().ok()? {
        let address = entry.address.as_ref().and_then(ip);
        // One of its own: no interface is needed.
        if address == Some(there.ip()) {
            return None;
        }
        if address == Some(here) {
            if entry.flags.contains(InterfaceFlags::IFF_LOWER_UP) {
                return None;
            }
            found = Some(link_name(entry.interface_name));
        }
    }
    found
}

/// An IPv4 address may go by a label (`eth0:1`), which begins with the link's name.
fn link_name(label: String) -> String {
    label.split(':').next().unwrap_or_default().to_owned()
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (None, Some(v6)) => Some(IpAddr::V6(v6.ip())),
        (None, None) => None,
    }
}

fn ip_bits(mask: &SockaddrStorage) -> Option<u8> {
    let ones = match ip(mask)? {
        IpAddr::V4(mask) => mask.to_bits().count_ones(),
        IpAddr::V6(mask) => mask.to_bits().count_ones(),
    };
    u8::try_from(ones).ok()
}

/// Whatever keeps the kernel from telling, no link or address is the cause.
fn failed(errno: nix::errno::Errno) -> ProbeError {
    const DOING: &str = "asking the kernel for links and addresses";
    ProbeError::Unable(lacking(errno, DOING).unwrap_or_else(|| format!("this host failed at {DOING}: {errno}")))
}

#[cfg(test)]
mod tests {
    use super::super::connect;
    use super::*;

    #[test]
    fn the_loopback_link_and_its_address_are_found() {
        let links = links(None).unwrap();
        let lo = links.iter().find(|link| link.name == "lo").expect("every machine has it");
        if lo.up {
            assert!(lo.carrier);
            let addresses = addresses(None).unwrap();
            assert!(addresses.iter().any(|a| a.link == "lo" && a.ip == "127.0.0.1" && a.prefix == 8), "{addresses:?}");
        }
    }

    /// What this needs lives in a network of its own, for as long as the thread.
    #[test]
    fn an_interface_without_a_carrier_is_found_by_what_it_should_reach() {
        const LINKS: &str = "ip link set lo up && ip link add dead type veth peer name far && ip link set dead up
            ip link add well type veth peer name near && ip link set well up && ip link set near up
            ip addr add 192.0.2.1/24 dev dead && ip addr add 198.51.100.1/24 dev well
            ip addr add 2001:db8::1/64 dev dead nodad";
        let looks = || {
            if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
                return vouchd_skip::skip("no network namespace", "run as root");
            }
            assert!(std::process::Command::new("sh").args(["-ec", LINKS]).status().unwrap().success());
            for (address, expected) in [
                ("192.0.2.2:80", Some("dead")),
                ("[2001:db8::2]:80", Some("dead")),
                ("198.51.100.2:80", None),
                // Its own, without a route, and itself.
                ("192.0.2.1:80", None),
                ("[2001:db8::1]:80", None),
                ("203.0.113.1:80", None),
                ("127.0.0.1:80", None),
            ] {
                let there = address.parse().unwrap();
                assert_eq!(without_carrier(there).as_deref(), expected, "{address}");
                let silent = connect::unless_unplugged(ProbeError::Timeout, &[there]);
                assert_eq!(silent.rules_out_a_verdict().is_some(), expected.is_some(), "{silent:?}");
            }
            let either = ["192.0.2.2:80".parse().unwrap(), "198.51.100.2:80".parse().unwrap()];
            assert_eq!(connect::unless_unplugged(ProbeError::Timeout, &either), ProbeError::Timeout);
            assert_eq!(connect::unless_unplugged(ProbeError::Refused, &either[..1]), ProbeError::Refused);
        };
        std::thread::spawn(looks).join().unwrap();
    }

    #[test]
    fn a_label_is_told_as_its_link() {
        assert_eq!(link_name("eth0:vip".to_owned()), "eth0");
        assert_eq!(link_name("eth0.12".to_owned()), "eth0.12");
    }
}
