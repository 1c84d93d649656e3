//! An instance's configuration in the terms of the protocol.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::virtual_addresses;
use vouchd_config::Instance;
use vouchd_vrrp::{Announcements, Config, Hmac, HmacMode};
use vouchd_wire::TTL;

/// `startup_delay`: counted from when the router is made, and not shorter than `delay_after_boot` demands.
pub(super) fn protocol_config(instance: &Instance, startup_delay: Duration, grouped: bool) -> Config {
    Config {
        vrid: instance.vrid,
        version: instance.version,
        also_version_2: instance.also_version_2,
        priority: instance.priority,
        interval: instance.advert_interval,
        preempt: instance.preempt,
        preempt_delay: instance.preempt_delay,
        startup_delay,
        down_timer_adverts: instance.down_timer_adverts,
        pair: is_pair(instance),
        grouped,
        family: virtual_addresses::family(instance),
        addresses: instance.addresses.iter().map(|address| address.ip).collect(),
        auth: instance.auth,
        hmac: instance.hmac.as_ref().map(hmac),
        peers: instance.unicast.as_ref().map(|unicast| unicast.peers.iter().map(|peer| peer.address).collect()),
        multicast_group: instance.multicast.groups.first().copied(),
        hop_limits: hop_limits(instance),
        checksum: instance.checksum,
        lease: instance.lease,
        announce: Announcements {
            repeat: instance.garp.repeat,
            delay: instance.garp.delay,
            refresh: refresh(instance),
            refresh_repeat: instance.garp.refresh_repeat,
        },
    }
}

/// The peers that routers may lie between.
fn hop_limits(instance: &Instance) -> BTreeMap<IpAddr, u8> {
    let peers = instance.unicast.iter().flat_map(|unicast| &unicast.peers);
    peers.filter(|peer| peer.hop_limit < TTL).map(|peer| (peer.address, peer.hop_limit)).collect()
}

fn hmac(configured: &vouchd_config::Hmac) -> Hmac {
    Hmac {
        keys: configured.keys.clone(),
        active_key: configured.active_key,
        mode: match configured.mode {
            vouchd_config::HmacMode::ReceiveOnly => HmacMode::ReceiveOnly,
            vouchd_config::HmacMode::SendOnly => HmacMode::SendOnly,
            vouchd_config::HmacMode::AcceptEither => HmacMode::AcceptEither,
            vouchd_config::HmacMode::Require => HmacMode::Require,
        },
        anti_replay: configured.anti_replay,
        time_window: configured.time_window,
    }
}

/// The interval of announcements. Where no advertisement comes from the virtual MAC, they keep it known to the switches, which
/// forget a MAC address after five minutes.
fn refresh(instance: &Instance) -> Duration {
    let is_silent = instance.virtual_mac.is_some() && instance.unicast.is_some();
    if is_silent && instance.garp.refresh.is_zero() { Duration::from_secs(60) } else { instance.garp.refresh }
}

/// Whether the virtual router has two routers: because the operator says so, or because the only other one is named.
fn is_pair(instance: &Instance) -> bool {
    match (instance.routers, &instance.unicast) {
        (Some(routers), _) => routers == 2,
        (None, Some(unicast)) => unicast.peers.len() == 1,
        (None, None) => false,
    }
}
