//! A member of a [`crate::Group`]: what the group sees of it, and how it carries out what the group decides.

use vouchd_wire::Priority;

use super::backup::Backup;
use super::{Phase, Router};
use crate::action::{Action, ProtocolEvent};
use crate::group::{Order, Reason};
use crate::input::Health;
use crate::status::{State, Why};
use vouchd_wire::Time;

/// What a group has imposed on a router.
#[derive(Debug, Default)]
pub(super) struct Imposed {
    /// Another member can't take part.
    held: Option<Reason>,
    /// How much the group lowers the priority. `None` until it has decided that.
    lowered: Option<(i16, Reason)>,
    /// The kernel accepted the addresses in a trial, and the group has not taken over yet.
    pub(super) tried: bool,
}

impl Router {
    pub(super) fn handle_order(&mut self, now: Time, order: Order, out: &mut Vec<Action>) {
        match order {
            Order::Hold(reason) => {
                self.imposed.held = Some(reason);
                self.reconcile(now, out);
            }
            Order::Release => {
                self.imposed.held = None;
                self.reconcile(now, out);
            }
            Order::Lower { by, reason } => self.lower(now, by, reason, out),
            Order::CallElection => self.call_election(now, out),
            Order::Try => self.start_trial(now, out),
            Order::EndTrial => self.end_trial(out),
            Order::TakeOver(reason) => {
                let Phase::Backup(backup) = &self.phase else { return };
                let why = reason.map_or_else(|| backup.awaiting.clone().why(), Why::Group);
                self.become_active(now, why, out);
            }
            Order::StepBack(reason) => self.step_back_with_group(now, reason, out),
        }
    }

    /// On this network no better router is active, so the last advertisement has priority 0: a backup need not wait.
    fn step_back_with_group(&mut self, now: Time, reason: Reason, out: &mut Vec<Action>) {
        if self.state() != State::Active {
            return;
        }
        self.send(now, Priority::RESIGN, out);
        out.push(Action::Remove);
        self.enter_backup(now, Why::Group(reason), out);
    }

    fn lower(&mut self, now: Time, by: i16, reason: Reason, out: &mut Vec<Action>) {
        let (before, joins) = (self.priority, self.imposed.lowered.is_none());
        let text = format!("{} of its group: {}", reason.member, reason.what);
        self.imposed.lowered = Some((by, reason));
        self.apply_reductions(now, &text, out);
        if self.priority > before {
            self.priority_rose();
        } else if self.priority < before && !joins {
            self.priority_fell(now, before, out);
        }
    }

    /// Sets the priority by this router's own checks and by the group.
    pub(super) fn apply_reductions(&mut self, now: Time, reason: &str, out: &mut Vec<Action>) {
        let by = self.imposed.lowered.as_ref().map_or(self.own_reduction, |(by, _)| self.own_reduction.max(*by));
        let to = match self.config.is_owner() {
            true => Priority::OWNER,
            false => {
                let asked = i16::from(self.config.priority.get()).saturating_sub(by);
                let (lowest, highest) = (Priority::LOWEST.get(), Priority::HIGHEST.get());
                // It fits: both ends are u8.
                Priority::new(asked.clamp(i16::from(lowest), i16::from(highest)) as u8)
            }
        };
        if to != self.priority {
            self.report(now, ProtocolEvent::Priority { from: self.priority, to, reason: reason.to_owned() }, out);
            self.set_priority(now, to);
        }
    }

    /// Follows a change of [`crate::Config::grouped`].
    pub(super) fn leave_group(&mut self, out: &mut Vec<Action>) {
        if self.imposed.tried {
            self.end_trial(out);
        }
        self.imposed.held = None;
        self.imposed.lowered = None;
        if let Phase::Backup(backup) = &mut self.phase {
            // Its own timer counts again, at once.
            backup.expired = false;
        }
    }

    fn backup(&self) -> Option<&Backup> {
        match &self.phase {
            Phase::Backup(backup) => Some(backup),
            Phase::Initialize | Phase::Active(_) => None,
        }
    }

    /// What the group holds this router in Initialize for.
    pub fn held(&self) -> Option<&Reason> {
        self.imposed.held.as_ref()
    }

    /// By how much the group lowers the priority, and why; `None` unless that is more than this router's own checks do.
    pub fn lowered_by_group(&self) -> Option<(i16, &Reason)> {
        let (by, reason) = self.imposed.lowered.as_ref()?;
        (*by > self.own_reduction && !self.config.is_owner()).then_some((*by, reason))
    }

    /// Active_Down_Timer has expired, and the group decides what follows.
    pub(crate) fn has_expired(&self) -> bool {
        self.backup().is_some_and(|backup| backup.expired)
    }

    /// When the active router resigned, if none was followed since.
    pub(crate) fn resigned_at(&self) -> Option<Time> {
        self.backup().and_then(|backup| backup.resigned_at)
    }

    /// When an advertisement last restarted Active_Down_Timer.
    pub(crate) fn followed_at(&self) -> Option<Time> {
        self.backup().and_then(|backup| backup.followed_at)
    }

    /// It follows an active router, or has just stopped being active itself: the group can't be active.
    pub(crate) fn follows_another(&self) -> bool {
        let left = matches!(self.why, Why::Better { .. } | Why::Stalled { .. });
        self.backup().is_some_and(|backup| !backup.expired && (left || backup.followed_at.is_some()))
    }

    /// Why it would become active now.
    pub(crate) fn takeover_reason(&self) -> Option<Why> {
        self.backup().map(|backup| backup.awaiting.clone().why())
    }

    /// What keeps it in Initialize, apart from the group, and whether that is more than something not known yet.
    pub(crate) fn own_obstacle(&self) -> Option<(Why, bool)> {
        let why = self.obstacle_of_its_own()?;
        let lasting = !matches!(why, Why::Starting | Why::HealthWaiting(_) | Why::StartupDelay(_));
        (lasting || self.state() == State::Initialize).then_some((why, lasting))
    }

    pub(crate) fn own_reduction(&self) -> i16 {
        if self.config.is_owner() { 0 } else { self.own_reduction }
    }

    pub(crate) fn group_reduction(&self) -> Option<i16> {
        self.imposed.lowered.as_ref().map(|(by, _)| *by)
    }

    pub(crate) fn health_reason(&self) -> &str {
        match &self.health {
            Health::Fit { reason, .. } | Health::Waiting { reason, .. } | Health::Fault { reason } => reason,
        }
    }

    pub(crate) fn called_election_at(&self, now: Time) -> bool {
        self.last_election == Some(now)
    }

    /// The kernel accepts the addresses, or there are none to try.
    pub(crate) fn addresses_are_proven(&self) -> bool {
        self.addresses_proven || self.config.addresses.is_empty()
    }

    pub(crate) fn has_tried(&self) -> bool {
        self.imposed.tried
    }
}
