//! What must hold at every step, whatever happens. [`crate::bounds`] proves the times.

use std::time::Duration;

use vouchd_vrrp::{Action, Packet, ProtocolEvent, State, Why};

use crate::bounds::{Longest, MAX_DELAY};
use crate::coverage::Kind as InputKind;
use crate::node::{Device, Verdict, virtual_addresses};
use crate::scenario::Kind;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);

impl World {
    pub(crate) fn bounds(&self) -> Longest {
        self.longest
    }

    pub(crate) fn active(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_active()).collect()
    }

    /// Since when it is quiet; `None` if it is not.
    pub(crate) fn quiet_since(&self) -> Option<Duration> {
        let busy =
            self.nodes.iter().map(|node| node.frozen_until.max(node.kernel.busy_until)).max().unwrap_or_default();
        let calm = self.net.is_clean() && busy.max(self.excused_until) <= self.now;
        calm.then(|| self.calm_since.max(busy).max(self.excused_until))
    }

    /// Looks at all routers after a step.
    pub(crate) fn look(&mut self) {
        for node in 0..self.nodes.len() {
            let able = self.nodes[node].is_able();
            if std::mem::replace(&mut self.able[node], able) != able {
                // Also by itself, when a pause after refused addresses ends.
                self.disturb();
            }
        }
        let active = self.active();
        let now = self.now;
        self.many_since = if active.len() > 1 { self.many_since.or(Some(now)) } else { None };
        let missing = active.is_empty() && self.able.contains(&true);
        self.none_since = if missing { self.none_since.or(Some(now)) } else { None };
        if !self.net.is_clean() {
            // Meanwhile the third host can't learn who took over: it has to find out by itself.
            self.believes = self.believes.filter(|node| active.contains(node));
        }
        let Some(quiet) = self.quiet_since() else { return };
        let bounds = self.bounds();
        if let Some(since) = self.many_since
            && now > since.max(quiet + bounds.crossing()) + bounds.overlap()
        {
            self.fail(format!("{} routers are active since {since:?}, and it is quiet since {quiet:?}", active.len()));
        }
        if let Some(since) = self.none_since
            && now > quiet + bounds.takeover()
        {
            self.fail(format!("no router is active since {since:?}, and it is quiet since {quiet:?}"));
        }
    }

    /// Checks that one router is active if one can be, and that no other one has a better claim.
    ///
    /// A router without preemption leaves a worse one active, as configured, unless that one is worse because its own checks
    /// lowered its priority: then it calls elections until a better one takes over.
    pub(crate) fn settled(&self) -> Result<(), String> {
        let active = self.active();
        let able = |node: &usize| self.nodes[*node].is_able();
        match active[..] {
            [] if !(0..self.nodes.len()).any(|node| able(&node)) => Ok(()),
            [] => Err("no router is active".to_owned()),
            [one] => {
                let it = &self.nodes[one];
                let better = |node: &usize| {
                    let other = &self.nodes[*node];
                    able(node) && other.priority() > it.priority() && (other.preempts() || it.yields())
                };
                match (0..self.nodes.len()).find(better) {
                    Some(better) => Err(format!("r{} is active and r{} is better", one + 1, better + 1)),
                    None => Ok(()),
                }
            }
            _ => Err(format!("{} routers are active", active.len())),
        }
    }

    /// Whether it is not settled only because a router that yields has not called the decisive election yet.
    pub(crate) fn waits_for_election(&self) -> bool {
        self.active().iter().any(|node| self.nodes[*node].yields())
    }

    /// Checks, once it is settled, that the kernels and the third host agree.
    pub(crate) fn addresses_follow(&self) -> Result<(), String> {
        let ours = |node: &crate::node::Node| node.spec.kind == Kind::Vouchd;
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| ours(node)) {
            let held =
                virtual_addresses(node.count).iter().filter(|vip| node.kernel.addresses.contains_key(*vip)).count();
            if node.is_active() && held < usize::from(node.count) && !node.kernel.refuses {
                return Err(format!("r{} is active and has {held} of its {} addresses", index + 1, node.count));
            }
            if !node.is_active() && held > 0 && !matches!(node.device, Device::Down) && !in_trial(node) {
                return Err(format!("r{} is not active and still has addresses", index + 1));
            }
        }
        match (self.active()[..].first(), self.believes) {
            (Some(active), Some(believed))
                if *active != believed && self.nodes.iter().all(ours) && !self.nodes[*active].announced_late =>
            {
                Err(format!("r{} is active, and the third host believes in r{}", active + 1, believed + 1))
            }
            _ => Ok(()),
        }
    }

    /// Checks what a router of vouchd does after one input.
    pub(crate) fn acted(&mut self, node: usize, before: State, actions: &[Action]) {
        let now = self.now;
        let it = &mut self.nodes[node];
        let Device::Vouchd(router) = &it.device else { return };
        let (after, priority, owner) = (router.state(), router.priority().get(), router.config().is_owner());
        let mut wrong = Vec::new();
        let stopped = before == State::Active && after != State::Active;
        for action in actions {
            match action {
                Action::Send(advertisement) => {
                    let sent = advertisement.priority.get();
                    let in_range = if owner { sent == 0 || sent == 255 } else { sent < 255 };
                    // A router that a reload makes the owner, or no longer the owner, may resign or step back with either.
                    if !in_range || (sent != 0 && sent != priority && !stopped) {
                        wrong.push(format!("advertises priority {sent} at priority {priority}"));
                    }
                }
                Action::Install { .. } => it.intends = true,
                Action::Remove => it.intends = false,
                Action::Withdraw { addresses } => {
                    if addresses.iter().any(|address| router.config().addresses.contains(address)) {
                        wrong.push("withdraws an address of its own".to_owned());
                    }
                }
                Action::Announce { .. } => it.announced.push(now),
                Action::Event { event: ProtocolEvent::Transition { from, to, .. }, .. } => {
                    it.changed.insert((*from, *to), now);
                }
                Action::Event { .. } => {}
            }
        }
        it.announced.retain(|at| now.saturating_sub(*at) < SECOND);
        let active = after == State::Active;
        if it.intends != (active || router.is_in_trial()) {
            wrong.push(format!(
                "is {after}, and its orders leave the addresses {}",
                if it.intends { "in place" } else { "away" }
            ));
        }
        // The limits: five announcements in any second, and one report of each kind.
        let announced = it.announced.iter().filter(|at| **at == now).count();
        if active && before != State::Active && announced == 0 && it.announced.len() < 5 {
            wrong.push("took over and announced nothing".to_owned());
        }
        if before != after {
            let reported =
                it.changed.get(&(before, after)).is_some_and(|at| now.saturating_sub(*at) <= SECOND + MAX_DELAY);
            // A stall and what follows it are two changes in one call.
            let stalled = it.changed.get(&(State::Active, State::Backup)).is_some_and(|at| *at == now);
            if !reported && !stalled {
                wrong.push(format!("went from {before} to {after} and reported nothing"));
            }
        }
        if it.announced.len() > 5 + 2 {
            wrong.push(format!("announced {} times in a second", it.announced.len()));
        }
        let idle = !it.link || it.verdict == Verdict::Fault;
        if idle && after != State::Initialize && self.knows(node) {
            wrong.push(format!("is {after} in spite of its link or its checks"));
        }
        for why in wrong {
            self.fail(format!("r{} {why}", node + 1));
        }
    }

    /// Whether a router has heard of the current state of its link and its checks: they are reported one after the other.
    fn knows(&self, node: usize) -> bool {
        let it = &self.nodes[node];
        it.frozen_until <= self.now && !it.reporting
    }

    /// Gives a packet to a router that has to discard it, and checks that it touches no timer and changes nothing else.
    pub(crate) fn give_stray(&mut self, node: usize, packet: &Packet<'_>) {
        let seen = |world: &Self| match &world.nodes[node].device {
            Device::Vouchd(router) => {
                let text = format!("{router:?}");
                // Everything that a state knows, its timers among them.
                let phase = text.split_once("phase: ").and_then(|(_, rest)| rest.split_once(", why: "));
                let phase = phase.map(|(phase, _)| phase.to_owned()).unwrap_or_default();
                let learned =
                    text.split_once("learned_interval: ").map(|(_, rest)| rest.chars().take(60).collect::<String>());
                let view = (router.state(), router.why().clone(), router.deadline(), router.priority(), router.stage());
                Some(((phase, learned, view), router.counters().stalls, router.counters().sent))
            }
            Device::Foreign(_) | Device::Down => None,
        };
        let Some((before, stalls, sent)) = seen(self) else { return };
        self.change(node, InputKind::Stray, |router, now| router.handle(now, vouchd_vrrp::Input::Packet(*packet)));
        let Some((after, stalls_after, sent_after)) = seen(self) else { return };
        if stalls == stalls_after && (before != after || sent != sent_after) {
            self.fail(format!("r{}: a packet to discard changed\n  {before:?} into\n  {after:?}", node + 1));
        }
    }

    /// Reports to a router what it knows, and checks that it does nothing but renew what it has.
    pub(crate) fn repeat(&mut self, node: usize) {
        let now = self.nodes[node].local(self.now);
        let Device::Vouchd(router) = &self.nodes[node].device else { return };
        // What is due or overdue is not repeated by another call.
        let unreported = matches!(router.why(), Why::Starting | Why::HealthWaiting(_));
        if unreported || router.deadline().is_some_and(|deadline| deadline <= now) {
            return;
        }
        let before = (router.state(), router.deadline(), router.counters().clone());
        self.report_health(node);
        self.give(node, vouchd_vrrp::Input::Timer);
        let Device::Vouchd(router) = &self.nodes[node].device else { return };
        let after = (router.state(), router.deadline(), router.counters().clone());
        if before != after {
            self.fail(format!("r{}: a repeated report changed\n  {before:?} into\n  {after:?}", node + 1));
        }
    }

    pub(crate) fn lease_ended(&mut self, node: usize) {
        let it = &self.nodes[node];
        // A frozen process, or one that just ran again, renews nothing.
        let ran = it.frozen_until.max(it.kernel.busy_until) + Duration::from_millis(600) < self.now;
        if it.is_active() && ran && it.spec.kind == Kind::Vouchd {
            self.fail(format!("r{} advertises, and the lease of an address ended", node + 1));
        }
    }
}

fn in_trial(node: &crate::node::Node) -> bool {
    matches!(&node.device, Device::Vouchd(router) if router.is_in_trial())
}
