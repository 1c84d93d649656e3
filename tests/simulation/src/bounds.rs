//! How long routers may take, proven from the timers of the RFC.
//!
//! Throughout, `I` is the longest Advertisement_Interval that any router of the scenario ever had, and `S` the longest
//! Skew_Time: `I` in version 3, one second in version 2. A router waits at most `Down = 3 I + S`, whichever interval it has
//! learned; with `down_timer_adverts`, N instead of 3. `D` is the longest delay of a frame and `K` what a kernel needs for an order. It is quiet while no process
//! starts, stops, thaws or reloads, no check or link changes, and the network loses nothing.
//!
//! **Overlap.** Two active routers A and B, A being better (higher priority, or the same and a higher address), exist
//! together for at most `max(I, S) + 2 D` once it has been quiet for `I + D`:
//! either B took over and A was active: B advertises at once, A hears it within D. A router of RFC 9568 answers at once, or,
//! if it has answered ten times within this second, with its next advertisement; one of RFC 5798 always does the latter. That
//! one comes within `I` or, during an election that A called, within its Skew_Time. B hears it within D and steps back.
//! Or A took over and B was active: A advertises at once and B steps back within D. Of more than two routers each but the
//! best meets a better one in this way, at the same time. Those that were active when it became quiet have all advertised
//! after `I`, and all have heard all after `I + D`.
//!
//! **Takeover.** Once it has been quiet for `D + Down + K`, an active router exists if an able one does: frames that are on
//! the way arrive within D and may set a timer anew, for at most Down. After that nobody who is not active sends anything,
//! so each able router's timer runs out within Down, or it is active before. Its kernel, of which it is known or tried
//! whether it accepts the addresses, answers within K. From then on an active router exists for good, since one steps back
//! only for an active one.
//!
//! **Preemption.** A router that preempts and is better than every active one is active itself within `Down + K` after the
//! last advertisement of a better one: a worse router's advertisement never sets its timer anew, and priority 0 sets it to
//! its Skew_Time, which is shorter. With a `preempt_delay` of P it is within `max(Down, P + S) + K`, since that delay starts
//! with the first advertisement of the worse router. So all is decided once it has been quiet for
//! `D + Down + max(Down, P + S) + 2 K` and the last overlap.
//!
//! **Yielding.** A router whose own checks lowered its priority calls an election after at most [`LONGEST_PAUSE`] down
//! intervals, and without loss the first call that a better one hears is the last: it takes over within its Skew_Time, with
//! or without preemption. That needs its Skew_Time to end before the caller's by more than the delays of two frames; if it does
//! not, each call is a toss of a coin, and ten rounds of calls all fail with a chance below one in a thousand. Under loss a call fails if its priority 0 is lost, or if all of what the other one then sends is:
//! with a loss of p, n calls all fail with a chance below `(2 p)^n`.

use std::time::Duration;

use vouchd_vrrp::wire::Version;

use crate::node::Node;

/// The longest delay of a frame.
pub(crate) const MAX_DELAY: Duration = Duration::from_millis(30);

/// The longest pause between two calls of a yield election, in down intervals.
pub(crate) const LONGEST_PAUSE: u32 = 16;

/// Clocks that are half a thousandth wrong, and rounding.
const SLACK: Duration = Duration::from_millis(50);

/// The most that any router of a scenario ever had of each setting that times depend on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Longest {
    interval: Duration,
    skew: Duration,
    adverts: u32,
    preempt_delay: Duration,
    kernel: Duration,
}

impl Longest {
    pub(crate) fn add(&mut self, node: &Node) {
        let interval = node.interval().duration();
        let skew = if node.version == Version::V2 { interval.max(Duration::from_secs(1)) } else { interval };
        self.interval = self.interval.max(interval);
        self.skew = self.skew.max(skew);
        self.adverts = self.adverts.max(3).max(node.spec.adverts.into());
        self.preempt_delay = self.preempt_delay.max(Duration::from_millis(node.spec.preempt_delay.into()));
        self.kernel = self.kernel.max(node.latency());
    }

    fn down(self) -> Duration {
        self.interval * self.adverts + self.skew
    }

    /// How long it must have been quiet before an overlap counts.
    pub(crate) fn crossing(self) -> Duration {
        self.interval + MAX_DELAY + SLACK
    }

    pub(crate) fn overlap(self) -> Duration {
        self.skew + MAX_DELAY * 2 + SLACK
    }

    pub(crate) fn takeover(self) -> Duration {
        MAX_DELAY + self.down() + self.kernel * 2 + SLACK
    }

    pub(crate) fn decided(self) -> Duration {
        self.takeover() + self.down().max(self.preempt_delay + self.skew) + self.kernel * 2 + self.overlap()
    }

    /// A stall of this length is never too short to matter.
    pub(crate) fn late(self) -> Duration {
        self.down() * 2 + self.preempt_delay + Duration::from_secs(3)
    }

    pub(crate) fn yielded(self) -> Duration {
        self.down() * LONGEST_PAUSE + self.skew + self.overlap()
    }

    /// How long routers that advertise are watched once all is decided.
    pub(crate) fn watch(self) -> Duration {
        self.interval + self.overlap()
    }
}
