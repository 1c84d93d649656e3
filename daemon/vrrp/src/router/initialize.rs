//! The way in and out of Initialize (RFC 9568 section 6.4.1): link, health and shutdown decide whether a router takes part.

use vouchd_wire::Priority;

use super::backup::Backup;
use super::{Phase, Router};
use crate::action::{Action, ProtocolEvent};
use crate::input::{Health, Link};
use crate::status::{State, Why};
use vouchd_wire::Time;

impl Router {
    pub(super) fn handle_link(&mut self, now: Time, link: Link, out: &mut Vec<Action>) {
        let link = match link {
            Link::Up { source } if !self.config.is_family_of(source) => {
                Link::Down { reason: format!("{source} is not of the family of the virtual addresses") }
            }
            link @ (Link::Up { .. } | Link::Down { .. }) => link,
        };
        self.link = Some(link);
        // Another address on the interface may be why the kernel refused ours, or why it will.
        self.addresses_proven = false;
        self.retry = None;
        self.reconcile(now, out);
    }

    /// Leaves Initialize once `startup_delay` and the pause after refused addresses are over.
    pub(super) fn end_pauses(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.startup.take_if(|(at, _)| *at <= now).is_some() {
            self.reconcile(now, out);
        }
        if let Some((_, reason)) = self.retry.take_if(|(at, _)| *at <= now) {
            self.reconcile(now, out);
            if self.state() == State::Backup {
                self.why = Why::Refused(reason);
            }
        }
    }

    /// Brings the state in line with link, health and shutdown.
    pub(super) fn reconcile(&mut self, now: Time, out: &mut Vec<Action>) {
        let obstacle = match (self.state(), self.obstacle()) {
            // A check that a reload added must not cost a router that takes part its addresses.
            (State::Backup | State::Active, Some(Why::HealthWaiting(_))) => self.held().cloned().map(Why::Held),
            (_, obstacle) => obstacle,
        };
        match (self.state(), obstacle) {
            (State::Initialize, None) => self.start(now, out),
            (State::Initialize, Some(why)) => {
                self.end_trial(out);
                if why != self.why {
                    self.why = why.clone();
                    self.report(now, ProtocolEvent::Held { why }, out);
                }
            }
            (State::Backup | State::Active, None) => {}
            (State::Backup | State::Active, Some(why)) => self.enter_initialize(now, why, out),
        }
    }

    /// What keeps this router in Initialize: itself, or the group.
    fn obstacle(&self) -> Option<Why> {
        self.obstacle_of_its_own().or_else(|| self.held().cloned().map(Why::Held))
    }

    /// Of several reasons the most fundamental.
    pub(super) fn obstacle_of_its_own(&self) -> Option<Why> {
        if self.shut_down {
            return Some(Why::ShutDown);
        }
        match &self.link {
            None => return Some(Why::Starting),
            Some(Link::Down { reason }) => return Some(Why::LinkDown(reason.clone())),
            Some(Link::Up { .. }) => {}
        }
        let refusal = || self.retry.as_ref().map(|(_, reason)| Why::AddressesFailed(reason.clone()));
        match &self.health {
            Health::Fault { reason } => Some(Why::HealthFault(reason.clone())),
            // A router that takes part may go on while a check has no result yet, but not without its addresses.
            Health::Waiting { reason, .. } => Some(refusal().unwrap_or_else(|| Why::HealthWaiting(reason.clone()))),
            Health::Fit { .. } => self.startup.map(|(_, delay)| Why::StartupDelay(delay)).or_else(refusal),
        }
    }

    /// RFC 9568 section 6.4.1.
    fn start(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.config.is_owner() && self.config.grouped {
            self.enter_backup(now, Why::Owner, out);
            self.await_ownership(now, out);
        } else if self.config.is_owner() {
            self.take_over(now, out);
        } else {
            self.end_trial(out);
            self.enter_backup(now, Why::Ready, out);
        }
    }

    /// Leaves the election. An active router sends priority 0 first, then removes the addresses.
    fn enter_initialize(&mut self, now: Time, why: Why, out: &mut Vec<Action>) {
        match self.phase {
            Phase::Initialize | Phase::Backup(_) => self.end_trial(out),
            Phase::Active(_) => {
                if self.source().is_some() {
                    self.send(now, Priority::RESIGN, out);
                }
                out.push(Action::Remove);
            }
        }
        self.transition(now, Phase::Initialize, why, out);
    }

    /// Listens for a full down interval, counted from this router's own advertisement interval.
    pub(super) fn enter_backup(&mut self, now: Time, why: Why, out: &mut Vec<Action>) {
        self.learned_interval = None;
        let down_at = now + self.down_interval();
        self.transition(now, Phase::Backup(Backup::listening(down_at)), why, out);
    }
}
