//! `[instance.NAME]`

mod addresses;
mod auth;
mod track;
mod unicast;
mod uses;

use std::time::Duration;

use toml::de::DeValue;
use vouchd_printable::is_unprintable;
use vouchd_wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};

use crate::InstancePlaces;
use crate::model::{Check, Garp, Instance, Multicast, Unicast, VirtualAddress};
use crate::reader::{Problems, Table, Value};

use self::auth::Authentication;
use super::Known;
use super::routing;
pub(super) use track::track;
pub(super) use uses::check_uses;

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
    startup_delay: Duration,
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

    let meaning = "the virtual addresses, like [\"192.0.2.1\"]; [] for an instance without addresses";
    let addresses = table.require("addresses", meaning, problems);
    let addresses = addresses.map(|value| addresses::advertised(&value, vrid, problems)).unwrap_or_default();
    let extra = table.take("extra_addresses");
    let extra = extra.map(|value| addresses::extra(&value, &addresses, problems)).unwrap_or_default();
    let unicast_value = table.take("unicast");
    let unicast = unicast_value.as_ref().and_then(|v| unicast::unicast(v, priority, &addresses, problems));
    let (sources_at, peers_at) =
        unicast.as_ref().map(|placed| (placed.sources_at.clone(), placed.peers_at.clone())).unwrap_or_default();
    let unicast = unicast.map(|placed| placed.unicast);
    let (addresses, places): (Vec<_>, Vec<_>) = addresses.into_iter().unzip();
    let multicast_value = table.take("multicast");
    let multicast = multicast_value.as_ref().map(|v| unicast::multicast(v, &addresses, problems)).unwrap_or_default();
    if let (Some(value), Some(_)) = (&multicast_value, &unicast_value) {
        problems.error(
            value.key_place(),
            value.path.clone(),
            "with unicast nothing goes to a group; leave one of them out",
        );
    }
    let families = families(&addresses, unicast.as_ref(), &multicast);

    let (version, also_version_2) = version(table.take("version").as_ref(), &families, problems);
    let interval = table.take("advert_interval");
    let interval = interval.and_then(|v| advert_interval(&v, version, also_version_2, problems));
    let auth_value = table.take("auth");
    let auth_at = auth_value.as_ref().map(Value::key_place);
    let has_secret = auth_value.as_ref().is_some_and(auth::has_secret);
    let (auth, hmac) = match auth_value.and_then(|v| auth::auth(&v, version, known.keys, problems)) {
        Some(Authentication::Password(auth)) => (auth, None),
        Some(Authentication::Hmac(hmac)) => (Auth::None, Some(hmac)),
        None => (Auth::None, None),
    };
    let preempt = table.take("preempt").and_then(|v| v.boolean(problems)).unwrap_or(true);
    let preempt_delay = table.take("preempt_delay").map(|v| preempt_delay(&v, preempt, priority, problems));
    let down_timer_adverts = table.take("down_timer_adverts").and_then(|v| v.number(1..=100, problems)).unwrap_or(3);
    let own_delay = table.take("startup_delay").and_then(|v| v.duration(Duration::ZERO..=MAX_DELAY, problems));
    let routers = table.take("routers").and_then(|v| routers(&v, unicast.as_ref(), problems));
    let virtual_mac = table.take("virtual_mac").and_then(|v| track::virtual_mac(&v, problems));
    let accept = table.take("accept").and_then(|v| accept(&v, priority, problems));
    let tracked = table.take("track").map(|v| track(&v, Some(priority), problems)).unwrap_or_default();
    let track_link = table.take("track_link").and_then(|v| v.boolean(problems)).unwrap_or(true);
    let interval = interval.unwrap_or(AdvertInterval::ONE_SECOND);
    let silence = interval.duration() * u32::from(down_timer_adverts - 1);
    let link_delay = table.take("link_delay").and_then(|v| link_delay(&v, silence, problems)).unwrap_or_default();
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

    let instance = Instance {
        name: name.to_owned(),
        interface: interface?,
        vrid: vrid?,
        priority,
        version,
        also_version_2,
        advert_interval: interval,
        auth,
        hmac,
        preempt,
        preempt_delay: preempt_delay.unwrap_or_default(),
        down_timer_adverts,
        startup_delay: own_delay.unwrap_or(startup_delay),
        routers,
        addresses,
        extra_addresses: extra.into_iter().map(|(address, _)| address).collect(),
        routes,
        rules,
        families,
        unicast,
        multicast,
        accept: accept.unwrap_or(virtual_mac.is_none() || priority == Priority::OWNER),
        virtual_mac,
        track: tracked,
        track_link,
        link_delay,
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
        source: sources_at.into_iter().next(),
        peers: peers_at,
        checks: checks_at,
        auth: auth_at,
        has_secret,
    };
    Some(Placed { instance, at })
}

const MAX_DELAY: Duration = Duration::from_secs(1000);

/// The families of the virtual routers: those of the addresses; without any, those that the advertisements come from.
fn families(addresses: &[VirtualAddress], unicast: Option<&Unicast>, multicast: &Multicast) -> Vec<Family> {
    let of = |families: &mut dyn Iterator<Item = Family>| {
        let mut families: Vec<Family> = families.collect();
        families.sort_unstable();
        families.dedup();
        families
    };
    let ends = unicast.iter().flat_map(|unicast| &unicast.sources).chain(&multicast.sources).chain(&multicast.groups);
    let mut families = of(&mut addresses.iter().map(|address| Family::of(address.ip)));
    if families.is_empty() {
        families = of(&mut ends.map(|ip| Family::of(*ip)));
    }
    if families.is_empty() {
        families.push(Family::V4);
    }
    families
}

/// Reads `version`: 2, 3, or [2, 3] to send both. IPv6 is always version 3 (row 93 of docs/conformance.md).
fn version(value: Option<&Value<'_>>, families: &[Family], problems: &mut Problems) -> (Version, bool) {
    let v4 = families.contains(&Family::V4);
    let Some(value) = value else { return (if v4 { Version::V2 } else { Version::V3 }, false) };
    if let DeValue::Array(_) = value.get() {
        let items = value.list("a version", problems).unwrap_or_default();
        let numbers: Vec<_> = items.iter().map(|item| item.integer(2..=3, "", problems)).collect();
        if numbers.iter().all(Option::is_some) && !matches!(numbers.as_slice(), [Some(2), Some(3)] | [Some(3), Some(2)])
        {
            value.error("expected 2, 3, or [2, 3] to send both versions", problems);
        } else if !v4 {
            value.error("IPv6 has version 3 only; expected 3", problems);
        }
        return (Version::V3, v4);
    }
    match value.number::<u8>(2..=3, problems) {
        Some(2) if !v4 => {
            value.error("IPv6 needs version 3; leave version out", problems);
            (Version::V3, false)
        }
        Some(3) => (Version::V3, false),
        Some(_) | None => (if v4 { Version::V2 } else { Version::V3 }, false),
    }
}

fn preempt_delay(value: &Value<'_>, preempt: bool, priority: Priority, problems: &mut Problems) -> Duration {
    let delay = value.duration(Duration::ZERO..=MAX_DELAY, problems).unwrap_or_default();
    if !preempt {
        value.warn("it has no effect with preempt = false", problems);
    } else if priority == Priority::OWNER {
        value.warn("it has no effect: an owner (priority = 255) takes over at once", problems);
    }
    delay
}

/// Reads `routers`: with 2, hand-over is instant.
fn routers(value: &Value<'_>, unicast: Option<&Unicast>, problems: &mut Problems) -> Option<u8> {
    let note = ": how many routers the virtual router has; 2 makes the hand-over instant";
    let routers = value.integer(2..=255, note, problems)?;
    let peers = |family| {
        unicast.iter().flat_map(|unicast| &unicast.peers).filter(move |peer| Family::of(peer.address) == family).count()
    };
    let most = peers(Family::V4).max(peers(Family::V6));
    if unicast.is_some() && i64::try_from(most).is_ok_and(|peers| peers + 1 != routers) {
        value.error(
            format!("unicast lists {most} peers, so there are {} routers; leave routers out", most + 1),
            problems,
        );
    }
    u8::try_from(routers).ok()
}

fn accept(value: &Value<'_>, priority: Priority, problems: &mut Problems) -> Option<bool> {
    let accept = value.boolean(problems)?;
    if !accept && priority == Priority::OWNER {
        value.error("an owner (priority = 255) always accepts packets to its addresses; leave accept out", problems);
    }
    Some(accept)
}

/// Reads `link_delay`; `silence` is how long the active router may be silent before a peer begins to miss it.
fn link_delay(value: &Value<'_>, silence: Duration, problems: &mut Problems) -> Option<Duration> {
    let delay = value.duration(Duration::ZERO..=Duration::from_secs(60), problems)?;
    if delay >= silence && !delay.is_zero() {
        let message = format!(
            "a peer takes over before this router finds that its link is down; expected less than {}, the time of \
             down_timer_adverts - 1 advertisements",
            crate::format_duration(silence)
        );
        value.warn(message, problems);
    }
    Some(delay)
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

fn advert_interval(
    value: &Value<'_>,
    version: Version,
    also_version_2: bool,
    problems: &mut Problems,
) -> Option<AdvertInterval> {
    let version = if also_version_2 { Version::V2 } else { version };
    let expected = match version {
        Version::V2 if also_version_2 => ", whole seconds from 1s to 40s, which both versions can carry",
        Version::V2 => ", whole seconds from 1s to 255s; faster advertisements need version = 3",
        Version::V3 => ", a multiple of 10ms from 10ms to 40950ms",
    };
    let fits = |interval: &AdvertInterval| !also_version_2 || interval.fits(Version::V3);
    value.duration_that(expected, |duration| AdvertInterval::new(version, duration).ok().filter(fits), problems)
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
