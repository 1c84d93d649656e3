//! Gives a router an input of a wanted kind, as soon as it is in a wanted stage: so that no pair of the two is left to chance.

use vouchd_vrrp::wire::ChecksumForm;
use vouchd_vrrp::{Input, Order, Packet, State};

use crate::coverage::Kind;
use crate::node::{Device, Verdict, primary_address};
use crate::scenario::{Change, Event, Stray};
use crate::world::{GROUP, World};

/// Lower and higher than every router's address.
const LOWEST: u8 = 2;
const HIGHEST: u8 = 198;

impl World {
    /// Gives each router the inputs that wait for its present stage.
    pub(crate) fn poke_armed(&mut self) {
        for node in 0..self.nodes.len() {
            let Device::Vouchd(router) = &self.nodes[node].device else { continue };
            let stage = router.stage();
            if self.nodes[node].frozen_until > self.now {
                continue;
            }
            let Some(at) = self.nodes[node].armed.iter().position(|(wanted, _)| *wanted == stage) else { continue };
            let (_, kind) = self.nodes[node].armed.swap_remove(at);
            self.note(|| format!("    r{} is {} and gets: {}", node + 1, stage.name(), kind.name()));
            self.disturb();
            self.poke(node, kind);
            self.disturb();
            self.look();
        }
    }

    fn poke(&mut self, node: usize, kind: Kind) {
        let priority = self.nodes[node].priority();
        let spec = self.nodes[node].spec;
        match kind {
            Kind::LinkUp => self.at(node, Event::LinkUp),
            Kind::Address => {
                let own = spec.address;
                self.at(node, Event::Address(own / 10 * 10 + (own + 1) % 10));
            }
            Kind::LinkDown => self.at(node, Event::LinkDown),
            Kind::Raised => self.at(node, Event::Priority(priority.saturating_add(7).min(254))),
            Kind::Fit => self.at(node, Event::Priority(priority)),
            Kind::Lowered => self.at(node, Event::Priority(priority.saturating_sub(7).max(1))),
            Kind::Waiting => self.at(node, Event::Waiting),
            Kind::Fault => self.at(node, Event::Fault),
            Kind::Better => self.advertise_to(node, HIGHEST, priority.saturating_add(1)),
            Kind::EqualHigher => self.advertise_to(node, HIGHEST, priority),
            Kind::EqualLower => self.advertise_to(node, LOWEST, priority),
            Kind::Worse => self.advertise_to(node, LOWEST, priority.saturating_sub(1).max(1)),
            Kind::Resigned => {
                let Device::Vouchd(router) = &self.nodes[node].device else { return };
                if let Some(peer) = router.active_peer().map(|peer| peer.address) {
                    self.advertise_from(node, peer, 0);
                }
            }
            Kind::OtherResigned => self.advertise_to(node, LOWEST, 0),
            Kind::Stray => self.at(node, Event::Stray(Stray::Ttl)),
            Kind::Overheard => self.at(node, Event::Overhear),
            Kind::Early => self.give(node, Input::Timer),
            // On time it comes anyway.
            Kind::Due => {}
            Kind::Late => self.at(node, Event::Freeze(self.bounds().late())),
            Kind::Installed => self.give(node, Input::AddressesInstalled),
            Kind::Refused => self.give(node, Input::AddressesFailed { reason: "an old order".to_owned() }),
            Kind::Shutdown => self.at(node, Event::Stop),
            Kind::Group => self.without_effect(node, Input::Group(Order::CallElection)),
            Kind::ReloadNothing => self.at(node, Event::Reload(Change::Nothing)),
            Kind::ReloadPriority => {
                self.at(node, Event::Reload(Change::Priority(if spec.priority == 100 { 101 } else { 100 })));
            }
            // The first router may become the owner, so that there is never a second one.
            Kind::ReloadOwner if node == 0 && self.nodes.iter().all(|node| node.spec.priority != 255) => {
                self.at(node, Event::Reload(Change::Priority(255)));
            }
            Kind::ReloadOwner => {}
            Kind::ReloadInterval if self.nodes[node].version == vouchd_vrrp::wire::Version::V3 => {
                self.at(node, Event::Reload(Change::Interval(if spec.interval == 100 { 50 } else { 100 })));
            }
            Kind::ReloadInterval => {}
            Kind::ReloadPreempt => self.at(node, Event::Reload(Change::Preempt(!spec.preempt))),
            Kind::ReloadAddresses => {
                let count = self.nodes[node].count % 3 + 1;
                self.at(node, Event::Reload(Change::Addresses(count)));
            }
            Kind::ReloadPair => self.at(node, Event::Reload(Change::Pair(!spec.pair))),
            Kind::ReloadDelays => self.at(node, Event::Reload(Change::Delays(1_500))),
            Kind::ReloadAdverts => self.at(node, Event::Reload(Change::Adverts(if spec.adverts == 3 { 4 } else { 3 }))),
        }
    }

    fn advertise_to(&mut self, node: usize, source: u8, priority: u8) {
        self.advertise_from(node, primary_address(source), priority);
    }

    fn advertise_from(&mut self, node: usize, source: std::net::IpAddr, priority: u8) {
        let advertisement = self.advertisement(node, priority);
        let Ok(payload) = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader) else { return };
        let stray = false;
        self.hear(node, &Packet { source, destination: GROUP, ttl: 255, payload: &payload }, stray);
    }

    /// An order of a group means nothing to a router outside of one, nor the wall clock to one without HMAC.
    fn without_effect(&mut self, node: usize, input: Input<'_>) {
        let state = |world: &Self| match &world.nodes[node].device {
            Device::Vouchd(router) => Some((router.state(), router.deadline(), router.counters().clone())),
            Device::Foreign(_) | Device::Down => None,
        };
        let now = self.nodes[node].local(self.now);
        let due =
            matches!(&self.nodes[node].device, Device::Vouchd(router) if router.deadline().is_some_and(|at| at <= now));
        let before = state(self);
        self.give(node, input);
        if !due && before != state(self) {
            self.fail(format!("r{} acted on an input that does not concern it", node + 1));
        }
    }

    /// Gives a router that was shut down every kind of input, and checks that it stays in Initialize and sends nothing.
    pub(crate) fn stays_shut_down(&mut self, node: usize) {
        let sent = |world: &Self| match &world.nodes[node].device {
            Device::Vouchd(router) => Some((router.state(), router.counters().sent)),
            Device::Foreign(_) | Device::Down => None,
        };
        let Some((_, before)) = sent(self) else { return };
        let (spec, verdict, link) = (self.nodes[node].spec, self.nodes[node].verdict, self.nodes[node].link);
        for kind in Kind::ALL {
            match kind {
                // What ends the process or freezes it.
                Kind::Shutdown => self.give(node, Input::Shutdown),
                Kind::Late => {}
                Kind::Stray => {
                    let own = self.nodes[node].address();
                    self.give_stray(node, &Packet { source: own, destination: own, ttl: 1, payload: &[] });
                }
                kind => self.poke(node, kind),
            }
            if sent(self) != Some((State::Initialize, before)) {
                self.fail(format!("r{}, which was shut down, answers: {}", node + 1, kind.name()));
            }
        }
        self.nodes[node].spec = spec;
        (self.nodes[node].verdict, self.nodes[node].link) = (verdict, link);
        debug_assert!(verdict != Verdict::Fault || !self.nodes[node].is_able());
    }
}
