//! IPv6 settings of an interface. The kernel has no netlink request for them.

use std::fs;
use std::io;

use vouchd_wire::Family;

/// The settings of an interface with a virtual MAC.
fn wanted(family: Family) -> &'static [(&'static str, &'static str)] {
    match family {
        // No IPv6 there at all, so no address from a router advertisement either.
        Family::V4 => &[("disable_ipv6", "1")],
        // `forwarding` of one interface sets the router flag in its neighbour advertisements (RFC 9568 section 6.4.3). The
        // kernel forwards only if `conf.all.forwarding` is set.
        Family::V6 => &[("disable_ipv6", "0"), ("accept_ra", "0"), ("forwarding", "1")],
    }
}

/// Makes the settings of `interface`. Returns what could not be set, as a text for the operator.
pub(super) fn set(interface: &str, family: Family) -> Result<(), String> {
    let mut refused = Vec::new();
    for (name, value) in wanted(family) {
        if let Err(error) = set_one(interface, name, value) {
            refused.push(format!("net.ipv6.conf.{interface}.{name} = {value}: {error}"));
        }
    }
    if refused.is_empty() { Ok(()) } else { Err(format!("could not set {}", refused.join(", "))) }
}

/// A setting for all interfaces that wins over that of one interface and does not suit a virtual MAC, as a text for the
/// operator.
pub(super) fn obstacle(family: Family) -> Option<String> {
    let read = |name: &str| -> Option<u32> {
        fs::read_to_string(format!("/proc/sys/net/ipv4/conf/all/{name}")).ok()?.trim().parse().ok()
    };
    match family {
        Family::V6 => None,
        Family::V4 if read("arp_filter").is_some_and(|value| value != 0) => Some(
            "net.ipv4.conf.all.arp_filter is set, so ARP is answered with the MAC address of the interface only".into(),
        ),
        Family::V4 if read("arp_ignore").is_some_and(|value| value > 2) => Some(
            "net.ipv4.conf.all.arp_ignore is above 2, so ARP for the addresses may not be answered, or twice".into(),
        ),
        Family::V4 => None,
    }
}

fn set_one(interface: &str, name: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/net/ipv6/conf/{interface}/{name}");
    match fs::read_to_string(&path) {
        Ok(found) if found.trim() == value => Ok(()),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(_) | Err(_) => fs::write(&path, value),
    }
}
