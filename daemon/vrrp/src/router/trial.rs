//! The way to Active. A router that can't hold the addresses must not take them from one that can, so the kernel installs
//! them before this router says that it is active: a trial.

use std::time::Duration;

use super::{Phase, Router};
use crate::action::Action;
use crate::status::{State, Why};
use vouchd_wire::Time;

/// The least time that the kernel has for a trial. A busy kernel needs longer than a short down interval.
const MIN_TRIAL: Duration = Duration::from_secs(2);

impl Router {
    /// Becomes active: at once if the kernel is known to accept the addresses, else after a trial.
    pub(super) fn take_over(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.config.grouped {
            // The group decides.
            self.with_backup(|backup| backup.expired = true);
        } else if self.addresses_are_proven() {
            self.complete_takeover(now, out);
        } else {
            self.start_trial(now, out);
        }
    }

    pub(super) fn start_trial(&mut self, now: Time, out: &mut Vec<Action>) {
        if !self.is_in_trial() {
            self.trial_until = Some(now + self.own_down_interval().max(MIN_TRIAL));
            self.install(out);
        }
    }

    fn complete_takeover(&mut self, now: Time, out: &mut Vec<Action>) {
        let why = match &self.phase {
            Phase::Initialize => Why::Owner,
            Phase::Backup(backup) => backup.awaiting.clone().why(),
            Phase::Active(_) => return,
        };
        self.become_active(now, why, out);
    }

    pub(super) fn handle_installed(&mut self, now: Time, out: &mut Vec<Action>) {
        self.addresses_proven = true;
        self.address_failures = 0;
        if self.trial_until.take().is_none() {
            return;
        }
        if self.config.grouped {
            self.imposed.tried = true;
        } else {
            self.complete_takeover(now, out);
        }
    }

    pub(super) fn handle_refused(&mut self, now: Time, reason: String, out: &mut Vec<Action>) {
        if self.state() != State::Active && !self.is_in_trial() && !self.imposed.tried {
            return;
        }
        let wait = self.own_down_interval() * 2u32.pow(self.address_failures.min(6));
        self.address_failures += 1;
        self.addresses_proven = false;
        self.retry = Some((now + wait, reason));
        self.end_trial(out);
        self.reconcile(now, out);
    }

    /// Gives a trial up and removes what the kernel may have installed for it.
    pub(super) fn end_trial(&mut self, out: &mut Vec<Action>) {
        let tried = std::mem::take(&mut self.imposed.tried);
        if self.trial_until.take().is_some() || tried {
            out.push(Action::Remove);
        }
    }

    /// Allows the next trial at once.
    pub(super) fn forget_failures(&mut self) {
        self.retry = None;
        self.address_failures = 0;
    }
}
