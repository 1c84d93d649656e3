//! `addresses` and `extra_addresses` of an instance.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use toml::de::DeValue;
use vouchd_wire::{Family, Vrid};

use super::super::address::{self, ADDRESS};
use super::interface_name;
use crate::model::{AddressFlags, VirtualAddress};
use crate::reader::{Problems, Table, Value};
use crate::source::Place;

/// The count in an advertisement has 8 bits.
const MAX_ADVERTISED: usize = 255;

/// An address and its place.
pub(super) type PlacedAddress = (VirtualAddress, Place);

/// Reads `addresses`: at most 255 of each family, over IPv6 a link-local one first.
pub(super) fn advertised(value: &Value<'_>, vrid: Option<Vrid>, problems: &mut Problems) -> Vec<PlacedAddress> {
    let mut addresses = list(value, &[], problems);
    for family in [Family::V4, Family::V6] {
        let count = addresses.iter().filter(|(address, _)| Family::of(address.ip) == family).count();
        if count > MAX_ADVERTISED {
            let message = format!(
                "expected at most {MAX_ADVERTISED} {family} addresses, found {count}; move the others to extra_addresses"
            );
            value.error(message, problems);
        }
    }
    if let Some(vrid) = vrid {
        put_link_local_first(&mut addresses, vrid, value, problems);
    }
    addresses
}

/// Reads `extra_addresses`: any number, none of which is in `advertised`.
pub(super) fn extra(value: &Value<'_>, advertised: &[PlacedAddress], problems: &mut Problems) -> Vec<PlacedAddress> {
    list(value, advertised, problems)
}

/// RFC 9568 section 5.2.9: the first IPv6 address is link-local. One that is listed later moves to the front; if there is
/// none, the address made from the virtual MAC is added.
fn put_link_local_first(addresses: &mut Vec<PlacedAddress>, vrid: Vrid, value: &Value<'_>, problems: &mut Problems) {
    let Some(first) = addresses.iter().position(|(address, _)| address.ip.is_ipv6()) else { return };
    let is_link_local =
        |(address, _): &PlacedAddress| matches!(address.ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    match addresses.iter().position(is_link_local) {
        Some(at) => {
            let address = addresses.remove(at);
            addresses.insert(first, address);
        }
        None => {
            let ip = link_local_of(vrid);
            let message = format!(
                "an IPv6 virtual router needs a link-local address first, so {ip} is added: set it on the other routers \
                 too, or list another one"
            );
            problems.warn(value.place(), value.path.clone(), message);
            let address = VirtualAddress { flags: deprecated(), ..VirtualAddress::new(ip.into(), 128) };
            addresses.insert(first, (address, value.place()));
        }
    }
}

/// The link-local address of the virtual MAC 00:00:5e:00:02:VRID (RFC 4291 appendix A).
fn link_local_of(vrid: Vrid) -> Ipv6Addr {
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0x0200, 0x5eff, 0xfe00, 0x0200 | u16::from(vrid.get()))
}

fn deprecated() -> AddressFlags {
    AddressFlags { deprecated: true, ..AddressFlags::default() }
}

fn list(value: &Value<'_>, others: &[PlacedAddress], problems: &mut Problems) -> Vec<PlacedAddress> {
    let Some(items) = value.list("a list of addresses, like [\"192.0.2.1\"]", problems) else { return Vec::new() };
    let mut addresses: Vec<PlacedAddress> = Vec::new();
    for item in &items {
        let Some(address) = one(item, problems) else { continue };
        let mut all = others.iter().chain(&addresses);
        if let Some((_, first)) = all.find(|(other, _)| other.ip == address.ip) {
            item.error(format!("this address is listed twice, first at {first}; remove one"), problems);
        } else {
            addresses.push((address, item.place()));
        }
    }
    addresses
}

fn one(item: &Value<'_>, problems: &mut Problems) -> Option<VirtualAddress> {
    let DeValue::Table(_) = item.get() else {
        let text = item.string(ADDRESS, problems)?;
        return parse(item, text, problems);
    };
    let mut table = item.table(ADDRESS, problems)?;
    let written = table.require("address", ADDRESS, problems);
    let address = written.as_ref().and_then(|value| {
        let text = value.string(ADDRESS, problems)?;
        parse(value, text, problems)
    });
    // Without a valid address, the attributes are read for their own errors.
    let placeholder = || VirtualAddress::new(Ipv4Addr::UNSPECIFIED.into(), 24);
    let is_valid = address.is_some();
    let address = attributes(address.unwrap_or_else(placeholder), &mut table, problems);
    table.finish(problems);
    is_valid.then_some(address)
}

fn parse(item: &Value<'_>, text: &str, problems: &mut Problems) -> Option<VirtualAddress> {
    let Some(mut address) = address::parse(text) else {
        item.error(format!("expected {ADDRESS}{}", address::suggestion(text)), problems);
        return None;
    };
    let edge = || address::network_edge(address.ip, address.ip, address.prefix);
    let of = || edge().map(|edge| format!("this is {edge} of its /{} network", address.prefix));
    if let Some(why) = address::why_no_host(address.ip).map(str::to_owned).or_else(of) {
        item.error(format!("{why}; expected the address of a host"), problems);
    }
    // As keepalived: a host address must not become the source of the host's own connections.
    address.flags.deprecated = address.ip.is_ipv6() && address.prefix == 128;
    Some(address)
}

fn attributes(mut address: VirtualAddress, table: &mut Table<'_>, problems: &mut Problems) -> VirtualAddress {
    let v4 = address.ip.is_ipv4();
    address.interface = table.take("interface").and_then(|value| interface_name(&value, problems));
    address.label = table.take("label").and_then(|value| label(&value, v4, problems));
    if let Some(value) = table.take("scope") {
        let words = [("global", 0), ("site", 200), ("link", 253), ("host", 254)];
        address.scope = value.choice(&words, problems).unwrap_or(0);
    }
    if let Some(value) = table.take("broadcast") {
        address.broadcast = broadcast(&value, &address, problems);
    }
    address.peer = table.take("peer").and_then(|value| peer(&value, v4, problems));
    let flags = &mut address.flags;
    for (key, flag, needs_v6) in [
        ("home", &mut flags.home, true),
        ("manage_temporary", &mut flags.manage_temporary, true),
        ("no_prefix_route", &mut flags.no_prefix_route, false),
        ("auto_join", &mut flags.auto_join, false),
        ("deprecated", &mut flags.deprecated, false),
    ] {
        let Some(value) = table.take(key) else { continue };
        *flag = value.boolean(problems).unwrap_or(false);
        if *flag && needs_v6 && v4 {
            value.error("only an IPv6 address has this flag; leave it out", problems);
        }
    }
    address
}

fn label(value: &Value<'_>, v4: bool, problems: &mut Problems) -> Option<String> {
    const EXPECTED: &str =
        "the label of an IPv4 address: 1 to 15 characters, beginning with the interface's name, like \"eth0:1\"";
    let label = value.string(EXPECTED, problems)?;
    if !v4 {
        value.error("an IPv6 address has no label; leave it out", problems);
        return None;
    }
    let valid = (1..=15).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
    if !valid {
        value.error(format!("expected {EXPECTED}"), problems);
    }
    valid.then(|| label.to_owned())
}

fn broadcast(value: &Value<'_>, address: &VirtualAddress, problems: &mut Problems) -> Option<Ipv4Addr> {
    const EXPECTED: &str =
        "the broadcast address of an IPv4 network, like \"192.0.2.255\", or true for the last address of the prefix";
    let IpAddr::V4(ip) = address.ip else {
        value.error("IPv6 has no broadcast address; leave it out", problems);
        return None;
    };
    match value.get() {
        DeValue::Boolean(false) => None,
        DeValue::Boolean(true) if address.prefix < 31 => {
            Some(Ipv4Addr::from_bits(ip.to_bits() | (u32::MAX >> address.prefix)))
        }
        DeValue::Boolean(true) => {
            let message =
                format!("a /{} has no broadcast address; expected an address, or leave it out", address.prefix);
            value.error(message, problems);
            None
        }
        _ => {
            let parsed = value.string(EXPECTED, problems)?.parse().ok();
            if parsed.is_none() {
                value.error(format!("expected {EXPECTED}"), problems);
            }
            parsed
        }
    }
}

fn peer(value: &Value<'_>, v4: bool, problems: &mut Problems) -> Option<IpAddr> {
    const EXPECTED: &str = "the address at the other end of the link, of the same family";
    let parsed = value.string(EXPECTED, problems)?.parse::<IpAddr>().ok().filter(|ip| ip.is_ipv4() == v4);
    if parsed.is_none() {
        value.error(format!("expected {EXPECTED}"), problems);
    }
    parsed
}
