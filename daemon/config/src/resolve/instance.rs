//! `[instance.NAME]`

use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;
use vouchd_printable::is_unprintable;
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, TTL, Version, Vrid};

use crate::InstancePlaces;
use crate::hints::nearest;
use crate::model::{Check, CheckUse, Garp, Instance, Multicast, Peer, Unicast, VirtualAddress};
use crate::reader::{Problems, Table, Value};
use crate::source::Place;

use super::Known;
use super::address::{self, ADDRESS};
use super::check::influence;
use super::routing;

/// An instance and the places of its values.
pub(super) struct Placed {
    pub instance: Instance,
    pub at: InstancePlaces,
}

pub(super) fn instance(
    name: &str,
    mut table: Table<'_>,
    checks: &[Check],
    known: &Known<'_>,
    problems: &mut Problems,
) -> Option<Placed> {
    let interface = table.require("interface", "the network interface, like \"eth0\"", problems);
    let interface_at = interface.as_ref().map(Value::place);
    let interface = interface.and_then(|value| interface_name(&value, problems));
    let meaning = "the virtual router's number, from 1 to 255 and the same on all its routers";
    let vrid_value = table.require("virtual_router_id", meaning, problems);
    let vrid = vrid_value.as_ref().and_then(|v| v.number::<u8>(1..=255, problems)).and_then(|n| Vrid::new(n).ok());
    let priority = table.take("priority").and_then(|v| v.number(1..=255, problems)).map(Priority::new);
    let priority = priority.unwrap_or(Priority::DEFAULT);
    let version = table.take("version").and_then(|v| v.number::<u8>(2..=3, problems));
    let version = if version == Some(3) { Version::V3 } else { Version::V2 };
    let interval = table.take("advert_interval").and_then(|v| advert_interval(&v, version, problems));
    let auth_value = table.take("auth");
    let password_at = auth_value.as_ref().map(Value::key_place);
    let auth = auth_value.and_then(|v| auth(&v, version, problems)).unwrap_or(Auth::None);
    let preempt = table.take("preempt").and_then(|v| v.boolean(problems)).unwrap_or(true);
    let meaning = "the virtual addresses, like [\"192.0.2.1\"]";
    let addresses = table.require("addresses", meaning, problems);
    let addresses = addresses.map(|value| virtual_addresses(&value, problems)).unwrap_or_default();
    let unicast = table.take("unicast").and_then(|v| unicast(&v, priority, &addresses, problems));
    let (unicast, unicast_at) = unicast.unzip();
    let (source_at, peers_at) = unicast_at.unzip();
    let uses = table.take("checks");
    let checks_at = uses.as_ref().map(Value::key_place);
    let uses = uses.map(|value| check_uses(&value, priority, checks, known, problems)).unwrap_or_default();
    let lease = table.take("lease").and_then(|v| v.choice(&[("auto", true), ("off", false)], problems));
    let adopt = table.take("adopt").and_then(|v| adopt(&v, priority, problems)).unwrap_or(false);
    let checksum = table.take("checksum").and_then(|v| checksum(&v, version, problems));
    let routes = table.take("routes").map(|value| routing::routes(&value, problems)).unwrap_or_default();
    let rules = table.take("rules").map(|value| routing::rules(&value, problems)).unwrap_or_default();
    let garp = table.take("garp").map(|value| garp(&value, problems)).unwrap_or_default();
    table.finish(problems);

    let (addresses, places): (Vec<_>, Vec<_>) = addresses.into_iter().unzip();
    let families = families(&addresses);
    let instance = Instance {
        name: name.to_owned(),
        interface: interface?,
        vrid: vrid?,
        priority,
        version,
        also_version_2: false,
        advert_interval: interval.unwrap_or(AdvertInterval::ONE_SECOND),
        auth,
        hmac: None,
        preempt,
        preempt_delay: Duration::ZERO,
        down_timer_adverts: 3,
        startup_delay: Duration::ZERO,
        routers: None,
        addresses,
        extra_addresses: Vec::new(),
        routes,
        rules,
        families,
        unicast,
        multicast: Multicast::default(),
        virtual_mac: None,
        accept: true,
        track: Vec::new(),
        track_link: true,
        link_delay: Duration::ZERO,
        checks: uses,
        lease: lease.unwrap_or(true),
        adopt,
        checksum: checksum.unwrap_or(ChecksumForm::PseudoHeader),
        garp,
    };
    let at = InstancePlaces {
        interface: interface_at?,
        vrid: vrid_value?.place(),
        addresses: places,
        source: source_at,
        peers: peers_at.unwrap_or_default(),
        checks: checks_at,
        password: password_at,
    };
    Some(Placed { instance, at })
}

fn interface_name(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let expected = "the name of a network interface: 1 to 15 characters, no / or : and no spaces";
    let name = value.string(expected, problems)?;
    let valid = (1..=15).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| matches!(c, '/' | ':') || c.is_whitespace() || is_unprintable(c));
    if !valid {
        let meant = match name.split_once(':') {
            Some((interface, _)) if !interface.is_empty() => {
                format!("; what follows the colon is an address label: write {interface:?}")
            }
            Some(_) | None => String::new(),
        };
        value.error(format!("expected {expected}{meant}"), problems);
    }
    valid.then(|| name.to_owned())
}

fn adopt(value: &Value<'_>, priority: Priority, problems: &mut Problems) -> Option<bool> {
    let adopt = value.boolean(problems)?;
    if adopt && priority == Priority::OWNER {
        value.error("an owner (priority = 255) keeps the addresses of its host; leave adopt out", problems);
    }
    Some(adopt)
}

fn advert_interval(value: &Value<'_>, version: Version, problems: &mut Problems) -> Option<AdvertInterval> {
    let expected = match version {
        Version::V2 => ", whole seconds from 1s to 255s; faster advertisements need version = 3",
        Version::V3 => ", a multiple of 10ms from 10ms to 40950ms",
    };
    value.duration_that(expected, |duration| AdvertInterval::new(version, duration).ok(), problems)
}

fn auth(value: &Value<'_>, version: Version, problems: &mut Problems) -> Option<Auth> {
    let mut table = value.table("a table, like { type = \"pass\", password = \"1234\" }", problems)?;
    let kind = table.require("type", "\"pass\", the only type", problems);
    kind.and_then(|v| v.choice(&[("pass", ())], problems));
    let password = table.require("password", "a password of 1 to 8 bytes", problems);
    let auth = password.and_then(|value| {
        let expected = "expected a password of 1 to 8 bytes; other routers use only the first 8 bytes of a longer one, so write \
                        those";
        let password = value.string("a password of 1 to 8 bytes", problems)?;
        let fits = (1..=8).contains(&password.len());
        if !fits {
            value.error(expected, problems);
        }
        fits.then(|| Auth::simple(password.as_bytes()))
    });
    table.finish(problems);
    match version {
        Version::V2 => auth,
        Version::V3 => {
            let message = "version 3 has no authentication; leave auth out, or set version = 2";
            problems.error(value.key_place(), value.path.clone(), message);
            None
        }
    }
}

fn virtual_addresses(value: &Value<'_>, problems: &mut Problems) -> Vec<(VirtualAddress, Place)> {
    let Some(items) = value.list("a list of addresses, like [\"192.0.2.1\"]", problems) else { return Vec::new() };
    if !(1..=255).contains(&items.len()) {
        value.error(format!("expected 1 to 255 addresses, found {}", items.len()), problems);
    }
    let mut addresses: Vec<(VirtualAddress, Place)> = Vec::new();
    for item in &items {
        let Some(text) = item.string(ADDRESS, problems) else { continue };
        let Some(address) = address::parse(text) else {
            item.error(format!("expected {ADDRESS}{}", address::suggestion(text)), problems);
            continue;
        };
        if let Some((_, first)) = addresses.iter().find(|(a, _)| a.ip == address.ip) {
            item.error(format!("this address is listed twice, first at {first}; remove one"), problems);
        } else if let Some((first, _)) = addresses.first().filter(|(a, _)| a.ip.is_ipv4() != address.ip.is_ipv4()) {
            let message = "expected addresses of one family; use one instance for IPv4 and one for IPv6";
            item.error(format!("{message} (the first address is {})", first.ip), problems);
        } else {
            match address.ip {
                IpAddr::V4(ip) => {
                    let edge = || address::network_edge(address.ip, address.ip, address.prefix);
                    let of = || edge().map(|edge| format!("this is {edge} of its /{} network", address.prefix));
                    if let Some(why) = address::why_no_host(ip).map(str::to_owned).or_else(of) {
                        item.error(format!("{why}; expected the address of a host"), problems);
                    }
                }
                // One error is enough for all addresses.
                IpAddr::V6(_) if addresses.is_empty() => {
                    item.error("IPv6 is not available in this version; expected an IPv4 address", problems);
                }
                IpAddr::V6(_) => {}
            }
            addresses.push((address, item.place()));
        }
    }
    addresses
}

fn families(addresses: &[VirtualAddress]) -> Vec<Family> {
    let mut families: Vec<Family> = addresses.iter().map(|address| Family::of(address.ip)).collect();
    families.sort_unstable();
    families.dedup();
    families
}

fn unicast(
    value: &Value<'_>,
    priority: Priority,
    addresses: &[(VirtualAddress, Place)],
    problems: &mut Problems,
) -> Option<(Unicast, (Place, Vec<Place>))> {
    let example = "a table, like { source = \"192.0.2.11\", peers = [\"192.0.2.12\"] }";
    let mut table = value.table(example, problems)?;
    let source_value = table.require("source", "this router's own address on the interface", problems);
    let source = source_value.as_ref().and_then(|v| peer_address(v, problems));
    if let (Some(value), Some(source)) = (&source_value, source)
        && priority != Priority::OWNER
        && addresses.iter().any(|(address, _)| address.ip == source)
    {
        let message = "this is a virtual address, which this router does not always have; expected another address of this \
                       host (or priority = 255, if it owns the address)";
        value.error(message, problems);
    }
    let peers_value = table.require("peers", "the other routers' addresses", problems);
    let mut peers = Vec::new();
    let mut places = Vec::new();
    if let Some(value) = peers_value {
        let items = value.list("a list of addresses, like [\"192.0.2.12\"]", problems).unwrap_or_default();
        if items.is_empty() && value.get().is_array() {
            value.error("expected at least one peer; leave unicast out to use multicast", problems);
        }
        for item in items {
            let Some(peer) = peer_address(&item, problems) else { continue };
            if addresses.iter().any(|(address, _)| address.ip == peer) {
                let message = "this is a virtual address: while this router holds it, it would send to itself; expected the \
                               peer's own address (only a peer that owns it, with priority = 255, always has it)";
                item.warn(message, problems);
            }
            if Some(peer) == source {
                item.error("this is unicast.source, the router itself; expected only the other routers", problems);
            } else if peers.contains(&peer) {
                item.error("this peer is listed twice; remove one", problems);
            } else {
                peers.push(peer);
                places.push(item.place());
            }
        }
    }
    table.finish(problems);
    for (ip, place) in peers.iter().zip(&places).chain(source.iter().zip(&source_value.as_ref().map(Value::place))) {
        let edge = |(of, _): &(VirtualAddress, Place)| {
            let edge = address::network_edge(*ip, of.ip, of.prefix)?;
            Some(format!("this is {edge} of {}/{}; expected the address of a router", of.ip, of.prefix))
        };
        if let Some(message) = addresses.iter().find_map(edge) {
            problems.error(place.clone(), format!("{}: {ip}", value.path), message);
        }
    }
    let sources = vec![source?];
    let peers = peers.into_iter().map(|address| Peer { address, hop_limit: TTL }).collect();
    Some((Unicast { sources, peers }, (source_value?.place(), places)))
}

fn peer_address(value: &Value<'_>, problems: &mut Problems) -> Option<IpAddr> {
    const EXPECTED: &str = "the IPv4 address of a router, like \"192.0.2.11\"";
    let ip = value.string(EXPECTED, problems)?.parse::<IpAddr>().ok();
    match ip {
        Some(IpAddr::V4(v4)) => match address::why_no_host(v4) {
            None => ip,
            Some(why) => {
                value.error(format!("{why}; expected {EXPECTED}"), problems);
                None
            }
        },
        Some(IpAddr::V6(_)) => {
            value.error("IPv6 is not available in this version; expected an IPv4 address", problems);
            None
        }
        None => {
            value.error(format!("expected {EXPECTED}"), problems);
            None
        }
    }
}

fn check_uses(
    value: &Value<'_>,
    priority: Priority,
    checks: &[Check],
    known: &Known<'_>,
    problems: &mut Problems,
) -> Vec<CheckUse> {
    const EXPECTED: &str = "the name of a check, or a table like { name = \"site\", weight = -20 }";
    let mut uses: Vec<CheckUse> = Vec::new();
    let items = value.list("a list of checks, like [\"nginx\"]", problems).unwrap_or_default();
    for item in items {
        let (named, mut overrides) = match item.get() {
            DeValue::Table(_) => {
                let Some(mut table) = item.table(EXPECTED, problems) else { continue };
                let named = table.require("name", "the name of a check", problems);
                (named, Some(table))
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => (Some(item.clone()), None),
        };
        let name = named.as_ref().and_then(|v| v.string(EXPECTED, problems));
        let check = name.and_then(|name| checks.iter().find(|c| c.name == name));
        let inherited = check.map(|c| c.influence).unwrap_or_default();
        let influence = match &mut overrides {
            Some(table) => influence(table, inherited, problems),
            None => inherited,
        };
        if let Some(table) = overrides {
            table.finish(problems);
        }
        let (Some(named), Some(name)) = (named, name) else { continue };
        if !known.checks.contains(&name) {
            if known.all_read {
                named.error(unknown_check(name, &known.checks), problems);
            }
        } else if uses.iter().any(|u| u.check == name) {
            named.error("this check is listed twice; remove one", problems);
        } else {
            if let Some(why) = useless_weight(priority, influence.weight.map(i16::from)) {
                named.warn(why, problems);
            }
            uses.push(CheckUse { check: name.to_owned(), influence });
        }
    }
    uses
}

fn unknown_check(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there is no such check; expected a [check.{name}] in one of the files");
    }
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map(|check| format!(" (did you mean {check:?}?)")).unwrap_or_default();
    format!("there is no such check{meant}; expected one of: {}", known.join(", "))
}

/// Why a weight can never change the effective priority, which is clamped to 1..=254. `None` if it can.
fn useless_weight(priority: Priority, weight: Option<i16>) -> Option<&'static str> {
    let weight = weight?;
    match priority.get() {
        255 => Some("its weight has no effect: this instance owns its addresses (priority = 255)"),
        254 if weight > 0 => Some("its weight has no effect: priority = 254 can't be raised"),
        1 if weight < 0 => Some("its weight has no effect: priority = 1 can't be lowered"),
        _ => None,
    }
}

fn checksum(value: &Value<'_>, version: Version, problems: &mut Problems) -> Option<ChecksumForm> {
    let words = [("pseudo-header", ChecksumForm::PseudoHeader), ("message-only", ChecksumForm::MessageOnly)];
    let form = value.choice(&words, problems)?;
    match version {
        Version::V3 => Some(form),
        Version::V2 => {
            value.error("version 2 has only one form; leave checksum out, or use version = 3", problems);
            None
        }
    }
}

fn garp(value: &Value<'_>, problems: &mut Problems) -> Garp {
    let mut garp = Garp::default();
    let Some(mut table) = value.table("a table, like { repeat = 5, delay = \"5s\" }", problems) else { return garp };
    if let Some(value) = table.take("repeat") {
        garp.repeat = value.number(1..=100, problems).unwrap_or(garp.repeat);
    }
    if let Some(value) = table.take("delay") {
        garp.delay = value.duration(Duration::ZERO..=Duration::from_secs(3600), problems).unwrap_or(garp.delay);
    }
    if let Some(value) = table.take("refresh") {
        garp.refresh = value.duration(Duration::ZERO..=Duration::from_secs(86_400), problems).unwrap_or(garp.refresh);
    }
    if let Some(value) = table.take("refresh_repeat") {
        garp.refresh_repeat = value.number(1..=100, problems).unwrap_or(garp.refresh_repeat);
    }
    table.finish(problems);
    garp
}
