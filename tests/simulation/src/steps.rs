//! Carries out the steps of a scenario.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use vouchd_vrrp::wire::{AdvertInterval, Advertisement, ChecksumForm, Priority, Version, Vrid, parse};
use vouchd_vrrp::{Input, Link, Packet};

use crate::bounds::MAX_DELAY;
use crate::coverage::Kind as InputKind;
use crate::node::{Device, Node, VRID, Verdict, primary_address};
use crate::scenario::{Change, Event, Step, Stray};
use crate::world::{GROUP, Happening, World};

/// Where what no router sends comes from.
const OUTSIDER: u8 = 199;

impl World {
    pub(crate) fn carry_out_step(&mut self, step: &Step) {
        self.note(|| format!("    {step}"));
        if !matches!(step, Step::Wait(_) | Step::SettleLossy) {
            self.disturb();
        }
        match step {
            Step::Wait(duration) => return self.run(*duration),
            Step::At(node, event) => self.at(*node, *event),
            Step::Loss(percent) => self.net.loss = *percent,
            Step::Cut(from, to) => self.net.cuts.push((*from, *to)),
            Step::Split(side) => {
                self.net.side = (0..self.nodes.len()).map(|node| side.contains(&node)).collect();
                // Meanwhile the third host has to find out by itself.
                self.believes = self.believes.filter(|node| self.net.side[*node] == self.net.side[0]);
            }
            Step::Reorder(percent) => self.net.reorder = *percent,
            Step::Duplicate(percent) => self.net.duplicate = *percent,
            Step::Forge(priority) => self.forge(*priority),
            Step::Heal => self.net.heal(),
            Step::Settle => {
                self.net.heal();
                self.disturb();
                return self.settle();
            }
            Step::SettleLossy => return self.settle_lossy(),
        }
        self.disturb();
        self.look();
        self.poke_armed();
    }

    fn settle(&mut self) {
        let trouble = self.nodes.iter().map(|node| node.frozen_until.max(node.kernel.busy_until)).max();
        self.run(trouble.unwrap_or_default().saturating_sub(self.now));
        let bounds = self.bounds();
        self.run(bounds.decided());
        // A router may have become able meanwhile, when a pause after refused addresses ended.
        for _ in 0..10 {
            self.run(bounds.decided().saturating_sub(self.now.saturating_sub(self.calm_since)));
        }
        let mut waited = Duration::ZERO;
        while self.failure.is_none()
            && waited < bounds.yielded() * self.calls_needed()
            && self.settled().is_err()
            && self.waits_for_election()
        {
            self.run(Duration::from_millis(100));
            waited += Duration::from_millis(100);
        }
        self.watch(bounds.watch(), bounds.overlap());
    }

    /// How many rounds of calls a yield election may need: one, or as many as it takes that all fail with a chance of less than
    /// one in a thousand, if the turns of the two routers are closer than frames are late.
    fn calls_needed(&self) -> u32 {
        let turn = |node: &Node| vouchd_vrrp::skew(node.version, Priority::new(node.priority()), node.interval());
        let [active] = self.active()[..] else { return 1 };
        let own = turn(&self.nodes[active]);
        let others = self.nodes.iter().filter(|node| node.is_able() && node.priority() > self.nodes[active].priority());
        let is_close = others.map(turn).any(|turn| own.saturating_sub(turn) < MAX_DELAY * 2);
        if is_close { 10 } else { 1 }
    }

    /// Gives the routers as long as loss permits: see [`crate::bounds`].
    fn settle_lossy(&mut self) {
        let bounds = self.bounds();
        let mut waited = Duration::ZERO;
        while self.failure.is_none() && self.settled().is_err() {
            self.run(Duration::from_millis(100));
            waited += Duration::from_millis(100);
            if waited > bounds.yielded() * 3 {
                let why = self.settled().err().unwrap_or_default();
                return self.fail(format!("not settled {waited:?} after the last step under loss: {why}"));
            }
        }
    }

    /// Checks that all stays decided, except for the time in which equals and a router that yields meet.
    fn watch(&mut self, duration: Duration, longest: Duration) {
        let mut unsettled = Duration::ZERO;
        let pace = Duration::from_millis(20);
        let mut left = duration;
        while self.failure.is_none() && (left > Duration::ZERO || unsettled > Duration::ZERO) {
            self.run(pace);
            left = left.saturating_sub(pace);
            let checked = self.settled().and_then(|()| self.addresses_follow());
            match checked {
                Ok(()) => unsettled = Duration::ZERO,
                Err(why) if self.failure.is_none() => {
                    unsettled += pace;
                    // A router may have become able meanwhile, when a delay or a pause ended.
                    let decided = self.bounds().decided();
                    let calm = self.quiet_since().is_some_and(|quiet| self.now.saturating_sub(quiet) > decided);
                    if !calm {
                        unsettled = Duration::ZERO;
                        left = left.max(pace);
                    } else if unsettled > longest {
                        self.fail(why);
                    }
                }
                Err(_) => {}
            }
        }
    }

    pub(crate) fn at(&mut self, node: usize, event: Event) {
        match event {
            Event::Priority(priority) => self.judge(node, Verdict::Priority(priority)),
            Event::Well => self.judge(node, Verdict::Well),
            Event::Fault => self.judge(node, Verdict::Fault),
            Event::Waiting => self.judge(node, Verdict::Waiting),
            Event::LinkDown => self.link(node, false),
            Event::LinkUp => self.link(node, true),
            Event::Address(address) => {
                self.nodes[node].spec.address = address;
                if let Device::Foreign(foreign) = &mut self.nodes[node].device {
                    foreign.address = primary_address(address);
                }
                self.link(node, true);
            }
            Event::Freeze(duration) => self.nodes[node].frozen_until = self.now + duration,
            Event::Busy(duration) => self.nodes[node].kernel.busy_until = self.now + duration,
            Event::Refuse => self.nodes[node].kernel.refuses = true,
            Event::Accept => {
                self.nodes[node].kernel.refuses = false;
                self.report_link(node);
            }
            Event::Kill => self.kill(node),
            Event::Stop => self.stop(node),
            Event::Start => self.start(node, true),
            Event::Boot => self.start(node, false),
            Event::Reload(change) => self.reload(node, change),
            Event::Repeat => self.repeat(node),
            Event::Stray(stray) => self.stray(node, stray),
            Event::Overhear => self.overhear(node),
            Event::When(stage, kind) => self.nodes[node].armed.push((stage, kind)),
        }
    }

    /// A frozen process gets what happens when it runs again. That needs no order of its own here: it is disturbed anyway.
    fn thaw(&mut self, node: usize) {
        let left = self.nodes[node].frozen_until.saturating_sub(self.now);
        self.run(left);
    }

    fn judge(&mut self, node: usize, verdict: Verdict) {
        self.thaw(node);
        self.nodes[node].verdict = verdict;
        self.disturb();
        self.report_health(node);
    }

    fn link(&mut self, node: usize, up: bool) {
        self.thaw(node);
        self.nodes[node].link = up;
        self.disturb();
        self.report_link(node);
    }

    pub(crate) fn report_link(&mut self, node: usize) {
        let (link, source) = (self.nodes[node].link, self.nodes[node].address());
        if matches!(self.nodes[node].device, Device::Foreign(_)) {
            return self.report_health(node);
        }
        let was_active = self.nodes[node].is_active();
        self.give(
            node,
            Input::Link(if link { Link::Up { source } } else { Link::Down { reason: "no carrier".to_owned() } }),
        );
        self.stopped(node, was_active);
    }

    pub(crate) fn report_health(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        let (verdict, link, base) = (self.nodes[node].verdict, self.nodes[node].link, self.nodes[node].spec.priority);
        let health = self.nodes[node].health();
        let was_active = self.nodes[node].is_active();
        match &mut self.nodes[node].device {
            Device::Vouchd(_) => self.give(node, Input::Health(health)),
            Device::Foreign(foreign) => {
                let sent = match verdict {
                    Verdict::Fault => foreign.fault(),
                    _ if !link => {
                        foreign.fault();
                        vec![]
                    }
                    Verdict::Well | Verdict::Priority(_) | Verdict::Waiting => {
                        let priority = match verdict {
                            Verdict::Priority(priority) if base != 255 => priority,
                            _ => base,
                        };
                        foreign.set_priority(now, priority);
                        foreign.recover(now);
                        vec![]
                    }
                };
                self.stopped(node, was_active);
                self.send_priorities(node, &sent);
            }
            Device::Down => {}
        }
    }

    fn kill(&mut self, node: usize) {
        let was_active = self.nodes[node].is_active();
        self.nodes[node].device = Device::Down;
        self.nodes[node].frozen_until = self.now;
        self.nodes[node].peak = 0;
        // With the process go its sockets and the orders of its address keeper.
        self.queue.discard(|at, happening| at == node && !matches!(happening, Happening::Announced));
        self.stopped(node, was_active);
    }

    fn stop(&mut self, node: usize) {
        self.thaw(node);
        let now = self.nodes[node].local(self.now);
        let was_active = self.nodes[node].is_active();
        match &mut self.nodes[node].device {
            Device::Vouchd(_) => {
                self.give(node, Input::Shutdown);
                self.stays_shut_down(node);
            }
            Device::Foreign(foreign) => {
                let _ = now;
                let sent = foreign.fault();
                self.stopped(node, was_active);
                self.send_priorities(node, &sent);
            }
            Device::Down => {}
        }
        self.nodes[node].kernel.addresses.clear();
        self.kill(node);
    }

    fn reload(&mut self, node: usize, change: Change) {
        self.thaw(node);
        self.disturb();
        let it = &mut self.nodes[node];
        let (kind, old_priority) = match change {
            Change::Nothing => (InputKind::ReloadNothing, it.spec.priority),
            Change::Priority(priority) => {
                let old = std::mem::replace(&mut it.spec.priority, priority);
                (if priority == 255 { InputKind::ReloadOwner } else { InputKind::ReloadPriority }, old)
            }
            Change::Interval(interval) => {
                it.spec.interval = interval;
                (InputKind::ReloadInterval, it.spec.priority)
            }
            Change::Preempt(preempt) => {
                it.spec.preempt = preempt;
                (InputKind::ReloadPreempt, it.spec.priority)
            }
            Change::Addresses(count) => {
                it.count = count;
                (InputKind::ReloadAddresses, it.spec.priority)
            }
            Change::Pair(pair) => {
                it.spec.pair = pair;
                (InputKind::ReloadPair, it.spec.priority)
            }
            Change::Delays(millis) => {
                (it.spec.preempt_delay, it.spec.startup_delay) = (millis, millis);
                (InputKind::ReloadDelays, it.spec.priority)
            }
            Change::Adverts(adverts) => {
                it.spec.adverts = adverts;
                (InputKind::ReloadAdverts, it.spec.priority)
            }
        };
        let (interval, preempt) = (it.interval(), it.spec.preempt);
        self.longest.add(&self.nodes[node]);
        let it = &mut self.nodes[node];
        let (config, health) = (it.config(), it.health());
        match &mut it.device {
            Device::Vouchd(router) => {
                let yielded = router.state() == vouchd_vrrp::State::Active && router.priority().get() < it.peak;
                // Refused by the configuration: the router goes on with the old one.
                let mut refused = None;
                it.peak = 0;
                self.change(node, kind, |router, now| match router.reconfigure(now, config, health) {
                    Ok(actions) => actions,
                    Err(error) => {
                        refused = Some(error.to_string());
                        Vec::new()
                    }
                });
                if let Some(error) = refused {
                    self.fail(format!("r{}: the reload was refused: {error}", node + 1));
                }
                let it = &mut self.nodes[node];
                if yielded && it.is_active() {
                    // It goes on yielding while its checks keep it below the configured priority.
                    it.peak = it.peak.max(it.spec.priority);
                }
                let _ = old_priority;
            }
            Device::Foreign(foreign) => {
                (foreign.interval, foreign.preempt) = (interval, preempt);
                self.report_health(node);
            }
            Device::Down => {}
        }
    }

    pub(crate) fn advertisement(&self, node: usize, priority: u8) -> Advertisement {
        let config = self.nodes[node].config();
        Advertisement {
            version: config.version,
            vrid: config.vrid,
            priority: Priority::new(priority),
            interval: config.interval,
            addresses: config.addresses,
            auth: config.auth,
        }
    }

    /// An advertisement that every router accepts, from a host that is none of them.
    fn forge(&mut self, priority: u8) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].link {
                continue;
            }
            let source = primary_address(OUTSIDER);
            let Ok(payload) = self.advertisement(node, priority).encode(source, GROUP, ChecksumForm::PseudoHeader)
            else {
                continue;
            };
            self.arrive(node, source, GROUP, 255, payload, false);
        }
    }

    fn arrive(&mut self, node: usize, source: IpAddr, destination: IpAddr, ttl: u8, payload: Vec<u8>, stray: bool) {
        let packet = Happening::Packet { source, destination, ttl, payload: Rc::from(payload), stray };
        self.queue.push(self.now, node, packet);
    }

    /// A packet that the router has to discard. It would be good, and of the best router, but for one thing.
    fn stray(&mut self, node: usize, stray: Stray) {
        let own = self.nodes[node].address();
        let unknown = matches!(&self.nodes[node].device, Device::Vouchd(router) if router.source() != Some(own));
        // While its link is down, a router does not know its own address.
        let down = matches!(self.nodes[node].device, Device::Down);
        if down || unknown && stray == Stray::Own {
            return;
        }
        let mut advertisement = self.advertisement(node, 254);
        let (mut source, mut destination, mut ttl) = (primary_address(OUTSIDER), GROUP, 255);
        match stray {
            Stray::Ttl => ttl = 254,
            Stray::Vrid => advertisement.vrid = Vrid::new(VRID + 1).unwrap_or(advertisement.vrid),
            Stray::Version => {
                advertisement.version = if advertisement.version == Version::V2 { Version::V3 } else { Version::V2 };
                advertisement.interval = AdvertInterval::ONE_SECOND;
            }
            Stray::Own => source = own,
            Stray::Addresses => advertisement.addresses = vec![IpAddr::from([192, 0, 2, 99])],
            Stray::Destination => destination = own,
            Stray::Source => source = GROUP,
            Stray::Checksum | Stray::Truncated | Stray::Type => {}
        }
        let Ok(mut payload) = advertisement.encode(source, destination, ChecksumForm::PseudoHeader) else { return };
        match stray {
            Stray::Checksum => payload[6] ^= 1,
            Stray::Truncated => {
                payload.pop();
            }
            Stray::Type => payload[0] = payload[0] & 0xf0 | 2,
            _ => {}
        }
        self.arrive(node, source, destination, ttl, payload, true);
    }

    fn overhear(&mut self, node: usize) {
        let source = primary_address(OUTSIDER);
        let mut advertisement = self.advertisement(node, 254);
        advertisement.vrid = Vrid::new(VRID + 1).unwrap_or(advertisement.vrid);
        let Ok(payload) = advertisement.encode(source, GROUP, ChecksumForm::PseudoHeader) else { return };
        let packet = Packet { source, destination: GROUP, ttl: 255, payload: &payload };
        self.change(node, InputKind::Overheard, |router, now| router.overhear(now, &packet));
    }

    /// Which kind of input this is for coverage.
    pub(crate) fn classify(&self, node: usize, input: &Input<'_>) -> InputKind {
        let now = self.nodes[node].local(self.now);
        let Device::Vouchd(router) = &self.nodes[node].device else { return InputKind::Early };
        match input {
            Input::Link(Link::Up { source }) if router.source().is_some_and(|known| known != *source) => {
                InputKind::Address
            }
            Input::Link(Link::Up { .. }) => InputKind::LinkUp,
            Input::Link(Link::Down { .. }) => InputKind::LinkDown,
            Input::Health(vouchd_vrrp::Health::Fit { priority, .. }) => match priority.cmp(&router.priority()) {
                std::cmp::Ordering::Less => InputKind::Lowered,
                std::cmp::Ordering::Equal => InputKind::Fit,
                std::cmp::Ordering::Greater => InputKind::Raised,
            },
            Input::Health(vouchd_vrrp::Health::Waiting { .. }) => InputKind::Waiting,
            Input::Health(vouchd_vrrp::Health::Fault { .. }) => InputKind::Fault,
            Input::Packet(packet) => {
                let Ok(parsed) = parse(packet.payload, packet.source, packet.destination) else {
                    return InputKind::Stray;
                };
                let priority = parsed.advertisement.priority;
                let from_active = router.active_peer().is_some_and(|peer| peer.address == packet.source);
                match priority.cmp(&router.priority()) {
                    _ if priority == Priority::RESIGN && from_active => InputKind::Resigned,
                    _ if priority == Priority::RESIGN => InputKind::OtherResigned,
                    std::cmp::Ordering::Less => InputKind::Worse,
                    std::cmp::Ordering::Greater => InputKind::Better,
                    std::cmp::Ordering::Equal if Some(packet.source) > router.source() => InputKind::EqualHigher,
                    std::cmp::Ordering::Equal => InputKind::EqualLower,
                }
            }
            Input::Timer if router.deadline().is_some_and(|deadline| deadline <= now) => InputKind::Due,
            Input::Timer => InputKind::Early,
            Input::AddressesInstalled => InputKind::Installed,
            Input::AddressesFailed { .. } => InputKind::Refused,
            Input::Shutdown => InputKind::Shutdown,
            Input::Group(_) => InputKind::Group,
        }
    }
}
