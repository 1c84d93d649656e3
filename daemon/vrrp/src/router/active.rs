//! Active (RFC 9568 section 6.4.3): advertise, hold the addresses, answer worse routers, step back for better ones.

use std::net::IpAddr;

use vouchd_wire::{Parsed, Priority};

use super::announce::{Announcement, first_announcement};
use super::backup::Backup;
use super::election::Yielding;
use super::{Phase, Router};
use crate::action::{Action, ProtocolEvent};
use crate::config::Config;
use crate::status::Why;
use crate::timers::lease;
use vouchd_wire::Time;

#[derive(Debug)]
pub(super) struct Active {
    /// Adver_Timer; during an election, this router's own turn in it.
    pub(super) advertise_at: Time,
    /// When it last sent an advertisement that was not of priority 0.
    pub(super) advertised_at: Time,
    /// An election is running.
    pub(super) electing: bool,
    pub(super) yielding: Option<Yielding>,
    /// The second announcement, or the next refresh.
    pub(super) announce_at: Option<(Time, Announcement)>,
    /// When to announce the addresses again because another router was active.
    pub(super) reannounce_at: Option<Time>,
    /// Announce the addresses with the next advertisement, for the same reason.
    pub(super) reannounce_with_next: bool,
    /// The router that this one preempted or won an election against. It advertises once more before it steps back, which is
    /// no news.
    predecessor: Option<IpAddr>,
}

impl Active {
    pub(super) fn deadline(&self) -> Time {
        let call = self.yielding.map(|yielding| yielding.call_at);
        let announce = self.announce_at.map(|(at, _)| at);
        [call, announce, self.reannounce_at].into_iter().flatten().fold(self.advertise_at, Time::min)
    }
}

impl Router {
    pub(super) fn become_active(&mut self, now: Time, why: Why, out: &mut Vec<Action>) {
        self.imposed.tried = false;
        self.trial_until = None;
        self.learned_interval = None;
        self.active_peer = None;
        self.sources.begin_active();
        self.counters.became_active += 1;
        let active = Active {
            advertise_at: now,
            advertised_at: now,
            electing: false,
            yielding: None,
            announce_at: first_announcement(now, &self.config.announce),
            reannounce_at: None,
            reannounce_with_next: false,
            predecessor: match &why {
                Why::Preempted { peer, .. } | Why::Resigned { peer } => Some(*peer),
                _ => None,
            },
        };
        self.transition(now, Phase::Active(active), why, out);
        self.advertise_periodically(now, out);
        self.announce(now, out);
    }

    /// For rules that apply in Active only.
    pub(super) fn with_active<T>(&mut self, change: impl FnOnce(&mut Active) -> T) -> Option<T> {
        match &mut self.phase {
            Phase::Active(active) => Some(change(active)),
            Phase::Initialize | Phase::Backup(_) => None,
        }
    }

    /// Sends an advertisement and sets Adver_Timer. The next one is due an interval after this one was, so that lateness does
    /// not add up.
    fn advertise_periodically(&mut self, now: Time, out: &mut Vec<Action>) {
        let interval = self.config.interval.duration();
        self.advertise(now, out);
        self.with_active(|active| {
            let next = active.advertise_at + interval;
            active.advertise_at = if next > now { next } else { now + interval };
        });
        if self.with_active(|active| std::mem::take(&mut active.reannounce_with_next)) == Some(true) {
            self.reannounce(now, out);
        }
    }

    /// Sends an advertisement with this router's priority and renews the lease. Answers renew it too: they can put off the
    /// periodic advertisements for as long as somebody keeps asking.
    fn advertise(&mut self, now: Time, out: &mut Vec<Action>) {
        self.send(now, self.priority, out);
        self.install(out);
    }

    pub(super) fn install(&self, out: &mut Vec<Action>) {
        out.push(Action::Install {
            lease: self.config.lease.then(|| lease(self.config.interval, self.config.down_timer_adverts)),
        });
    }

    pub(super) fn active_timer(&mut self, now: Time, out: &mut Vec<Action>) {
        let Phase::Active(active) = &self.phase else { return };
        if active.yielding.is_some_and(|yielding| yielding.call_at <= now) {
            self.call_election(now, out);
        } else if active.advertise_at <= now {
            if active.electing {
                self.report(now, ProtocolEvent::ElectionWon { against: None }, out);
                // Its turn in the election was not a multiple of the interval: the period starts anew.
                self.with_active(|active| (active.electing, active.advertise_at) = (false, now));
            }
            // The kernel has not refused the addresses for an interval, so they are in place.
            self.address_failures = 0;
            self.advertise_periodically(now, out);
        }
        self.announce_due(now, out);
    }

    pub(super) fn hear_as_active(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let priority = parsed.advertisement.priority;
        if priority == Priority::RESIGN {
            if self.answers.allow(now) {
                self.with_active(|active| active.electing = false);
                self.advertise(now, out);
                self.restart_advertising(now);
            }
            // A router that resigns was active.
            self.reannounce(now, out);
        } else if priority > self.priority || (priority == self.priority && self.source().is_some_and(|own| peer > own))
        {
            self.step_back(now, peer, parsed, out);
        } else {
            self.answer_worse(now, peer, priority, out);
        }
    }

    fn step_back(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        // If the better router does not know of this one, it has no reason to announce the addresses again, and other hosts
        // go on sending here. This advertisement gives it one.
        if self.farewells.allow(now) {
            self.send(now, self.priority, out);
        }
        // Answers are limited, so the router that did not resign may be heard with its next advertisement only.
        let is_soon = now.since(self.since) <= self.config.interval.duration() * 2;
        if is_soon && matches!(self.why, Why::Resigned { peer: resigned } if resigned == peer) {
            self.pair.note_mistake(peer, now + self.down_interval());
        }
        self.learn_interval(parsed);
        self.active_peer = Some(peer);
        out.push(Action::Remove);
        let backup = Backup::following(now, now + self.down_interval(), peer);
        let why = Why::Better { peer, priority: parsed.advertisement.priority };
        self.transition(now, Phase::Backup(backup), why, out);
    }

    /// RFC 9568 section 6.4.3: answer at once. The other router has announced the addresses, so this one announces them again.
    fn answer_worse(&mut self, now: Time, peer: IpAddr, priority: Priority, out: &mut Vec<Action>) {
        if !self.answers.allow(now) {
            return self.reannounce(now, out);
        }
        self.advertise(now, out);
        let won = self.with_active(|active| std::mem::take(&mut active.electing));
        if won == Some(true) {
            // Adver_Timer was set for the election.
            self.restart_advertising(now);
            self.report(now, ProtocolEvent::ElectionWon { against: Some(peer) }, out);
        }
        let predecessor = self.with_active(|active| active.predecessor.take_if(|known| *known == peer));
        if predecessor.flatten().is_none() {
            self.report(now, ProtocolEvent::OtherActive { peer, priority }, out);
        }
        self.reannounce(now, out);
    }

    fn restart_advertising(&mut self, now: Time) {
        let interval = self.config.interval.duration();
        self.with_active(|active| active.advertise_at = now + interval);
    }

    /// Removes the addresses of `old` that the new configuration does not have.
    pub(super) fn withdraw_dropped(&self, old: &Config, out: &mut Vec<Action>) {
        let is_dropped = |address: &&IpAddr| !self.config.addresses.contains(address);
        let dropped: Vec<IpAddr> = old.addresses.iter().filter(is_dropped).copied().collect();
        if !dropped.is_empty() {
            out.push(Action::Withdraw { addresses: dropped });
        }
    }

    pub(super) fn reconfigure_active(&mut self, now: Time, old: &Config, before: Priority, out: &mut Vec<Action>) {
        let priority = self.priority;
        let added = self.config.addresses.iter().any(|address| !old.addresses.contains(address));
        let interval_changed = old.interval != self.config.interval;
        self.reconfigure_yielding(now, interval_changed);
        if old.announce != self.config.announce {
            self.reschedule_announcements(now);
        }
        let electing = self.with_active(|active| active.electing) == Some(true);
        let sent = |config: &Config, priority| {
            (config.advertisement(priority), config.also_version_2, config.lease, config.peers.clone())
        };
        if electing && interval_changed {
            // The turns in the election were computed from the old interval.
            self.call_election(now, out);
        } else if sent(old, before) != sent(&self.config, priority) && !electing {
            self.with_active(|active| active.advertise_at = now);
            self.advertise_periodically(now, out);
        } else if old.addresses != self.config.addresses {
            self.install(out);
        }
        if added {
            out.push(Action::Announce { repeat: self.config.announce.repeat });
        }
    }
}
