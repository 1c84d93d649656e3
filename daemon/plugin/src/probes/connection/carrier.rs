//! Whether silence is the service's, or that of an unplugged cable at this host.

use super::super::interfaces;
use crate::contract::ProbeError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Blames this host for a timeout or an unreachable next hop where the interface towards every one of the addresses has no
/// carrier: that says nothing about the service. Other errors stay as they are.
pub(in crate::probes) fn unless_unplugged(error: ProbeError, addresses: &[SocketAddr]) -> ProbeError {
    if !matches!(error, ProbeError::Timeout | ProbeError::Other(_)) {
        return error;
    }
    let links: Option<Vec<_>> = addresses.iter().map(|address| without_carrier(*address)).collect();
    match (links.as_ref().and_then(|links| links.first()), addresses) {
        (Some(link), [address, ..]) => ProbeError::Unable(format!(
            "{link} has no carrier, and {address} is reached by it: look at its cable, switch port, or virtual switch"
        )),
        _ => error,
    }
}

/// The interface by which this host reaches the address, if it has no carrier.
fn without_carrier(there: SocketAddr) -> Option<String> {
    // Connecting a datagram socket makes the kernel choose a route, and sends nothing.
    let any: IpAddr = if there.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(there).ok()?;
    let here = socket.local_addr().ok()?.ip();
    let mut found = None;
    for entry in interfaces::entries().ok()? {
        // One of this host's own: no interface is needed.
        if entry.address == Some(there.ip()) {
            return None;
        }
        if entry.address == Some(here) {
            if entry.has_carrier {
                return None;
            }
            found = Some(entry.link);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this needs lives in a network of its own, for as long as the thread.
    #[test]
    fn interface_without_carrier_is_found_by_what_it_should_reach() {
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
                let silent = unless_unplugged(ProbeError::Timeout, &[there]);
                assert_eq!(silent.rules_out_a_verdict().is_some(), expected.is_some(), "{silent:?}");
            }
            let either = ["192.0.2.2:80".parse().unwrap(), "198.51.100.2:80".parse().unwrap()];
            assert_eq!(unless_unplugged(ProbeError::Timeout, &either), ProbeError::Timeout);
            assert_eq!(unless_unplugged(ProbeError::Refused, &either[..1]), ProbeError::Refused);
        };
        std::thread::spawn(looks).join().unwrap();
    }
}
