//! What the node's checks do to the effective priority.

use std::cmp::Ordering;
use std::time::Duration;

use vouchd_wire::Priority;

use super::{Phase, Router};
use crate::action::Action;
use crate::input::Health;
use vouchd_wire::Time;

impl Router {
    pub(super) fn handle_health(&mut self, now: Time, health: Health, out: &mut Vec<Action>) {
        let before = self.priority;
        self.apply_health(now, &health, out);
        match self.priority.cmp(&before) {
            Ordering::Less => self.priority_fell(now, before, out),
            Ordering::Equal => {}
            Ordering::Greater => self.priority_rose(),
        }
        self.health = health;
        self.reconcile(now, out);
    }

    /// Sets the effective priority that `health` asks for. An owner's is always 255 (RFC 9568 section 5.2.4).
    pub(super) fn apply_health(&mut self, now: Time, health: &Health, out: &mut Vec<Action>) {
        let (asked, reason) = match health {
            Health::Fit { priority, reason } | Health::Waiting { priority, reason } => (*priority, reason),
            // It keeps the priority that it had, for status.
            Health::Fault { reason } => (self.priority, reason),
        };
        self.own_reduction = i16::from(self.config.priority.get()) - i16::from(asked.get());
        self.apply_reductions(now, reason, out);
    }

    /// Sets the effective priority; a pending deadline moves by the change in skew.
    pub(super) fn set_priority(&mut self, now: Time, to: Priority) {
        let (before, after) = {
            let before = self.skew();
            self.priority = to;
            (before, self.skew())
        };
        match &mut self.phase {
            Phase::Initialize => {}
            Phase::Backup(backup) if backup.expired => {}
            Phase::Backup(backup) => backup.down_at = shifted(now, backup.down_at, before, after),
            Phase::Active(active) => {
                if active.electing {
                    active.advertise_at = shifted(now, active.advertise_at, before, after);
                }
            }
        }
    }
}

/// `deadline` after the skew in it went from `before` to `after`, but not in the past.
fn shifted(now: Time, deadline: Time, before: Duration, after: Duration) -> Time {
    if after >= before { deadline + (after - before) } else { deadline.before(before - after).max(now) }
}
