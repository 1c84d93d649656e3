//! How many other routers a pair hears, and what its backup heard just before a resignation.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::Priority;

use crate::action::ProtocolEvent;
use vouchd_wire::Time;

/// The most time between the two advertisements with which an active router calls an election: its priority, then 0. A router
/// sends them in one burst, so on any network they arrive within much less.
const BURST: Duration = Duration::from_millis(10);

/// A third router counts until it was silent for this many down intervals. A backup sends nothing, so a third router that
/// takes part is heard only while it is active, and once as it steps back: the memory has to be much longer than an outage.
const FORGET_AFTER: u32 = 60;

/// Whether a backup takes over at once when the active router resigns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandOver {
    /// It does: there is no other backup.
    Instant,
    /// It waits for its Skew_Time, because a third router was heard.
    Off {
        /// The third router.
        third: IpAddr,
    },
}

impl fmt::Display for HandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instant => f.write_str("instant"),
            Self::Off { third } => write!(f, "off: {third} is a third router"),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Heard {
    address: IpAddr,
    at: Time,
}

/// The other routers heard, as far as a pair needs to know.
#[derive(Debug, Default)]
pub(crate) struct Pair {
    peer: Option<Heard>,
    third: Option<Heard>,
    /// The third router that was reported.
    reported: Option<IpAddr>,
    /// The newest advertisement that was not of priority 0.
    newest: Option<(Heard, Priority)>,
    /// The router that did not resign although it seemed to, and until when its resignations are not believed at once.
    mistaken: Option<(IpAddr, Time)>,
}

impl Pair {
    /// Takes an advertisement that passed all checks. Returns a change of [`Pair::hand_over`].
    pub(crate) fn note(
        &mut self,
        now: Time,
        address: IpAddr,
        priority: Priority,
        down_interval: Duration,
    ) -> Option<ProtocolEvent> {
        let heard = Heard { address, at: now };
        let is_gone = |known: &Heard| now.since(known.at) > down_interval * FORGET_AFTER;
        self.peer = self.peer.filter(|known| !is_gone(known));
        self.third = self.third.filter(|known| !is_gone(known));
        if self.peer.is_none() {
            self.peer = self.third.take_if(|known| known.address == address);
        }
        match &mut self.peer {
            None => self.peer = Some(heard),
            Some(peer) if peer.address == address => *peer = heard,
            Some(_) => self.third = Some(heard),
        }
        if priority != Priority::RESIGN {
            self.newest = Some((heard, priority));
        }
        match (self.reported, self.third) {
            (None, Some(third)) => {
                self.reported = Some(third.address);
                Some(ProtocolEvent::ThirdRouter { peer: third.address })
            }
            (Some(gone), None) => {
                self.reported = None;
                Some(ProtocolEvent::PairAgain { gone })
            }
            (None, None) | (Some(_), Some(_)) => None,
        }
    }

    pub(crate) fn hand_over(&self, now: Time, down_interval: Duration) -> HandOver {
        let is_known = |known: &Heard| now.since(known.at) <= down_interval * FORGET_AFTER;
        match (self.peer.filter(is_known), self.third.filter(is_known)) {
            (Some(_), Some(third)) => HandOver::Off { third: third.address },
            _ => HandOver::Instant,
        }
    }

    /// A takeover from `peer` was a mistake, since it is still active: a frame of an election was lost, or somebody forges its
    /// priority 0. Each forged frame would cost a takeover, so the next ones wait for Skew_Time, in which `peer` is heard.
    pub(crate) fn note_mistake(&mut self, peer: IpAddr, until: Time) {
        self.mistaken = Some((peer, until));
    }

    /// Whether a resignation of `peer` may be another mistake.
    pub(crate) fn is_doubtful(&self, now: Time, peer: IpAddr) -> bool {
        self.mistaken.is_some_and(|(mistaken, until)| mistaken == peer && now < until)
    }

    /// The priority that `peer`, which now resigns, advertised in the same burst: that of an election that it calls.
    pub(crate) fn priority_in_burst(&self, now: Time, peer: IpAddr) -> Option<Priority> {
        let (heard, priority) = self.newest?;
        (heard.address == peer && now.since(heard.at) <= BURST).then_some(priority)
    }
}
