//! When the addresses are announced by gratuitous ARP or unsolicited neighbour advertisements: on becoming active, a while
//! later, as a refresh, and whenever another router was active at the same time.

use std::time::Duration;

use super::Router;
use crate::action::Action;
use crate::config::Announcements;
use crate::limit::{MIN_GAP, PerSecond};
use vouchd_wire::Time;

/// How often other routers can make this one announce its addresses, whatever the interval.
#[derive(Debug, Default)]
pub(super) struct AnnounceLimits {
    announcements: PerSecond<5>,
    /// Those of them that answer another active router.
    reannouncements: PerSecond<3>,
    reannounced_at: Option<Time>,
}

/// What the timer of an active router announces next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Announcement {
    /// The second round after becoming active.
    Second,
    Refresh,
}

impl Router {
    /// Announces the addresses at once, or as soon as the limit allows.
    pub(super) fn announce(&mut self, now: Time, out: &mut Vec<Action>) {
        let next = self.announce_limits.announcements.next();
        if self.announce_limits.announcements.allow(now) {
            out.push(Action::Announce { repeat: self.config.announce.repeat });
        } else {
            self.with_active(|active| active.reannounce_at = Some(next));
        }
    }

    /// Another router was active and must not be answered (RFC 3768 section 7.1: an owner discards what it receives): the
    /// addresses are announced with the next advertisement.
    pub(super) fn reannounce_next(&mut self) {
        self.with_active(|active| active.reannounce_with_next = true);
    }

    /// Another router was active, and announced the addresses or answered for them. This one announces them at once, and once
    /// more after an interval, since the other may have answered until it heard this router. If it goes on, once an interval
    /// is enough.
    pub(super) fn reannounce(&mut self, now: Time, out: &mut Vec<Action>) {
        if self.next_reannouncement(now) <= now {
            self.reannounce_now(now, out);
        }
        let next = self.next_reannouncement(now);
        self.with_active(|active| active.reannounce_at = Some(next));
    }

    fn reannounce_now(&mut self, now: Time, out: &mut Vec<Action>) {
        self.announce_limits.reannouncements.allow(now);
        self.announce_limits.reannounced_at = Some(now);
        self.announce(now, out);
    }

    fn next_reannouncement(&self, now: Time) -> Time {
        let pause = self.config.interval.duration().min(MIN_GAP);
        let limits = &self.announce_limits;
        limits.reannounced_at.map_or(now, |at| at + pause).max(limits.reannouncements.next())
    }

    /// Makes the announcements that are due in Active.
    pub(super) fn announce_due(&mut self, now: Time, out: &mut Vec<Action>) {
        let due = self.with_active(|active| active.reannounce_at.take_if(|at| *at <= now));
        if due.flatten().is_some() {
            let next = self.next_reannouncement(now);
            if next <= now {
                self.reannounce_now(now, out);
            } else {
                self.with_active(|active| active.reannounce_at = Some(next));
            }
        }
        let announce = self.config.announce;
        let due = self.with_active(|active| {
            let (at, announcement) = active.announce_at.filter(|(at, _)| *at <= now)?;
            active.announce_at = refresh_after(now.max(at), &announce);
            Some(announcement)
        });
        match due.flatten() {
            Some(Announcement::Second) => out.push(Action::Announce { repeat: announce.repeat }),
            Some(Announcement::Refresh) => out.push(Action::Announce { repeat: announce.refresh_repeat }),
            None => {}
        }
    }

    /// Follows a changed `announce` in the configuration.
    pub(super) fn reschedule_announcements(&mut self, now: Time) {
        let announce = self.config.announce;
        self.with_active(|active| match active.announce_at {
            // The refreshes start after it.
            Some((_, Announcement::Second)) => {}
            Some((_, Announcement::Refresh)) | None => active.announce_at = refresh_after(now, &announce),
        });
    }
}

/// The announcement after the one on becoming active.
pub(super) fn first_announcement(now: Time, announce: &Announcements) -> Option<(Time, Announcement)> {
    if announce.delay == Duration::ZERO {
        refresh_after(now, announce)
    } else {
        Some((now + announce.delay, Announcement::Second))
    }
}

fn refresh_after(at: Time, announce: &Announcements) -> Option<(Time, Announcement)> {
    (announce.refresh != Duration::ZERO).then(|| (at + announce.refresh, Announcement::Refresh))
}
