//! Addresses: how they are written, and which of them a host can have.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::VirtualAddress;

pub(super) const ADDRESS: &str =
    "an address, optionally with its prefix length, like \"192.0.2.1\", \"192.0.2.1/24\" or \"2001:db8::1\"";

/// Parses `192.0.2.1` or `192.0.2.1/24`, of either family.
pub(super) fn parse(text: &str) -> Option<VirtualAddress> {
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().ok()?;
    let widest = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
        None => widest,
    };
    (1..=widest).contains(&prefix).then(|| VirtualAddress::new(ip, prefix))
}

/// A suggestion for a string that is not an address; empty if there is none.
pub(super) fn suggestion(text: &str) -> String {
    if let Some((address, rest)) = text.trim().split_once(char::is_whitespace)
        && parse(address).is_some()
    {
        let first = rest.split_whitespace().next().unwrap_or_default();
        return format!("; write {address:?} without {first} and what follows");
    }
    if text.trim() != text && parse(text.trim()).is_some() {
        return format!("; write {:?}, without spaces", text.trim());
    }
    if let Some((address, mask)) = text.split_once('/')
        && let Ok(mask) = mask.parse::<Ipv4Addr>()
    {
        let bits = mask.to_bits();
        if bits.leading_ones() + bits.trailing_zeros() == 32 && bits != 0 {
            return format!("; write \"{address}/{}\": a prefix length, not a mask", bits.leading_ones());
        }
    }
    if let Some((address, prefix)) = text.split_once('/')
        && let Ok(ip) = address.parse::<IpAddr>()
        && prefix.bytes().all(|b| b.is_ascii_digit())
    {
        let widest = if ip.is_ipv4() { 32 } else { 128 };
        return format!("; the prefix length is a number from 1 to {widest}");
    }
    let octets: Option<Vec<u8>> = text.split('.').map(|octet| octet.parse().ok()).collect();
    match octets.as_deref() {
        Some([a, b, c, d]) => format!("; write \"{a}.{b}.{c}.{d}\", without zeros before the numbers"),
        Some(_) | None => String::new(),
    }
}

/// Why no host can have this address. `None` if it can.
pub(super) fn why_no_host(ip: IpAddr) -> Option<&'static str> {
    match ip {
        _ if ip.is_unspecified() => Some("this is the unspecified address"),
        IpAddr::V4(v4) if v4.octets()[0] == 0 => Some("no host can have an address that begins with 0"),
        _ if ip.is_loopback() => Some("this is a loopback address, which no other machine can reach"),
        _ if ip.is_multicast() => Some("this is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("this is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("this is an IPv4 address in IPv6's form"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

/// What the first or last address of a network is. `None` for any other address.
pub(crate) fn network_edge(ip: IpAddr, network: IpAddr, prefix: u8) -> Option<&'static str> {
    let (IpAddr::V4(ip), IpAddr::V4(network)) = (ip, network) else { return None };
    // In a /31 both addresses are hosts (RFC 3021).
    if prefix == 0 || prefix > 30 {
        return None;
    }
    let mask = u32::MAX << (32 - prefix);
    if ip.to_bits() & mask != network.to_bits() & mask {
        return None;
    }
    match ip.to_bits() & !mask {
        0 => Some("the address of the network itself"),
        rest if rest == !mask => Some("the broadcast address"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_and_last_address_of_a_network_are_no_hosts() {
        let network: IpAddr = "192.0.2.77".parse().unwrap();
        for (ip, prefix, is) in [
            ("192.0.2.0", 24, Some("the address of the network itself")),
            ("192.0.2.255", 24, Some("the broadcast address")),
            ("192.0.2.1", 24, None),
            ("192.0.2.64", 26, Some("the address of the network itself")),
            ("192.0.2.127", 26, Some("the broadcast address")),
            ("192.0.2.0", 26, None),
            ("198.51.100.0", 24, None),
            ("192.0.2.76", 31, None),
            ("192.0.2.77", 32, None),
        ] {
            assert_eq!(network_edge(ip.parse().unwrap(), network, prefix), is, "{ip}/{prefix}");
        }
    }
}
