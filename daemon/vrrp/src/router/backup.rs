//! Backup (RFC 9568 section 6.4.2): listen, and take over when the active router is gone.

use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{Parsed, Priority};

use super::{Phase, Router};
use crate::action::Action;
use crate::config::Config;
use crate::pair::HandOver;
use crate::status::Why;
use vouchd_wire::Time;

#[derive(Debug)]
pub(super) struct Backup {
    /// Active_Down_Timer.
    pub(super) down_at: Time,
    pub(super) awaiting: Awaiting,
    /// The active router whose advertisements restart the timer. `None` after it resigned.
    followed: Option<IpAddr>,
    /// When its advertisement last restarted the timer.
    pub(super) followed_at: Option<Time>,
    /// When the active router resigned, if none was followed since.
    pub(super) resigned_at: Option<Time>,
    /// In a group: the timer has expired, and the group decides what follows.
    pub(super) expired: bool,
    /// A worse router is active, and `preempt_delay` runs or is over.
    pub(super) delayed: Option<Delayed>,
}

/// What it means if the timer fires.
#[derive(Clone, Debug)]
pub(super) enum Awaiting {
    /// No active router was heard.
    Silence,
    /// A reload made this router the owner; there is nothing to wait for.
    Ownership,
    /// The active router resigned, and no better one took over.
    Resigned { peer: IpAddr },
    /// A worse router is active.
    Preemption { peer: IpAddr, priority: Priority },
    /// A worse router took over from the one that this router followed, or before this router's turn.
    Claim { peer: IpAddr, priority: Priority },
}

/// The wait before this router takes over from a worse one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delayed {
    /// When it is over.
    pub(super) at: Time,
    /// The router that is active, and its priority.
    peer: IpAddr,
    priority: Priority,
}

impl Awaiting {
    /// Why this router becomes active when its timer has fired.
    pub(super) fn why(self) -> Why {
        match self {
            Self::Silence => Why::Silence,
            Self::Ownership => Why::Owner,
            Self::Resigned { peer } => Why::Resigned { peer },
            Self::Preemption { peer, priority } => Why::Preempted { peer, priority },
            Self::Claim { peer, priority } => Why::Claimed { peer, priority },
        }
    }
}

impl Backup {
    /// Follows nobody yet.
    pub(super) fn listening(down_at: Time) -> Self {
        Self {
            down_at,
            awaiting: Awaiting::Silence,
            followed: None,
            followed_at: None,
            resigned_at: None,
            expired: false,
            delayed: None,
        }
    }

    /// Follows a better router.
    pub(super) fn following(now: Time, down_at: Time, active: IpAddr) -> Self {
        Self { followed: Some(active), followed_at: Some(now), ..Self::listening(down_at) }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let at = self.delayed.map_or(self.down_at, |delayed| delayed.at.min(self.down_at));
        (!self.expired).then_some(at)
    }
}

impl Router {
    pub(super) fn backup_timer(&mut self, now: Time, out: &mut Vec<Action>) {
        let priority = self.priority;
        let Phase::Backup(backup) = &mut self.phase else { return };
        if let Some(Delayed { peer, priority: active, .. }) = backup.delayed.take_if(|delayed| delayed.at <= now)
            && active < priority
        {
            backup.awaiting = Awaiting::Preemption { peer, priority: active };
            backup.down_at = now;
        }
        if backup.down_at <= now {
            self.take_over(now, out);
        }
    }

    pub(super) fn hear_as_backup(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let priority = parsed.advertisement.priority;
        if priority == Priority::RESIGN {
            self.note_active(peer, parsed);
            self.hear_resignation(now, peer, out);
        } else if priority >= self.priority {
            self.with_backup(|backup| backup.delayed = None);
            self.follow(now, peer, parsed, out);
        } else if self.preempts_now(now, peer, priority) {
            if self.active_peer.is_none() {
                self.note_active(peer, parsed);
            }
            // A worse router does not restart the timer.
            self.with_backup(|backup| backup.awaiting = Awaiting::Preemption { peer, priority });
        } else {
            self.hear_worse_without_preemption(now, peer, parsed, out);
        }
    }

    /// Priority 0. In a pair there is nobody to wait for, unless the router that resigns called an election that it will win.
    fn hear_resignation(&mut self, now: Time, peer: IpAddr, out: &mut Vec<Action>) {
        let outranks = |priority: Priority| {
            priority > self.priority || (priority == self.priority && self.source().is_some_and(|own| peer > own))
        };
        let is_instant = self.hand_over(now) == Some(HandOver::Instant)
            && !self.pair.priority_in_burst(now, peer).is_some_and(outranks)
            && !self.pair.is_doubtful(now, peer);
        let wait = if is_instant { Duration::ZERO } else { self.skew() };
        self.with_backup(|backup| {
            let resigned_at = Some(now);
            *backup = Backup { awaiting: Awaiting::Resigned { peer }, resigned_at, ..Backup::listening(now + wait) };
        });
        if is_instant {
            self.take_over(now, out);
        }
    }

    /// Restarts Active_Down_Timer for an active router.
    fn follow(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        self.note_active(peer, parsed);
        self.learn_interval(parsed);
        self.end_trial(out);
        let down_at = now + self.down_interval();
        self.with_backup(|backup| {
            backup.down_at = down_at;
            backup.awaiting = Awaiting::Silence;
            backup.followed = Some(peer);
            backup.followed_at = Some(now);
            backup.resigned_at = None;
            backup.expired = false;
        });
    }

    /// Whether a worse active router may be taken over from now: with Preempt_Mode, and after `preempt_delay`, which starts
    /// when it could have been for the first time.
    fn preempts_now(&mut self, now: Time, peer: IpAddr, priority: Priority) -> bool {
        if self.config.preempt_delay == Duration::ZERO || !self.config.preempt || self.config.is_owner() {
            return self.config.preempts();
        }
        // Several backups that wait for the same time are ordered by their Skew_Time, as after a down interval.
        let wait = (self.config.preempt_delay + self.skew()).max(self.down_interval());
        let is_in_trial = self.is_in_trial();
        let Phase::Backup(backup) = &mut self.phase else { return false };
        if is_in_trial && matches!(backup.awaiting, Awaiting::Preemption { .. }) {
            // The delay is over, and the kernel is installing the addresses.
            return true;
        }
        let at = backup.delayed.map_or(now + wait, |delayed| delayed.at);
        backup.delayed = Some(Delayed { at, peer, priority });
        at <= now
    }

    /// See "No worse router wins an election for good" on the [crate's page](crate).
    fn hear_worse_without_preemption(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let Phase::Backup(backup) = &mut self.phase else { return };
        let takes_part = match backup.followed {
            Some(followed) => followed != peer,
            // After a resignation, until its turn has come.
            None => matches!(backup.awaiting, Awaiting::Resigned { .. } | Awaiting::Claim { .. }),
        };
        if takes_part {
            backup.awaiting = Awaiting::Claim { peer, priority: parsed.advertisement.priority };
            self.note_active(peer, parsed);
        } else {
            self.follow(now, peer, parsed, out);
        }
    }

    /// For rules that apply in Backup only.
    pub(super) fn with_backup(&mut self, change: impl FnOnce(&mut Backup)) {
        match &mut self.phase {
            Phase::Backup(backup) => change(backup),
            Phase::Initialize | Phase::Active(_) => {}
        }
    }

    /// A backup that owns the addresses waits for nobody.
    pub(super) fn await_ownership(&mut self, now: Time, out: &mut Vec<Action>) {
        self.with_backup(|backup| backup.awaiting = Awaiting::Ownership);
        self.take_over(now, out);
    }

    pub(super) fn reconfigure_backup(&mut self, now: Time, old: &Config, out: &mut Vec<Action>) {
        if self.config.is_owner() {
            return self.await_ownership(now, out);
        }
        if old.preempt_delay != self.config.preempt_delay || old.preempt != self.config.preempt {
            // The next advertisement of a worse router starts the new delay.
            self.with_backup(|backup| backup.delayed = None);
        }
        // While an active router is heard, its interval counts, not ours.
        let same_interval = old.interval == self.config.interval || self.learned_interval.is_some();
        if same_interval && old.down_timer_adverts == self.config.down_timer_adverts {
            return;
        }
        // The deadline was computed from the old interval.
        let (skew, down) = (now + self.skew(), now + self.down_interval());
        self.with_backup(|backup| {
            backup.expired = false;
            backup.down_at = match backup.awaiting {
                Awaiting::Resigned { .. } => skew,
                Awaiting::Silence | Awaiting::Ownership | Awaiting::Preemption { .. } | Awaiting::Claim { .. } => down,
            };
        });
    }
}
