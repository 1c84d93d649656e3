//! Whether the kernel takes the addresses: a router that can't hold them must not take them from one that can.

use std::time::Duration;

use super::{Phase, Router};
use crate::action::Action;
use crate::status::{State, Why};
use crate::time::Instant;

/// How long the kernel may take for a trial, at least. A busy one is slower than a short down interval.
const ANSWER: Duration = Duration::from_secs(2);

impl Router {
    pub(super) fn take_failure(&mut self, now: Instant, reason: String, out: &mut Vec<Action>) {
        if self.state() != State::Active && self.trial.is_none() {
            return;
        }
        let wait = self.own_down_interval() * 2u32.pow(self.address_failures.min(6));
        self.address_failures += 1;
        self.proven = false;
        self.retry = Some((now + wait, reason));
        self.end_trial(out);
        self.reconcile(now, out);
    }

    pub(super) fn take_success(&mut self, now: Instant, out: &mut Vec<Action>) {
        self.proven = true;
        self.address_failures = 0;
        if self.trial.take().is_some() {
            self.claim(now, out);
        }
    }

    /// The way to Active. The kernel is asked first, without a word on the network, unless it is known to take the
    /// addresses.
    pub(super) fn stand_in(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.proven {
            self.claim(now, out);
        } else if self.trial.is_none() {
            self.trial = Some(now + self.own_down_interval().max(ANSWER));
            self.install(out);
        }
    }

    fn claim(&mut self, now: Instant, out: &mut Vec<Action>) {
        let why = match &self.phase {
            Phase::Initialize => Why::Owner,
            Phase::Backup(backup) => backup.awaiting.clone().fulfilled(),
            Phase::Active(_) => return,
        };
        self.become_active(now, why, out);
    }

    /// Takes back what the kernel was asked to take.
    pub(super) fn end_trial(&mut self, out: &mut Vec<Action>) {
        if self.trial.take().is_some() {
            out.push(Action::Remove);
        }
    }

    /// Whatever was refused is worth a new try.
    pub(super) fn forget_failures(&mut self) {
        self.retry = None;
        self.address_failures = 0;
    }
}
