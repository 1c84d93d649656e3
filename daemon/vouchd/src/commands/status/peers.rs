//! The other routers of an instance, one line each.

use std::time::SystemTime;

use super::ago::ago;
use vouchd_ipc::status::{Instance, Peer};

/// The number of routers that are shown without `--all`.
const SHOWN: usize = 5;

/// A line for each router, at most [`SHOWN`] unless `all`. Routers that wrongly claim to be active come first.
pub(crate) fn lines(instance: &Instance, all: bool, now: SystemTime) -> Vec<String> {
    let mut peers: Vec<_> = instance.peers.iter().collect();
    peers.sort_by_key(|peer| (peer.claim.is_none(), !peer.configured, peer.accepted == 0));
    let shown = if all { peers.len() } else { SHOWN };
    let mut lines: Vec<_> = peers.iter().take(shown).map(|peer| line(peer, instance, now)).collect();
    if peers.len() > shown {
        lines.push(format!("and {} more (--all)", peers.len() - shown));
    }
    lines
}

fn line(peer: &Peer, instance: &Instance, now: SystemTime) -> String {
    let mut parts = Vec::new();
    if let Some(vrid) = peer.virtual_router_id.filter(|vrid| *vrid != instance.virtual_router_id) {
        parts.push(format!("virtual router {vrid}"));
    }
    match peer.priority {
        Some(0) => parts.push("resigned".to_owned()),
        Some(priority) => parts.push(format!("priority {priority}")),
        None => {}
    }
    if let Some(last) = &peer.last_accepted {
        parts.push(format!("{} heard, the last {}", peer.accepted, ago(last, now)));
    }
    if let Some(last) = &peer.last_discarded {
        let reasons: Vec<_> = peer.discarded.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        parts.push(format!("discarded: {}, the last {}", reasons.join(", "), ago(last, now)));
    }
    if parts.is_empty() {
        // Not necessarily a problem, since backups are silent.
        parts.push("never heard".to_owned());
    }
    let kind = if peer.configured { "peer" } else { "router" };
    format!("{kind} {}: {}", peer.address, parts.join("; "))
}
