//! Backup (RFC 9568 section 6.4.2): listen, and take over when the active router is gone.

use std::net::IpAddr;

use vouchd_wire::{Parsed, Priority};

use super::{Phase, Router};
use crate::action::Action;
use crate::config::Config;
use crate::status::Why;
use vouchd_wire::Time;

#[derive(Debug)]
pub(super) struct Backup {
    /// Active_Down_Timer.
    pub(super) down_at: Time,
    pub(super) awaiting: Awaiting,
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
}

impl Awaiting {
    /// Why this router becomes active when its timer has fired.
    pub(super) fn why(self) -> Why {
        match self {
            Self::Silence => Why::Silence,
            Self::Ownership => Why::Owner,
            Self::Resigned { peer } => Why::Resigned { peer },
            Self::Preemption { peer, priority } => Why::Preempted { peer, priority },
        }
    }
}

impl Router {
    pub(super) fn hear_as_backup(&mut self, now: Time, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let priority = parsed.advertisement.priority;
        let follows = priority >= self.priority || !self.config.preempts();
        if priority == Priority::RESIGN || follows || self.active_peer.is_none() {
            self.note_active(peer, parsed);
        }
        let (down_at, awaiting) = if priority == Priority::RESIGN {
            (Some(now + self.skew()), Awaiting::Resigned { peer })
        } else if follows {
            self.learn_interval(parsed);
            self.end_trial(out);
            (Some(now + self.down_interval()), Awaiting::Silence)
        } else {
            // A worse router does not restart the timer.
            (None, Awaiting::Preemption { peer, priority })
        };
        self.with_backup(|backup| {
            backup.down_at = down_at.unwrap_or(backup.down_at);
            backup.awaiting = awaiting;
        });
    }

    /// For rules that apply in Backup only.
    fn with_backup(&mut self, change: impl FnOnce(&mut Backup)) {
        match &mut self.phase {
            Phase::Backup(backup) => change(backup),
            Phase::Initialize | Phase::Active(_) => {}
        }
    }

    pub(super) fn reconfigure_backup(&mut self, now: Time, old: &Config, out: &mut Vec<Action>) {
        if self.config.is_owner() {
            self.with_backup(|backup| backup.awaiting = Awaiting::Ownership);
            return self.take_over(now, out);
        }
        // While an active router is heard, its interval counts, not ours.
        if old.interval == self.config.interval || self.learned_interval.is_some() {
            return;
        }
        // The deadline was computed from the old interval.
        let (skew, down) = (now + self.skew(), now + self.down_interval());
        self.with_backup(|backup| {
            backup.down_at = match backup.awaiting {
                Awaiting::Resigned { .. } => skew,
                Awaiting::Silence | Awaiting::Ownership | Awaiting::Preemption { .. } => down,
            };
        });
    }
}
