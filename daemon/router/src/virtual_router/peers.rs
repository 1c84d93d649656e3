//! The other routers of a virtual router in `vouchd status`.

use std::net::IpAddr;
use std::time::SystemTime;

use vouchd_vrrp::{Authenticity, DiscardReason, RivalReason, Router, Source, Time};

use vouchd_ipc::status::{self, Peer};

/// Every router heard, and every configured peer not heard, by address.
pub(super) fn peers(router: &Router, now: Time) -> Vec<Peer> {
    let configured = router.config().peers.as_deref().unwrap_or_default();
    let mut sources: Vec<_> = router.sources().iter().collect();
    sources.sort_by_key(|source| (source.address, source.vrid));
    let heard = sources.iter().map(|source| heard(source, router, configured, now));
    let silent = configured.iter().filter(|peer| sources.iter().all(|source| source.address != **peer));
    heard.chain(silent.map(|peer| never_heard(*peer))).collect()
}

fn heard(source: &Source, router: &Router, configured: &[IpAddr], now: Time) -> Peer {
    let at = |instant: Time| status::time(SystemTime::now() - now.since(instant));
    let counts = DiscardReason::ALL.into_iter().map(|reason| (reason.name().to_owned(), source.discarded(reason)));
    let rival = router.rival(now, source);
    Peer {
        address: source.address.to_string(),
        configured: configured.contains(&source.address),
        virtual_router_id: source.vrid,
        priority: source.priority,
        hmac: source.authenticity.map(|authenticity| match authenticity {
            Authenticity::Missing => "missing".to_owned(),
            Authenticity::Key(id) => format!("key {id}"),
            Authenticity::Wrong(reason) => reason.name().to_owned(),
        }),
        accepted: source.accepted,
        last_accepted: source.last_accepted.map(at),
        discarded: counts.filter(|(_, count)| *count > 0).collect(),
        last_discarded: source.last_discarded.map(|(instant, _)| at(instant)),
        last_discard: source.last_discarded.map(|(_, reason)| reason.name().to_owned()),
        claim: rival.as_ref().map(ToString::to_string),
        other_addresses: rival.is_some_and(|rival| matches!(rival.reason, RivalReason::OtherAddresses(_))),
    }
}

fn never_heard(address: IpAddr) -> Peer {
    Peer {
        address: address.to_string(),
        configured: true,
        virtual_router_id: None,
        priority: None,
        hmac: None,
        accepted: 0,
        last_accepted: None,
        discarded: Default::default(),
        last_discarded: None,
        last_discard: None,
        claim: None,
        other_addresses: false,
    }
}
