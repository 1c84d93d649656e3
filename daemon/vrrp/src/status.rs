//! What a router tells about itself: its state and the reason for it, its peers, its counters.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, ChecksumForm, Priority};

use crate::discard::Discard;
use crate::time::Instant;

/// The states of RFC 9568 section 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Takes no part: the link is down, the checks don't vouch for the node, or it was shut down.
    Initialize,
    /// Listens for the active router and stands in when it is gone.
    Backup,
    /// Holds the addresses.
    Active,
}

impl State {
    /// The stable name in log, status and metrics.
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
    /// Initialize: nothing is known about the interface yet.
    Starting,
    /// Initialize: the interface can't carry advertisements.
    LinkDown(String),
    /// Initialize: a check that decides has not run yet.
    HealthWaiting(String),
    /// Initialize: a check forbids to hold the addresses.
    HealthFault(String),
    /// Initialize: the kernel refused the addresses; tried again later.
    AddressesFailed(String),
    /// Initialize: told to stop.
    ShutDown,
    /// Backup: everything is well, and somebody else may be active.
    Ready,
    /// Backup: the addresses were refused the last time and are tried before this router becomes active.
    Refused(String),
    /// Backup: a better router is active.
    Better {
        /// The router.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// Backup: this router was not called for so long that somebody else may be active.
    Stalled {
        /// How much too late the call came.
        late: Duration,
    },
    /// Active: this router owns the addresses.
    Owner,
    /// Active: nobody was heard for the whole down interval.
    Silence,
    /// Active: the router that was active stopped, or called an election that this one won.
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
}

impl Why {
    /// The stable name in status.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::LinkDown(_) => "link_down",
            Self::HealthWaiting(_) => "health_waiting",
            Self::HealthFault(_) => "health_fault",
            Self::AddressesFailed(_) => "addresses_failed",
            Self::ShutDown => "shut_down",
            Self::Ready => "ready",
            Self::Refused(_) => "refused",
            Self::Better { .. } => "better",
            Self::Stalled { .. } => "stalled",
            Self::Owner => "owner",
            Self::Silence => "silence",
            Self::Resigned { .. } => "resigned",
            Self::Preempted { .. } => "preempted",
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
            Self::AddressesFailed(reason) => write!(f, "could not install the addresses: {reason}"),
            Self::ShutDown => f.write_str("shut down"),
            Self::Ready => f.write_str("ready, listening for an active router"),
            Self::Refused(reason) => {
                write!(f, "listening; before it becomes active it tries the addresses again, which failed: {reason}")
            }
            Self::Better { peer, priority } => write!(f, "{peer} is active with priority {priority}"),
            Self::Stalled { late } => write!(f, "stalled for {late:?}, listening before acting"),
            Self::Owner => f.write_str("owns the addresses"),
            Self::Silence => f.write_str("no active router was heard"),
            Self::Resigned { peer } => write!(f, "{peer} resigned"),
            Self::Preempted { peer, priority } => write!(f, "preempts {peer} with priority {priority}"),
        }
    }
}

/// A router that was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it sends from.
    pub address: IpAddr,
    /// What it said last; [`Priority::RESIGN`] if that it stops.
    pub priority: Priority,
    /// Its interval.
    pub interval: AdvertInterval,
    /// Its checksum form, in version 3 over IPv4.
    pub checksum_form: Option<ChecksumForm>,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// When it was heard last.
    pub heard: Instant,
    /// Advertisements of it that passed all checks, as far as it is remembered.
    pub received: u64,
}

/// Everything a router counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Advertisements handed out for sending, those of priority 0 included.
    pub sent: u64,
    /// Of them those of priority 0.
    pub priority_zero_sent: u64,
    /// Advertisements that passed all checks, those of priority 0 included.
    pub received: u64,
    /// Of them those of priority 0.
    pub priority_zero_received: u64,
    /// Changes of state.
    pub transitions: u64,
    /// Of them those to Active.
    pub became_active: u64,
    /// Elections called.
    pub elections: u64,
    /// Stalls noticed.
    pub stalls: u64,
    discarded: [u64; Discard::ALL.len()],
}

impl Counters {
    /// Packets discarded for `reason`.
    pub fn discarded(&self, reason: Discard) -> u64 {
        self.discarded[reason as usize]
    }

    /// Packets discarded for any reason.
    pub fn discarded_in_all(&self) -> u64 {
        self.discarded.iter().sum()
    }

    /// Counts one more and returns the new total.
    pub(crate) fn discard(&mut self, reason: Discard) -> u64 {
        let counter = &mut self.discarded[reason as usize];
        *counter += 1;
        *counter
    }
}
