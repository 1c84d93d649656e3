//! Backup (RFC 9568 section 6.4.2): listen, and stand in when the active router is gone.

use std::net::IpAddr;

use vouchd_wire::{Parsed, Priority};

use super::{Phase, Router};
use crate::action::Action;
use crate::config::Config;
use crate::status::Why;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Backup {
    /// Active_Down_Timer.
    pub(super) down_at: Instant,
    pub(super) awaiting: Awaiting,
}

/// What it will mean when the timer fires.
#[derive(Clone, Debug)]
pub(super) enum Awaiting {
    /// Nobody was heard.
    Silence,
    /// Nothing: a reload made this router the owner.
    Ownership,
    /// The active router stopped, and nobody better stood in.
    Resigned { peer: IpAddr },
    /// A worse router is active.
    Preemption { peer: IpAddr, priority: Priority },
}

impl Awaiting {
    pub(super) fn fulfilled(self) -> Why {
        match self {
            Self::Silence => Why::Silence,
            Self::Ownership => Why::Owner,
            Self::Resigned { peer } => Why::Resigned { peer },
            Self::Preemption { peer, priority } => Why::Preempted { peer, priority },
        }
    }
}

impl Router {
    pub(super) fn hear_as_backup(&mut self, now: Instant, peer: IpAddr, parsed: &Parsed, out: &mut Vec<Action>) {
        let priority = parsed.advertisement.priority;
        let followed = priority >= self.priority || !self.config.preempts();
        if priority == Priority::RESIGN || followed || self.active_peer.is_none() {
            self.note_active(peer, parsed);
        }
        let (down_at, awaiting) = if priority == Priority::RESIGN {
            (Some(now + self.skew()), Awaiting::Resigned { peer })
        } else if followed {
            self.learn(parsed);
            self.end_trial(out);
            (Some(now + self.down_interval()), Awaiting::Silence)
        } else {
            // A worse router: the timer runs on, and fires in spite of it.
            (None, Awaiting::Preemption { peer, priority })
        };
        self.with_backup(|backup| {
            backup.down_at = down_at.unwrap_or(backup.down_at);
            backup.awaiting = awaiting;
        });
    }

    /// For rules that are reached in Backup only.
    fn with_backup(&mut self, change: impl FnOnce(&mut Backup)) {
        match &mut self.phase {
            Phase::Backup(backup) => change(backup),
            Phase::Initialize | Phase::Active(_) => {}
        }
    }

    pub(super) fn reconfigure_backup(&mut self, now: Instant, old: &Config, out: &mut Vec<Action>) {
        if self.config.is_owner() {
            self.with_backup(|backup| backup.awaiting = Awaiting::Ownership);
            return self.stand_in(now, out);
        }
        if old.interval == self.config.interval {
            return;
        }
        if self.learned.is_some() {
            // The active router's interval counts, not ours.
            return;
        }
        // What was awaited at the old pace says nothing.
        let (skew, down) = (now + self.skew(), now + self.down_interval());
        self.with_backup(|backup| {
            backup.down_at = match backup.awaiting {
                Awaiting::Resigned { .. } => skew,
                Awaiting::Silence | Awaiting::Ownership | Awaiting::Preemption { .. } => down,
            };
        });
    }
}
