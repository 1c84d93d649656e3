//! The routers whose advertisements were accepted, for status and to report each change of theirs once. No decision depends on
//! it.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{Advertisement, Parsed};

use crate::action::ProtocolEvent;
use crate::config::Config;
use crate::reception::same_addresses;
use crate::status::Peer;
use vouchd_wire::Time;

/// More than any real virtual router has; a flood of forged source addresses must not fill the memory.
const MAX_PEERS: usize = 32;

/// A router that was silent for this long is the first to be evicted from a full table.
pub(crate) const FORGET_AFTER: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
pub(crate) struct Peers {
    heard: Vec<Peer>,
    /// Those that were last compared with an earlier configuration of ours.
    compared_before: BTreeSet<IpAddr>,
}

impl Peers {
    pub(crate) fn all(&self) -> &[Peer] {
        &self.heard
    }

    pub(crate) fn get(&self, address: IpAddr) -> Option<&Peer> {
        self.heard.iter().find(|peer| peer.address == address)
    }

    /// Our configuration has changed: reports every difference again.
    pub(crate) fn compare_again(&mut self) {
        self.compared_before = self.heard.iter().map(|peer| peer.address).collect();
    }

    /// Remembers what `address` sent, and returns each difference from our configuration once, when it appears. A full table
    /// evicts the router that was heard least, and never the `active` one.
    pub(crate) fn note(
        &mut self,
        now: Time,
        config: &Config,
        address: IpAddr,
        parsed: &Parsed,
        active: Option<IpAddr>,
    ) -> Vec<ProtocolEvent> {
        let Parsed { advertisement, checksum_form } = parsed;
        let before = self.get(address).cloned();
        let compared = before.as_ref().filter(|_| !self.compared_before.remove(&address));
        let events = differences(config, address, compared, parsed);
        let &Advertisement { priority, interval, ref addresses, .. } = advertisement;
        let peer = Peer {
            address,
            priority,
            interval,
            checksum_form: *checksum_form,
            addresses: addresses.clone(),
            heard: now,
            received: before.as_ref().map_or(0, |peer| peer.received) + 1,
        };
        if before.is_none() && self.heard.len() >= MAX_PEERS {
            let rank = |peer: &Peer| {
                let received = if now.since(peer.heard) > FORGET_AFTER { 0 } else { peer.received };
                (Some(peer.address) == active, received, peer.heard)
            };
            let least = self.heard.iter().enumerate().min_by_key(|(_, peer)| rank(peer)).map(|(at, _)| at);
            least.map(|at| self.heard.swap_remove(at));
        }
        match self.heard.iter_mut().find(|peer| peer.address == address) {
            Some(known) => *known = peer,
            None => self.heard.push(peer),
        }
        events
    }
}

fn differences(config: &Config, address: IpAddr, before: Option<&Peer>, parsed: &Parsed) -> Vec<ProtocolEvent> {
    let Parsed { advertisement, checksum_form } = parsed;
    let mut events = Vec::new();
    let interval = advertisement.interval;
    if interval != config.interval && before.is_none_or(|peer| peer.interval != interval) {
        events.push(ProtocolEvent::PeerInterval { peer: address, interval, own: config.interval });
    }
    match *checksum_form {
        Some(form) if form != config.checksum && before.is_none_or(|peer| peer.checksum_form != Some(form)) => {
            events.push(ProtocolEvent::PeerChecksum { peer: address, form, own: config.checksum });
        }
        Some(_) | None => {}
    }
    let addresses = &advertisement.addresses;
    if !same_addresses(config, advertisement) && before.is_none_or(|peer| peer.addresses != *addresses) {
        let (addresses, own) = (addresses.clone(), config.addresses.clone());
        events.push(ProtocolEvent::PeerAddresses { peer: address, addresses, own });
    }
    events
}
