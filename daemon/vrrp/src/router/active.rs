//! Active (RFC 9568 section 6.4.3): advertise, hold the addresses, answer worse routers, step back for better ones; and
//! the elections that a router calls when its own checks lower its priority.

use std::net::IpAddr;
use vouchd_wire::{Parsed, Priority};

use super::{Awaiting, Backup, Phase, Router};
use crate::action::{Action, Event};
use crate::config::{Announcements, Config};
use crate::limit::PAUSE;
use crate::status::Why;
use crate::time::Instant;
use crate::timers::{election_wait, lease};

/// The longest pause between two calls of an election that nobody answers, in down intervals.
const LONGEST_PAUSE: u32 = 16;

#[derive(Debug)]
pub(super) struct Active {
    /// Adver_Timer.
    pub(super) advertise_at: Instant,
    /// The last advertisement that was not of priority 0.
    pub(super) advertised_at: Instant,
    standing: Standing,
    yielding: Option<Yielding>,
    /// The second announcement, or the next refresh.
    announce_at: Option<(Instant, Announcement)>,
    /// When the addresses are announced once more because another router was active.
    reclaim_at: Option<Instant>,
    /// Another router was active and must not be answered (RFC 3768 section 7.1: an owner listens to nobody). The next
    /// advertisement announces the addresses again.
    reclaims_next: bool,
    /// The router that this one preempted, or won an election of: it says once more that it is active before it steps back.
    last_word_of: Option<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
enum Standing {
    Undisputed,
    /// An election runs; `advertise_at` is this router's own turn in it.
    Electing,
}

/// This router's checks lowered its priority while it was active, and it has not recovered.
#[derive(Clone, Copy, Debug)]
struct Yielding {
    /// The priority before it fell.
    before: Priority,
    /// When the election is called (again).
    call_at: Instant,
    /// Down intervals from the next call to the one after.
    pause: u32,
}

#[derive(Clone, Copy, Debug)]
enum Announcement {
    Second,
    Refresh,
}

impl Active {
    pub(super) fn is_electing(&self) -> bool {
        match self.standing {
            Standing::Electing => true,
            Standing::Undisputed => false,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let call = self.yielding.map(|yielding| yielding.call_at);
        let announce = self.announce_at.map(|(at, _)| at);
        [call, announce, self.reclaim_at].into_iter().flatten().fold(self.advertise_at, Instant::min)
    }
}

impl Router {
    pub(super) fn become_active(&mut self, now: Instant, why: Why, out: &mut Vec<Action>) {
        self.learned = None;
        self.active_peer = None;
        self.sources.begin_active();
        self.counters.became_active += 1;
        let active = Active {
            advertise_at: now,
            advertised_at: now,
            standing: Standing::Undisputed,
            yielding: None,
            announce_at: first_announcement(now, &self.config.announce),
            reclaim_at: None,
            reclaims_next: false,
            last_word_of: match &why {
                Why::Preempted { peer, .. } | Why::Resigned { peer } => Some(*peer),
                _ => None,
            },
        };
        self.transit(now, Phase::Active(active), why, out);
        self.advertise(now, out);
        self.announce(now, out);
    }

    /// The addresses are here now, and another router announced them or may have: at once, or when there may be one more.
    fn announce(&mut self, now: Instant, out: &mut Vec<Action>) {
        let next = self.limits.announcements.next();
        if self.limits.announcements.allow(now) {
            out.push(Action::Announce { repeat: self.config.announce.repeat });
        } else {
            self.with_active(|active| active.reclaim_at = Some(next));
        }
    }

    /// Another router was active, whom this one may not answer.
    pub(super) fn note_rival(&mut self) {
        self.with_active(|active| active.reclaims_next = true);
    }

    /// Another router was active, and announced or answered for the addresses: they are announced at once, and after an
    /// interval once more, since it may have answered until it heard this router. Once an interval is enough for a router
    /// that keeps on.
    fn reclaim(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.next_reclaim(now) <= now {
            self.reclaim_now(now, out);
        }
        let next = self.next_reclaim(now);
        self.with_active(|active| active.reclaim_at = Some(next));
    }

    fn reclaim_now(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.limits.reclaims.allow(now);
        self.limits.reclaimed_at = Some(now);
        self.announce(now, out);
    }

    fn next_reclaim(&self, now: Instant) -> Instant {
        let pause = self.config.interval.duration().min(PAUSE);
        self.limits.reclaimed_at.map_or(now, |at| at + pause).max(self.limits.reclaims.next())
    }

    /// Sends, renews the addresses' lease, and sets Adver_Timer from when it was due, so that lateness does not add up.
    fn advertise(&mut self, now: Instant, out: &mut Vec<Action>) {
        let interval = self.config.interval.duration();
        self.speak(now, out);
        self.with_active(|active| {
            let next = active.advertise_at + interval;
            active.advertise_at = if next > now { next } else { now + interval };
        });
        if self.with_active(|active| std::mem::take(&mut active.reclaims_next)) == Some(true) {
            self.reclaim(now, out);
        }
    }

    /// An advertisement with this router's priority. Each renews the lease, also those that answer somebody: they can
    /// put off the periodic ones for as long as somebody asks.
    fn speak(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.send(now, self.priority, out);
        self.install(out);
    }

    pub(super) fn install(&self, out: &mut Vec<Action>) {
        out.push(Action::Install { lease: self.config.lease.then(|| lease(self.config.interval)) });
    }

    /// For rules that are reached in Active only.
    fn with_active<T>(&mut self, change: impl FnOnce(&mut Active) -> T) -> Option<T> {
        match &mut self.phase {
            Phase::Active(active) => Some(change(active)),
            Phase::Initialize | Phase::Backup(_) => None,
        }
    }

    pub(super) fn active_timer(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Phase::Active(active) = &self.phase else { return };
        if active.yielding.is_some_and(|yielding| yielding.call_at <= now) {
            self.call_election(now, out);
        } else if active.advertise_at <= now {
            if active.is_electing() {
                self.tell(now, Event::ElectionWon { against: None }, out);
                // Its own turn in the election was no beat of the old rhythm.
                self.with_active(|active| (active.standing, active.advertise_at) = (Standing::Undisputed, now));
            }
            // An interval with the addresses and no word of the kernel: they are in place.
            self.address_failures = 0;
            self.advertise(now, out);
        }
        let reclaim = self.with_active(|active| active.reclaim_at.take_if(|at| *at <= now));
        if reclaim.flatten().is_some() {
            let next = self.next_reclaim(now);
            if next <= now {
                self.reclaim_now(now, out);
            } else {
                self.with_active(|active| active.reclaim_at = Some(next));
            }
        }
        let announce = self.config.announce;
        let due = self.with_active(|active| {
            let (at, announcement) = active.announce_at.filter(|(at, _)| *at <= now)?;
            active.announce_at = refresh_after(now.max(at), &announce);
            Some(announcement)
        });
        match due.flatten() {
            Some(Announcement::Second) => out.push(Action::Announce { repeat: announce.repeat }),
            Some(Announcement::Refresh) => out.push(Action::Announce { repeat: announce.refresh_repeat }),
            None => {}
        }
    }

    pub(super) fn hear_as_active(&mut self, now: Instant, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let priority = parsed.advertisement.priority;
        if priority == Priority::RESIGN {
            if self.limits.answers.allow(now) {
                self.with_active(|active| active.standing = Standing::Undisputed);
                self.speak(now, out);
                self.restart_advertising(now);
            }
            // Who resigns was active.
            self.reclaim(now, out);
        } else if priority > self.priority || (priority == self.priority && self.source().is_some_and(|own| peer > own))
        {
            self.step_back(now, peer, parsed, out);
        } else {
            self.answer_worse(now, peer, priority, out);
        }
    }

    fn step_back(&mut self, now: Instant, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        // The better one may have come first and know nothing of this router: then nobody would announce the addresses
        // again, and others on the segment go on sending here.
        if self.limits.answers.allow(now) {
            self.send(now, self.priority, out);
        }
        self.learn(parsed);
        self.active_peer = Some(peer);
        out.push(Action::Remove);
        let backup = Backup { down_at: now + self.down_interval(), awaiting: Awaiting::Silence };
        let why = Why::Better { peer, priority: parsed.advertisement.priority };
        self.transit(now, Phase::Backup(backup), why, out);
    }

    /// RFC 9568 section 6.4.3: answered at once. The other has announced itself, so the addresses are announced again.
    fn answer_worse(&mut self, now: Instant, peer: IpAddr, priority: Priority, out: &mut Vec<Action>) {
        if !self.limits.answers.allow(now) {
            return self.reclaim(now, out);
        }
        self.speak(now, out);
        let won = self.with_active(|active| {
            let won = active.is_electing();
            active.standing = Standing::Undisputed;
            won
        });
        if won == Some(true) {
            // The timer was set for the election; from here on it beats as usual.
            self.restart_advertising(now);
            self.tell(now, Event::ElectionWon { against: Some(peer) }, out);
        }
        let last_word = self.with_active(|active| active.last_word_of.take_if(|of| *of == peer));
        if last_word.flatten().is_none() {
            self.tell(now, Event::OtherActive { peer, priority }, out);
        }
        self.reclaim(now, out);
    }

    fn restart_advertising(&mut self, now: Instant) {
        let interval = self.config.interval.duration();
        self.with_active(|active| active.advertise_at = now + interval);
    }

    /// The effective priority fell from `before`: an active router asks who is better now.
    pub(super) fn fell(&mut self, now: Instant, before: Priority, out: &mut Vec<Action>) {
        // Not on every flap: what falls inside a down interval is asked about at its end.
        let earliest = self.last_call.map_or(now, |at| (at + self.own_down_interval()).max(now));
        self.with_active(|active| {
            let before = active.yielding.map_or(before, |yielding| yielding.before.max(before));
            active.yielding = Some(Yielding { before, call_at: earliest, pause: 1 });
        });
        if earliest <= now {
            self.call_election(now, out);
        }
    }

    /// The effective priority rose.
    pub(super) fn rose(&mut self) {
        let priority = self.priority;
        self.with_active(|active| active.yielding = active.yielding.filter(|yielding| yielding.before > priority));
    }

    fn is_yielding(&self) -> bool {
        match &self.phase {
            Phase::Active(active) => active.yielding.is_some(),
            Phase::Initialize | Phase::Backup(_) => false,
        }
    }

    fn call_election(&mut self, now: Instant, out: &mut Vec<Action>) {
        let Phase::Active(active) = &self.phase else { return };
        let Some(yielding) = active.yielding else { return };
        self.tell(now, Event::ElectionCalled { priority: self.priority, before: yielding.before }, out);
        self.counters.elections += 1;
        self.last_call = Some(now);
        self.send(now, self.priority, out);
        self.send(now, Priority::RESIGN, out);
        self.install(out);
        let wait = election_wait(self.config.version, self.priority, self.config.interval);
        let pause = self.own_down_interval() * yielding.pause;
        self.with_active(|active| {
            active.standing = Standing::Electing;
            active.advertise_at = now + wait;
            let pause_after = (yielding.pause * 2).min(LONGEST_PAUSE);
            active.yielding = Some(Yielding { call_at: now + pause, pause: pause_after, ..yielding });
        });
    }

    /// Takes back what the new configuration does not have any more.
    pub(super) fn withdraw(&self, old: &Config, out: &mut Vec<Action>) {
        let is_gone = |address: &&IpAddr| !self.config.addresses.contains(address);
        let gone: Vec<IpAddr> = old.addresses.iter().filter(is_gone).copied().collect();
        if !gone.is_empty() {
            out.push(Action::Withdraw { addresses: gone });
        }
    }

    pub(super) fn reconfigure_active(&mut self, now: Instant, old: &Config, before: Priority, out: &mut Vec<Action>) {
        let added = self.config.addresses.iter().any(|address| !old.addresses.contains(address));
        // It yields on while its checks keep it below what it was configured to be.
        let (base, priority) = (self.config.priority, self.priority);
        self.with_active(|active| {
            let yielding = active.yielding.filter(|_| priority < base);
            active.yielding = yielding.map(|yielding| Yielding { before: base, ..yielding });
        });
        let (yielding, down) = (self.is_yielding(), self.own_down_interval());
        let electing = self.with_active(|active| {
            if !yielding {
                active.standing = Standing::Undisputed;
            }
            active.is_electing()
        }) == Some(true);
        let paced = old.interval != self.config.interval;
        if paced {
            self.with_active(|active| {
                active.yielding =
                    active.yielding.map(|yielding| Yielding { call_at: now + down * yielding.pause, ..yielding });
            });
        }
        if old.announce != self.config.announce {
            let announce = self.config.announce;
            self.with_active(|active| match active.announce_at {
                // The refreshes begin after it.
                Some((_, Announcement::Second)) => {}
                Some((_, Announcement::Refresh)) | None => active.announce_at = refresh_after(now, &announce),
            });
        }
        let said = |config: &Config, priority| (config.advertisement(priority), config.lease, config.peers.clone());
        if electing && paced {
            // Its turn, and those of the others, are counted in the old pace.
            self.call_election(now, out);
        } else if said(old, before) != said(&self.config, priority) && !electing {
            self.with_active(|active| active.advertise_at = now);
            self.advertise(now, out);
        } else if old.addresses != self.config.addresses {
            self.install(out);
        }
        if added {
            out.push(Action::Announce { repeat: self.config.announce.repeat });
        }
    }
}

fn first_announcement(now: Instant, announce: &Announcements) -> Option<(Instant, Announcement)> {
    if announce.delay.is_zero() {
        refresh_after(now, announce)
    } else {
        Some((now + announce.delay, Announcement::Second))
    }
}

fn refresh_after(at: Instant, announce: &Announcements) -> Option<(Instant, Announcement)> {
    (!announce.refresh.is_zero()).then(|| (at + announce.refresh, Announcement::Refresh))
}
