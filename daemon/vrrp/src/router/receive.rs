//! Received packets: counted, remembered for status and, if they pass all checks, given to the rules of the state.

use std::net::IpAddr;

use vouchd_wire::{Parsed, Priority, Version};

use super::Router;
use crate::action::{Action, ProtocolEvent};
use crate::discard::DiscardReason;
use crate::input::Packet;
use crate::peek::peek;
use crate::reception::{self, Checked};
use crate::sources::{Observer, Outcome};
use crate::status::State;
use vouchd_wire::Time;

impl Router {
    pub(super) fn handle_packet(&mut self, now: Time, packet: &Packet<'_>, out: &mut Vec<Action>) {
        let checked = reception::check(&self.config, self.source(), &self.sequences, packet);
        let checked = checked.map(|Checked { parsed, authenticity, authenticated }| {
            if let Some(authenticated) = authenticated {
                self.sequences.note(packet.source, authenticated);
            }
            (parsed, Outcome::Accepted(authenticity))
        });
        if let Ok((parsed, _)) = &checked
            && self.is_superseded(now, packet.source, parsed, out)
        {
            return;
        }
        match (checked, self.state()) {
            (Ok((parsed, accepted)), State::Initialize) => {
                self.note_source(now, packet, accepted, out);
                self.note_peer(now, packet.source, &parsed, out);
                self.note_active(packet.source, &parsed);
                self.note_pair(now, packet.source, &parsed, out);
            }
            // It takes no part, so it doesn't judge either.
            (Err(_), State::Initialize) => {}
            (Ok((parsed, accepted)), state @ (State::Backup | State::Active)) => {
                self.counters.received += 1;
                if parsed.advertisement.priority == Priority::RESIGN {
                    self.counters.priority_zero_received += 1;
                }
                self.note_source(now, packet, accepted, out);
                self.note_peer(now, packet.source, &parsed, out);
                self.note_pair(now, packet.source, &parsed, out);
                match state {
                    State::Active => self.hear_as_active(now, packet.source, &parsed, out),
                    State::Backup | State::Initialize => self.hear_as_backup(now, packet.source, &parsed, out),
                }
            }
            (Err(rejection), State::Backup | State::Active) => {
                let reason = rejection.reason();
                let total = self.counters.discard(reason);
                if reason == DiscardReason::OwnerReceives {
                    self.reannounce_next();
                }
                self.note_source(now, packet, Outcome::Discarded(reason), out);
                self.report(now, ProtocolEvent::Discarded { source: packet.source, rejection, total }, out);
            }
        }
    }

    /// Looks at a packet with another VRID on the same network, which must not be given to [`Router::handle`]. If it names an
    /// address of this router, its sender appears in [`Router::sources`] and may be reported as a rival. Nothing else changes.
    pub fn overhear(&mut self, now: Time, packet: &Packet<'_>) -> Vec<Action> {
        let mut out = Vec::new();
        let shared = peek(packet.source, packet.payload).and_then(|unchecked| {
            let is_shared = |address: &&IpAddr| self.config.addresses.contains(address);
            unchecked.addresses.iter().find(is_shared).copied()
        });
        match (shared, self.state()) {
            (Some(address), State::Backup | State::Active) => {
                self.note_source(now, packet, Outcome::Overheard(address), &mut out);
            }
            (Some(_), State::Initialize) | (None, _) => {}
        }
        out
    }

    fn note_source(&mut self, now: Time, packet: &Packet<'_>, outcome: Outcome, out: &mut Vec<Action>) {
        let unchecked = peek(packet.source, packet.payload);
        let observer = Observer::of(&self.config, self.phase.state(), self.source(), self.active_peer);
        if let Some(rival) = self.sources.note(now, observer, packet.source, unchecked.as_ref(), outcome) {
            self.report(now, ProtocolEvent::Rival(rival), out);
        }
    }

    fn note_peer(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        for event in self.peers.note(now, &self.config, peer, parsed, self.active_peer) {
            self.report(now, event, out);
        }
    }

    /// Whether it is the version 2 form of what its sender says in version 3 too (RFC 9568 section 8.4.2).
    fn is_superseded(&mut self, now: Time, source: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) -> bool {
        if !self.config.also_version_2 {
            return false;
        }
        let down = self.down_interval();
        match parsed.advertisement.version {
            Version::V2 => self.versions.hear_version_2(now, source, down),
            Version::V3 => {
                if parsed.advertisement.priority != Priority::RESIGN && self.versions.hear_version_3(now, source) {
                    self.report(now, ProtocolEvent::NoVersion2 { peer: source }, out);
                }
                false
            }
        }
    }

    /// Keeps count of the other routers, for the instant hand-over in a pair.
    fn note_pair(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let event = self.pair.note(now, peer, parsed.advertisement.priority, self.down_interval());
        if let Some(event) = event.filter(|_| self.config.pair) {
            self.report(now, event, out);
        }
    }

    /// Remembers, for status, whether `peer` is active.
    pub(super) fn note_active(&mut self, peer: IpAddr, parsed: &Parsed) {
        if parsed.advertisement.priority != Priority::RESIGN {
            self.active_peer = Some(peer);
        } else if self.active_peer == Some(peer) {
            self.active_peer = None;
        }
    }

    /// Learns Active_Adver_Interval from a peer's advertisement. In version 2 all routers have the same interval.
    pub(super) fn learn_interval(&mut self, parsed: &Parsed) {
        self.learned_interval = match self.config.version {
            Version::V2 => None,
            Version::V3 => Some(parsed.advertisement.interval),
        };
    }
}
