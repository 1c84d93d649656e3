//! What the caller has to do after an input, and the events for the log.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, Advertisement, ChecksumForm, Priority};

use crate::discard::{DiscardReason, Rejection, list};
use crate::limit::LeftOut;
use crate::rival::Rival;
use crate::status::{State, Why};

/// One thing for the caller to do. Carry actions out in the order in which they are returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this advertisement. [`crate::Router::packets`] encodes it for each destination.
    Send(Advertisement),
    /// Install all configured addresses in the kernel for `lease` from now on, or renew the lease of those that are
    /// installed. Comes with every periodic advertisement.
    Install {
        /// The kernel's valid lifetime for the addresses, in whole seconds. `None`: without limit.
        lease: Option<Duration>,
    },
    /// Remove all addresses of this router from the kernel.
    Remove,
    /// Remove these addresses, which a reload removed from the configuration.
    Withdraw {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Send gratuitous ARP (or unsolicited neighbour advertisements) for each address, once the addresses of an earlier
    /// [`Action::Install`] are in place.
    Announce {
        /// The number of packets per address.
        repeat: u32,
    },
    /// Log this event and pass it on to those who follow events. At most one per second for each kind of event.
    Event {
        /// The event.
        event: ProtocolEvent,
        /// How many of its kind were suppressed before it.
        left_out: LeftOut,
    },
}

/// Something that an operator may want to know about a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtocolEvent {
    /// The state changed.
    Transition {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// What caused it.
        why: Why,
    },
    /// Still in Initialize, but for another reason than before.
    Held {
        /// What keeps it there now.
        why: Why,
    },
    /// The effective priority changed.
    Priority {
        /// The priority before.
        from: Priority,
        /// The priority now.
        to: Priority,
        /// Which checks changed it.
        reason: String,
    },
    /// A packet was discarded. Each reason counts as a kind of its own; [`crate::Counters`] has the totals.
    Discarded {
        /// The IP source.
        source: IpAddr,
        /// Why it was discarded.
        rejection: Rejection,
        /// How many packets were discarded for the same reason so far.
        total: u64,
    },
    /// This active router's priority fell, and it called an election.
    ElectionCalled {
        /// The priority with which it takes part.
        priority: Priority,
        /// The priority before it fell.
        before: Priority,
    },
    /// No router was better: this one stays active.
    ElectionWon {
        /// The worse router that took over meanwhile, and now steps back.
        against: Option<IpAddr>,
    },
    /// This router is active, heard a worse active one, and answered it.
    OtherActive {
        /// The other router.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// Another router persistently claims to be active too. Reported once, until the claim ends.
    Rival(Rival),
    /// Of a pair, a third router was heard: hand-over waits for Skew_Time until it is gone.
    ThirdRouter {
        /// The third router.
        peer: IpAddr,
    },
    /// The third router was not heard for long: hand-over is instant again.
    PairAgain {
        /// The router that was the third.
        gone: IpAddr,
    },
    /// A router of version 3 is active and does not send version 2 too, as this one is configured to
    /// ([`crate::Config::also_version_2`]).
    NoVersion2 {
        /// The active router.
        peer: IpAddr,
    },
    /// The caller was so late that this router no longer knows who is active.
    Stalled {
        /// How late the call was.
        late: Duration,
    },
    /// Version 3: a peer has another interval than this router, which adopts it while that peer is active.
    PeerInterval {
        /// The peer.
        peer: IpAddr,
        /// Its interval.
        interval: AdvertInterval,
        /// This router's interval.
        own: AdvertInterval,
    },
    /// Version 3 over IPv4: a peer sends the other checksum form. This router accepts both, the peer may not.
    PeerChecksum {
        /// The peer.
        peer: IpAddr,
        /// The form that it sends.
        form: ChecksumForm,
        /// The form that this router sends.
        own: ChecksumForm,
    },
    /// A peer shares some but not all of this router's addresses, or has more.
    PeerAddresses {
        /// The peer.
        peer: IpAddr,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// This router's addresses.
        own: Vec<IpAddr>,
    },
}

/// The kind of an event: the unit of the limit on events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKind {
    Transition(State, State),
    Held,
    Priority,
    Discarded(DiscardReason),
    ElectionCalled,
    ElectionWon,
    OtherActive,
    Rival,
    ThirdRouter,
    PairAgain,
    NoVersion2,
    Stalled,
    PeerInterval,
    PeerChecksum,
    PeerAddresses,
}

impl ProtocolEvent {
    pub(crate) fn kind(&self) -> EventKind {
        match self {
            Self::Transition { from, to, .. } => EventKind::Transition(*from, *to),
            Self::Held { .. } => EventKind::Held,
            Self::Priority { .. } => EventKind::Priority,
            Self::Discarded { rejection, .. } => EventKind::Discarded(rejection.reason()),
            Self::ElectionCalled { .. } => EventKind::ElectionCalled,
            Self::ElectionWon { .. } => EventKind::ElectionWon,
            Self::OtherActive { .. } => EventKind::OtherActive,
            Self::Rival(_) => EventKind::Rival,
            Self::ThirdRouter { .. } => EventKind::ThirdRouter,
            Self::PairAgain { .. } => EventKind::PairAgain,
            Self::NoVersion2 { .. } => EventKind::NoVersion2,
            Self::Stalled { .. } => EventKind::Stalled,
            Self::PeerInterval { .. } => EventKind::PeerInterval,
            Self::PeerChecksum { .. } => EventKind::PeerChecksum,
            Self::PeerAddresses { .. } => EventKind::PeerAddresses,
        }
    }
}

impl fmt::Display for ProtocolEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { from, to, why } => write!(f, "{from} -> {to}: {why}"),
            Self::Held { why } => write!(f, "stays in {}: {why}", State::Initialize),
            Self::Priority { from, to, reason } => write!(f, "effective priority {from} -> {to}: {reason}"),
            Self::Discarded { source, rejection, total } => {
                write!(f, "discarded a packet from {source} ({total} so far): {rejection}")
            }
            Self::ElectionCalled { priority, before } => {
                write!(f, "the priority fell from {before} to {priority}: called an election")
            }
            Self::ElectionWon { against: None } => f.write_str("no router is better: stays active"),
            Self::ElectionWon { against: Some(peer) } => write!(f, "better than {peer}: stays active"),
            Self::OtherActive { peer, priority } => {
                write!(f, "{peer} is active too, with priority {priority}, and has to step back: answered it")
            }
            Self::Rival(rival) => rival.fmt(f),
            Self::ThirdRouter { peer } => write!(
                f,
                "{peer} is a third router, so hand-over is no longer instant: set routers to the number of routers, or \
                 leave it out"
            ),
            Self::PairAgain { gone } => {
                write!(f, "{gone} is gone: two routers are left, and hand-over is instant again")
            }
            Self::NoVersion2 { peer } => write!(
                f,
                "{peer} is active and sends version 3 only: routers of version 2 do not hear it and take over too; set \
                 version = [2, 3] there"
            ),
            Self::Stalled { late } => {
                write!(f, "did not run in time, {late:?} late: another router may be active, so it listens first")
            }
            Self::PeerInterval { peer, interval, own } => {
                write!(f, "{peer} advertises every {interval}, this router every {own}: set the same interval on both")
            }
            Self::PeerChecksum { peer, form, own } => write!(
                f,
                "{peer} sends the {} checksum, this router the {} one: set the same on both if it discards our packets",
                form.name(),
                own.name()
            ),
            Self::PeerAddresses { peer, addresses, own } => {
                let missing = |from: &[IpAddr], all: &[IpAddr]| {
                    list(&all.iter().filter(|address| !from.contains(address)).copied().collect::<Vec<_>>())
                };
                let (more, less) = (missing(own, addresses), missing(addresses, own));
                match (more.as_str(), less.as_str()) {
                    // It lists an address twice.
                    ("none", "none") => write!(f, "{peer} advertises {}, this router {}", list(addresses), list(own))?,
                    (more, "none") => write!(f, "{peer} has {more} too, which this router does not have")?,
                    ("none", less) => write!(f, "{peer} lacks {less}, which this router has")?,
                    (more, less) => write!(f, "{peer} has {more}, which this router does not have, and lacks {less}")?,
                }
                f.write_str(": set the same addresses on both")
            }
        }
    }
}
