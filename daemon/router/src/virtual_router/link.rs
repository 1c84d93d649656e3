//! What the state of the interface means for a virtual router.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_health::Debounced;
use vouchd_net::{LinkState, Network, Received, Sources};
use vouchd_vrrp::{Action, Input, Link, State, Time};
use vouchd_wire::{Family, group_for};

use super::VirtualRouter;

impl VirtualRouter {
    /// Takes a new state of the interface.
    pub(crate) fn link(&mut self, now: Time, state: &LinkState, network: &mut impl Network) {
        let before = self.link.replace(state.clone());
        let is_up = matches!(state, LinkState::Up { .. });
        match &mut self.carrier {
            None => self.carrier = Some(Debounced::new(is_up)),
            Some(carrier) => {
                // An interface that has gone took its sockets and addresses with it, so that counts at once.
                let has_gone = *state == LinkState::Missing;
                carrier.set(now, is_up, if has_gone { Duration::ZERO } else { self.config.link_delay });
            }
        }
        let was_active = self.router.state() == State::Active;
        self.apply_link(now, network);
        // The switch has forgotten which port leads here, or the hosts know another MAC address.
        let must_announce = before.is_some_and(|before| is_up && (!is_like(&before, state)));
        if was_active && must_announce && self.router.state() == State::Active {
            self.carry_out(now, vec![Action::Announce { repeat: self.config.garp.repeat }], network);
        }
    }

    /// Counts a state of the interface that has lasted.
    pub(crate) fn settle_link(&mut self, now: Time, network: &mut impl Network) {
        if self.carrier.as_mut().is_some_and(|carrier| carrier.settle(now)) {
            self.apply_link(now, network);
        }
    }

    /// Judges the interface again if a virtual address has become its own address, or no longer is.
    pub(super) fn judge_link(&mut self, now: Time, network: &mut impl Network) {
        if self.is_shut_out != self.shut_out().is_some() {
            self.apply_link(now, network);
        }
    }

    /// Passes the state of the interface that counts to the protocol.
    pub(super) fn apply_link(&mut self, now: Time, network: &mut impl Network) {
        let Some(state) = &self.link else { return };
        self.is_shut_out = self.shut_out().is_some();
        let link = self.usable(state);
        self.handle(now, Input::Link(link), network);
    }

    /// What the interface's state means for this router.
    fn usable(&self, state: &LinkState) -> Link {
        let interface = &self.config.interface;
        let counts_as_up = self.carrier.as_ref().is_none_or(|carrier| *carrier.counted());
        let (sources, addresses) = match state {
            LinkState::Missing => return Link::Down { reason: format!("{interface}: {state}") },
            // The interface is down, but not for long enough, or that does not matter.
            LinkState::Down { sources, addresses, .. } if !self.config.track_link || counts_as_up => {
                (sources, addresses)
            }
            LinkState::Down { .. } => return Link::Down { reason: format!("{interface}: {state}") },
            LinkState::Up { .. } if self.config.track_link && !counts_as_up => {
                let delay = self.config.link_delay;
                return Link::Down { reason: format!("{interface}: up, but not yet for its link_delay of {delay:?}") };
            }
            LinkState::Up { sources, addresses, .. } => (sources, addresses),
        };
        if let Some(reason) = self.virtual_mac.error(&self.config) {
            return Link::Down { reason };
        }
        if let Some(reason) = self.shut_out() {
            return Link::Down { reason };
        }
        self.source_among(sources, addresses).map_or_else(|reason| Link::Down { reason }, |source| Link::Up { source })
    }

    /// The address to send from, or why there is none.
    fn source_among(&self, sources: &Sources, addresses: &[IpAddr]) -> Result<IpAddr, String> {
        let interface = &self.config.interface;
        match (self.configured_source(), sources.of(self.family()), self.family()) {
            (Some(wanted), _, _) if addresses.contains(&wanted) => Ok(wanted),
            (Some(wanted), _, _) => Err(format!("neither {interface} nor another interface has the address {wanted}")),
            (None, Some(source), _) => Ok(source),
            (None, None, Family::V4) => Err(format!("{interface}: up, but without an IPv4 address of its own")),
            (None, None, Family::V6) => {
                Err(format!("{interface}: up, but without a usable IPv6 link-local address of its own"))
            }
        }
    }

    /// The multicast group that is configured. `None`: the usual one, or unicast.
    pub(crate) fn group(&self) -> Option<IpAddr> {
        self.config.multicast.groups.first().copied()
    }

    /// Whether a packet is from one of the configured peers, or to the group.
    pub(crate) fn expects(&self, received: &Received) -> bool {
        match &self.config.unicast {
            Some(unicast) => {
                !received.destination.is_multicast() && unicast.peers.iter().any(|peer| peer.address == received.source)
            }
            None => received.destination == self.group().unwrap_or_else(|| group_for(received.destination)),
        }
    }

    /// The source of advertisements that is configured. It may be on another interface.
    pub(crate) fn configured_source(&self) -> Option<IpAddr> {
        let unicast = self.config.unicast.as_ref().and_then(|unicast| unicast.sources.first());
        unicast.or(self.config.multicast.sources.first()).copied()
    }
}

/// Whether hosts and switches that knew the interface in the one state know it in the other.
fn is_like(before: &LinkState, now: &LinkState) -> bool {
    match (before, now) {
        (LinkState::Up { index, mac, .. }, LinkState::Up { index: new_index, mac: new_mac, .. }) => {
            (index, mac) == (new_index, new_mac)
        }
        (LinkState::Up { .. } | LinkState::Down { .. } | LinkState::Missing, _) => false,
    }
}
