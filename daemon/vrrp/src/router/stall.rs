//! "Never act late on stale knowledge": see the [crate's page](crate).

use super::backup::Backup;
use super::{Phase, Router};
use crate::action::{Action, ProtocolEvent};
use crate::status::Why;
use vouchd_wire::Time;

impl Router {
    /// Makes a router that was called too late listen for a down interval before it acts.
    pub(super) fn detect_stall(&mut self, now: Time, out: &mut Vec<Action>) {
        let down = self.down_interval();
        match &mut self.phase {
            Phase::Initialize => {}
            // The group decides; a member that still waits notices the stall.
            Phase::Backup(backup) if backup.expired && self.trial_until.is_none() => {}
            Phase::Backup(backup) => {
                let late = now.since(self.trial_until.unwrap_or(backup.down_at));
                if late > down {
                    *backup = Backup::listening(now + down);
                    self.counters.stalls += 1;
                    self.end_trial(out);
                    self.report(now, ProtocolEvent::Stalled { late }, out);
                }
            }
            Phase::Active(active) => {
                let (silent, late) = (now.since(active.advertised_at), now.since(active.advertise_at));
                if silent > self.own_down_interval() {
                    self.counters.stalls += 1;
                    self.report(now, ProtocolEvent::Stalled { late }, out);
                    out.push(Action::Remove);
                    self.enter_backup(now, Why::Stalled { late }, out);
                }
            }
        }
    }
}
