//! What a router shows of itself: its state and the reason for it, its peers, its counters.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, ChecksumForm, Priority};

use crate::discard::DiscardReason;
use crate::group::Reason;
use vouchd_wire::Time;

/// The states of RFC 9568 section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Takes no part: the link is down, a check forbids it, or it was shut down.
    Initialize,
    /// Listens for the active router and takes over when it is gone.
    Backup,
    /// Holds the addresses and advertises.
    Active,
}

impl State {
    /// The name in log, status and metrics; it never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a router is in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// Initialize: the state of the interface is not known yet.
    Starting,
    /// Initialize: the interface can't carry advertisements.
    LinkDown(String),
    /// Initialize: a check without a weight has no result yet.
    HealthWaiting(String),
    /// Initialize: a check forbids this node to hold the addresses.
    HealthFault(String),
    /// Initialize: the configured delay after the start is not over.
    StartupDelay(Duration),
    /// Initialize: the kernel refused the addresses; the router tries again later.
    AddressesFailed(String),
    /// Initialize: the router was shut down.
    ShutDown,
    /// Initialize: another member of the group can't take part.
    Held(Reason),
    /// Backup: ready, while another router may be active.
    Ready,
    /// Backup: the kernel refused the addresses the last time; they get a trial before this router becomes active.
    Refused(String),
    /// Backup: a better router is active.
    Better {
        /// The active router.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// Backup: the caller was so late that another router may be active.
    Stalled {
        /// How late the call was.
        late: Duration,
    },
    /// Backup or Active: another member of the group stepped back or took over.
    Group(Reason),
    /// Active: this router owns the addresses.
    Owner,
    /// Active: no active router was heard for a whole down interval.
    Silence,
    /// Active: the active router resigned, or called an election that this one won.
    Resigned {
        /// The router that was active.
        peer: IpAddr,
    },
    /// Active: the router that was active has a lower priority.
    Preempted {
        /// The router that was active.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// Active: a worse router took over from the one that was active, while this one was a backup that should have.
    Claimed {
        /// The router that was active.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
}

impl Why {
    /// The name in status; it never changes.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::LinkDown(_) => "link_down",
            Self::HealthWaiting(_) => "health_waiting",
            Self::HealthFault(_) => "health_fault",
            Self::StartupDelay(_) => "startup_delay",
            Self::AddressesFailed(_) => "addresses_failed",
            Self::ShutDown => "shut_down",
            Self::Held(_) => "held",
            Self::Group(_) => "group",
            Self::Ready => "ready",
            Self::Refused(_) => "refused",
            Self::Better { .. } => "better",
            Self::Stalled { .. } => "stalled",
            Self::Owner => "owner",
            Self::Silence => "silence",
            Self::Resigned { .. } => "resigned",
            Self::Preempted { .. } => "preempted",
            Self::Claimed { .. } => "claimed",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("waiting for the interface"),
            Self::LinkDown(reason) => write!(f, "link: {reason}"),
            Self::HealthWaiting(reason) => write!(f, "waiting for checks: {reason}"),
            Self::HealthFault(reason) => write!(f, "fault: {reason}"),
            Self::StartupDelay(delay) => write!(f, "waiting until its startup_delay of {delay:?} is over"),
            Self::AddressesFailed(reason) => write!(f, "could not install the addresses: {reason}"),
            Self::ShutDown => f.write_str("shut down"),
            Self::Held(Reason { member, what }) => write!(f, "held by {member} of its group: {what}"),
            Self::Group(Reason { member, what }) => write!(f, "goes with {member} of its group: {what}"),
            Self::Ready => f.write_str("ready, listening for an active router"),
            Self::Refused(reason) => {
                write!(f, "listening, and tries the addresses again before it becomes active; last failure: {reason}")
            }
            Self::Better { peer, priority } => write!(f, "{peer} is active with priority {priority}"),
            Self::Stalled { late } => write!(f, "stalled for {late:?}, listening before it acts"),
            Self::Owner => f.write_str("owns the addresses"),
            Self::Silence => f.write_str("no active router was heard"),
            Self::Resigned { peer } => write!(f, "{peer} resigned"),
            Self::Preempted { peer, priority } => write!(f, "preempts {peer} with priority {priority}"),
            Self::Claimed { peer, priority } => {
                write!(f, "better than {peer}, which took over with priority {priority}")
            }
        }
    }
}

/// A router whose advertisements passed all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The address that it sends from.
    pub address: IpAddr,
    /// The priority in its newest advertisement; [`Priority::RESIGN`] if it resigned.
    pub priority: Priority,
    /// The interval in its newest advertisement.
    pub interval: AdvertInterval,
    /// The checksum form of its newest advertisement, in version 3 over IPv4.
    pub checksum_form: Option<ChecksumForm>,
    /// The virtual addresses in its newest advertisement.
    pub addresses: Vec<IpAddr>,
    /// When its newest advertisement arrived.
    pub heard: Time,
    /// How many of its advertisements passed all checks since it was last evicted from the table.
    pub received: u64,
}

/// Everything that a router counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements returned for sending, including those of priority 0.
    pub sent: u64,
    /// Advertisements of priority 0 among [`Counters::sent`].
    pub priority_zero_sent: u64,
    /// Advertisements that passed all checks, including those of priority 0.
    pub received: u64,
    /// Advertisements of priority 0 among [`Counters::received`].
    pub priority_zero_received: u64,
    /// Changes of state.
    pub transitions: u64,
    /// Changes of state to Active.
    pub became_active: u64,
    /// Elections called.
    pub elections: u64,
    /// Stalls detected.
    pub stalls: u64,
    discarded: [u64; DiscardReason::ALL.len()],
}

impl Counters {
    /// Packets discarded for `reason`.
    pub fn discarded(&self, reason: DiscardReason) -> u64 {
        self.discarded[reason as usize]
    }

    /// Packets discarded for any reason.
    pub fn discarded_total(&self) -> u64 {
        self.discarded.iter().sum()
    }

    /// Counts one more and returns the new total.
    pub(crate) fn discard(&mut self, reason: DiscardReason) -> u64 {
        let counter = &mut self.discarded[reason as usize];
        *counter += 1;
        *counter
    }
}
