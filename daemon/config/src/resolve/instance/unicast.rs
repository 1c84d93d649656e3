//! `unicast` and `multicast` of an instance: where advertisements come from and go to.

use std::net::IpAddr;

use toml::de::DeValue;
use vouchd_wire::{Family, Priority, TTL};

use super::super::address;
use super::addresses::PlacedAddress;
use crate::model::{Multicast, Peer, Unicast, VirtualAddress};
use crate::reader::{Problems, Value};
use crate::source::Place;

/// `unicast` and the places of its values.
pub(super) struct PlacedUnicast {
    pub(super) unicast: Unicast,
    /// As many as there are sources.
    pub(super) sources_at: Vec<Place>,
    /// As many as there are peers.
    pub(super) peers_at: Vec<Place>,
}

pub(super) fn unicast(
    value: &Value<'_>,
    priority: Priority,
    addresses: &[PlacedAddress],
    problems: &mut Problems,
) -> Option<PlacedUnicast> {
    let example = "a table, like { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }";
    let mut table = value.table(example, problems)?;
    let sources = table.require("source", "this router's own address", problems);
    let sources = sources.map(|value| one_of_each_family(&value, router_address, problems)).unwrap_or_default();
    for (source, item) in &sources {
        if priority != Priority::OWNER && addresses.iter().any(|(address, _)| address.ip == *source) {
            let message = "this is a virtual address, which this router does not always have; expected another address of \
                           this host (or priority = 255, if it owns the address)";
            item.error(message, problems);
        }
    }
    let hop_limit = table.take("hop_limit").and_then(|value| hop_limit(&value, problems)).unwrap_or(TTL);
    let peers = table.require("peers", "the other routers' addresses", problems);
    let peers = peers.map(|value| peers_of(&value, hop_limit, &sources, addresses, problems)).unwrap_or_default();
    table.finish(problems);

    let ends =
        sources.iter().map(|(ip, item)| (*ip, item)).chain(peers.iter().map(|(peer, item)| (peer.address, item)));
    for (ip, item) in ends {
        let edge = |(of, _): &PlacedAddress| {
            let edge = address::network_edge(ip, of.ip, of.prefix)?;
            Some(format!("this is {edge} of {}/{}; expected the address of a router", of.ip, of.prefix))
        };
        if let Some(message) = addresses.iter().find_map(edge) {
            problems.error(item.place(), format!("{}: {ip}", value.path), message);
        }
    }
    check_families(value, &sources, &peers, addresses, problems);
    let (sources, sources_at): (Vec<_>, Vec<_>) = sources.into_iter().map(|(ip, item)| (ip, item.place())).unzip();
    let (peers, peers_at): (Vec<_>, Vec<_>) = peers.into_iter().map(|(peer, item)| (peer, item.place())).unzip();
    (!sources.is_empty()).then_some(PlacedUnicast { unicast: Unicast { sources, peers }, sources_at, peers_at })
}

/// Each family of the addresses needs a source and a peer, and each source and peer a virtual router of its family.
fn check_families(
    value: &Value<'_>,
    sources: &[(IpAddr, Value<'_>)],
    peers: &[(Peer, Value<'_>)],
    addresses: &[PlacedAddress],
    problems: &mut Problems,
) {
    if sources.is_empty() || peers.is_empty() {
        return;
    }
    for family in [Family::V4, Family::V6] {
        let has_source = sources.iter().any(|(ip, _)| Family::of(*ip) == family);
        let has_peer = peers.iter().any(|(peer, _)| Family::of(peer.address) == family);
        let has_address = addresses.iter().any(|(address, _)| Family::of(address.ip) == family);
        let missing = match (has_address || addresses.is_empty() && (has_source || has_peer), has_source, has_peer) {
            (true, false, true) => format!("the peers need an {family} source; add one to source"),
            (true, true, false) => format!("there is no {family} peer; add one to peers"),
            (true, false, false) => {
                format!("the {family} addresses need an {family} source and an {family} peer; add them")
            }
            (false, _, _) if has_source || has_peer => {
                format!("there is no {family} virtual address; leave the {family} source and peers out")
            }
            (true, true, true) | (false, _, _) => continue,
        };
        // One error is enough for both families.
        return problems.error(value.key_place(), value.path.clone(), missing);
    }
}

fn peers_of<'a>(
    value: &Value<'a>,
    hop_limit: u8,
    sources: &[(IpAddr, Value<'a>)],
    addresses: &[PlacedAddress],
    problems: &mut Problems,
) -> Vec<(Peer, Value<'a>)> {
    let items = value.list("a list of addresses, like [\"192.0.2.12\"]", problems).unwrap_or_default();
    if items.is_empty() && value.get().is_array() {
        value.error("expected at least one peer; leave unicast out to use multicast", problems);
    }
    let mut peers: Vec<(Peer, Value<'a>)> = Vec::new();
    for item in items {
        let Some(peer) = peer(&item, hop_limit, problems) else { continue };
        if addresses.iter().any(|(address, _)| address.ip == peer.address) {
            let message = "this is a virtual address: while this router holds it, it would send to itself; expected the peer's \
                           own address (only a peer that owns it, with priority = 255, always has it)";
            item.warn(message, problems);
        }
        if sources.iter().any(|(source, _)| *source == peer.address) {
            item.error("this is unicast.source, the router itself; expected only the other routers", problems);
        } else if peers.iter().any(|(other, _)| other.address == peer.address) {
            item.error("this peer is listed twice; remove one", problems);
        } else {
            peers.push((peer, item));
        }
    }
    peers
}

/// `"192.0.2.12"`, or `{ address = "192.0.2.12", hop_limit = 250 }`.
fn peer(item: &Value<'_>, inherited: u8, problems: &mut Problems) -> Option<Peer> {
    let DeValue::Table(_) = item.get() else {
        return Some(Peer { address: router_address(item, problems)?, hop_limit: inherited });
    };
    let mut table = item.table(ROUTER, problems)?;
    let address = table.require("address", ROUTER, problems);
    let address = address.and_then(|value| router_address(&value, problems));
    let own = table.take("hop_limit").and_then(|value| hop_limit(&value, problems));
    table.finish(problems);
    Some(Peer { address: address?, hop_limit: own.unwrap_or(inherited) })
}

fn hop_limit(value: &Value<'_>, problems: &mut Problems) -> Option<u8> {
    let note = ": the least TTL or hop limit that an accepted packet arrives with";
    value.integer(1..=255, note, problems).and_then(|n| u8::try_from(n).ok())
}

const ROUTER: &str = "the address of a router, like \"192.0.2.11\"";

fn router_address(value: &Value<'_>, problems: &mut Problems) -> Option<IpAddr> {
    let ip = value.string(ROUTER, problems)?.parse::<IpAddr>().ok();
    let Some(ip) = ip else {
        value.error(format!("expected {ROUTER}"), problems);
        return None;
    };
    if let Some(why) = address::why_no_host(ip) {
        value.error(format!("{why}; expected {ROUTER}"), problems);
        return None;
    }
    Some(ip)
}

pub(super) fn multicast(value: &Value<'_>, addresses: &[VirtualAddress], problems: &mut Problems) -> Multicast {
    let example = "a table, like { group = \"224.0.0.200\", source = \"192.0.2.11\" }";
    let Some(mut table) = value.table(example, problems) else { return Multicast::default() };
    let groups = table.take("group").map(|value| one_of_each_family(&value, group, problems)).unwrap_or_default();
    let sources =
        table.take("source").map(|value| one_of_each_family(&value, router_address, problems)).unwrap_or_default();
    table.finish(problems);
    for (ip, item) in groups.iter().chain(&sources) {
        let family = Family::of(*ip);
        if !addresses.is_empty() && !addresses.iter().any(|address| Family::of(address.ip) == family) {
            item.error(format!("there is no {family} virtual address; leave it out"), problems);
        }
    }
    let ips = |list: Vec<(IpAddr, Value<'_>)>| list.into_iter().map(|(ip, _)| ip).collect();
    Multicast { groups: ips(groups), sources: ips(sources) }
}

fn group(value: &Value<'_>, problems: &mut Problems) -> Option<IpAddr> {
    const EXPECTED: &str = "a multicast address, like \"224.0.0.200\" or \"ff02::200\"";
    let ip = value.string(EXPECTED, problems)?.parse::<IpAddr>().ok().filter(IpAddr::is_multicast);
    if ip.is_none() {
        value.error(format!("expected {EXPECTED}"), problems);
    }
    ip
}

/// Reads one address, or a list with at most one of each family.
fn one_of_each_family<'a>(
    value: &Value<'a>,
    read: fn(&Value<'_>, &mut Problems) -> Option<IpAddr>,
    problems: &mut Problems,
) -> Vec<(IpAddr, Value<'a>)> {
    let items = match value.get() {
        DeValue::Array(_) => value.list("a list of addresses", problems).unwrap_or_default(),
        _ => vec![value.clone()],
    };
    if items.is_empty() {
        value.error("expected an address, or a list of one for each family", problems);
    }
    let mut found: Vec<(IpAddr, Value<'a>)> = Vec::new();
    for item in items {
        let Some(ip) = read(&item, problems) else { continue };
        if found.iter().any(|(other, _)| Family::of(*other) == Family::of(ip)) {
            item.error(format!("expected one {} address; remove one", Family::of(ip)), problems);
        } else {
            found.push((ip, item));
        }
    }
    found
}
