//! The elections that an active router calls when its own checks lower its priority ("Yield, not only advertise" on the
//! [crate's page](crate)).

use vouchd_wire::Priority;

use super::{Phase, Router};
use crate::action::{Action, ProtocolEvent};
use crate::timers::election_wait;
use vouchd_wire::Time;

/// The longest pause between two calls of an election that no better router answers, in down intervals.
const MAX_PAUSE: u32 = 16;

/// The checks lowered this router's priority while it was active, and it has not recovered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Yielding {
    /// The priority before it fell.
    pub(super) before: Priority,
    /// When to call the next election.
    pub(super) call_at: Time,
    /// Down intervals between that call and the one after it.
    pub(super) pause: u32,
}

impl Router {
    /// The effective priority fell from `before`: an active router calls an election, at most one per down interval.
    pub(super) fn priority_fell(&mut self, now: Time, before: Priority, out: &mut Vec<Action>) {
        let earliest = self.last_election.map_or(now, |at| (at + self.own_down_interval()).max(now));
        self.with_active(|active| {
            let before = active.yielding.map_or(before, |yielding| yielding.before.max(before));
            active.yielding = Some(Yielding { before, call_at: earliest, pause: 1 });
        });
        if earliest <= now {
            self.call_election(now, out);
        }
    }

    /// The effective priority rose: a router that has recovered stops calling elections.
    pub(super) fn priority_rose(&mut self) {
        let priority = self.priority;
        self.with_active(|active| active.yielding = active.yielding.filter(|yielding| yielding.before > priority));
    }

    pub(super) fn call_election(&mut self, now: Time, out: &mut Vec<Action>) {
        let Phase::Active(active) = &self.phase else { return };
        // Without it, another member of the group repeats the call.
        let yielding = active.yielding;
        let before = yielding.map_or(self.priority, |yielding| yielding.before);
        let event = ProtocolEvent::ElectionCalled { priority: self.priority, before };
        self.report(now, event, out);
        self.counters.elections += 1;
        self.last_election = Some(now);
        self.send(now, self.priority, out);
        self.send(now, Priority::RESIGN, out);
        self.install(out);
        let wait = election_wait(self.config.version, self.priority, self.config.interval);
        let down = self.own_down_interval();
        self.with_active(|active| {
            active.electing = true;
            active.advertise_at = now + wait;
            active.yielding = yielding.map(|yielding| Yielding {
                call_at: now + down * yielding.pause,
                pause: (yielding.pause * 2).min(MAX_PAUSE),
                ..yielding
            });
        });
    }

    /// Follows a changed base priority or interval. A router goes on yielding while its checks keep it below the configured
    /// priority.
    pub(super) fn reconfigure_yielding(&mut self, now: Time, interval_changed: bool) {
        let (base, priority, down) = (self.config.priority, self.priority, self.own_down_interval());
        self.with_active(|active| {
            active.yielding = active.yielding.filter(|_| priority < base).map(|yielding| Yielding {
                before: base,
                call_at: if interval_changed { now + down * yielding.pause } else { yielding.call_at },
                ..yielding
            });
            if active.yielding.is_none() {
                active.electing = false;
            }
        });
    }
}
