//! What the caller has to do after an input, and what happened, for the log.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use vouchd_wire::{AdvertInterval, Advertisement, ChecksumForm, Priority};

use crate::discard::{Discard, Rejection, list};
use crate::limit::LeftOut;
use crate::rival::Rival;
use crate::status::{State, Why};

/// One thing to do. Actions are to be carried out in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this; [`crate::Router::packets`] makes the bytes for each destination.
    Send(Advertisement),
    /// Make the kernel hold all configured addresses, for `lease` from now on or, without one, for ever. It comes with
    /// every periodic advertisement: where they are there already it only renews the lease.
    Install {
        /// The kernel's valid lifetime for the addresses, in whole seconds.
        lease: Option<Duration>,
    },
    /// Take all addresses of this router away from the kernel.
    Remove,
    /// Take away these addresses, which a reload took out of the configuration.
    Withdraw {
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Send a gratuitous ARP (or unsolicited neighbour advertisement) for each address, so often. Only after the
    /// addresses of an earlier [`Action::Install`] are in place.
    Announce {
        /// How often.
        repeat: u32,
    },
    /// For the log and whoever follows events; nothing to do. At most once a second for each kind of event.
    Event {
        /// The event.
        event: Event,
        /// How many of its kind were left out before it.
        left_out: LeftOut,
    },
}

/// Something that a person may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state changed.
    Transition {
        /// The state before.
        from: State,
        /// The state now.
        to: State,
        /// What caused it.
        why: Why,
    },
    /// Still in Initialize, for another reason than before.
    Held {
        /// What is missing now.
        why: Why,
    },
    /// The effective priority changed.
    Priority {
        /// The one before.
        from: Priority,
        /// The one now.
        to: Priority,
        /// Which checks made it so.
        reason: String,
    },
    /// A packet was discarded. Each reason is a kind of its own; the counters have all.
    Discarded {
        /// Who sent it.
        source: IpAddr,
        /// Why it was discarded.
        rejection: Rejection,
        /// How many were discarded for the same reason so far.
        total: u64,
    },
    /// This active router's priority fell, and it asks who is better now.
    ElectionCalled {
        /// The priority with which it takes part.
        priority: Priority,
        /// The priority that it had before it fell.
        before: Priority,
    },
    /// Nobody was better: this router stays active.
    ElectionWon {
        /// The worse router that took over meanwhile and steps back, if one did.
        against: Option<IpAddr>,
    },
    /// This router is active and heard a worse active one, which it answered.
    OtherActive {
        /// The other router.
        peer: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// Another router claims to be active too, and goes on with it. Told once, until it stops.
    Contested(Rival),
    /// Nobody called this router for so long that it can't know who is active.
    Stalled {
        /// How much too late the call came.
        late: Duration,
    },
    /// Version 3: a peer has another interval than this router; it is followed.
    PeerInterval {
        /// The peer.
        peer: IpAddr,
        /// Its interval.
        interval: AdvertInterval,
        /// Ours.
        own: AdvertInterval,
    },
    /// Version 3 over IPv4: a peer sends the other checksum form. It is understood, but may not understand ours.
    PeerChecksum {
        /// The peer.
        peer: IpAddr,
        /// Its form.
        form: ChecksumForm,
        /// Ours.
        own: ChecksumForm,
    },
    /// A peer has one of this router's addresses, but not just these.
    PeerAddresses {
        /// The peer.
        peer: IpAddr,
        /// Its addresses.
        addresses: Vec<IpAddr>,
        /// Ours.
        own: Vec<IpAddr>,
    },
}

/// What counts as the same for the limit on events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Transition(State, State),
    Held,
    Priority,
    Discarded(Discard),
    ElectionCalled,
    ElectionWon,
    OtherActive,
    Contested,
    Stalled,
    PeerInterval,
    PeerChecksum,
    PeerAddresses,
}

impl Event {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Transition { from, to, .. } => Kind::Transition(*from, *to),
            Self::Held { .. } => Kind::Held,
            Self::Priority { .. } => Kind::Priority,
            Self::Discarded { rejection, .. } => Kind::Discarded(rejection.reason()),
            Self::ElectionCalled { .. } => Kind::ElectionCalled,
            Self::ElectionWon { .. } => Kind::ElectionWon,
            Self::OtherActive { .. } => Kind::OtherActive,
            Self::Contested(_) => Kind::Contested,
            Self::Stalled { .. } => Kind::Stalled,
            Self::PeerInterval { .. } => Kind::PeerInterval,
            Self::PeerChecksum { .. } => Kind::PeerChecksum,
            Self::PeerAddresses { .. } => Kind::PeerAddresses,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { from, to, why } => write!(f, "{from} -> {to}: {why}"),
            Self::Held { why } => write!(f, "stays in {}: {why}", State::Initialize),
            Self::Priority { from, to, reason } => write!(f, "effective priority {from} -> {to}: {reason}"),
            Self::Discarded { source, rejection, total } => {
                write!(f, "discarded a packet from {source} ({} so far): {rejection}", total)
            }
            Self::ElectionCalled { priority, before } => {
                write!(f, "the priority fell from {before} to {priority}: called an election")
            }
            Self::ElectionWon { against: None } => f.write_str("nobody is better: stays active"),
            Self::ElectionWon { against: Some(peer) } => write!(f, "better than {peer}: stays active"),
            Self::OtherActive { peer, priority } => {
                write!(f, "{peer} is active too, with priority {priority}: answered, it has to step back")
            }
            Self::Contested(rival) => rival.fmt(f),
            Self::Stalled { late } => write!(f, "was not called for {late:?} too long: somebody else may be active"),
            Self::PeerInterval { peer, interval, own } => {
                write!(f, "{peer} advertises every {interval}, this router every {own}")
            }
            Self::PeerChecksum { peer, form, own } => write!(
                f,
                "{peer} sends the {} checksum, this router the {} one: set the same if it discards our packets",
                form.name(),
                own.name()
            ),
            Self::PeerAddresses { peer, addresses, own } => {
                let missing = |from: &[IpAddr], all: &[IpAddr]| {
                    list(&all.iter().filter(|address| !from.contains(address)).copied().collect::<Vec<_>>())
                };
                let (more, less) = (missing(own, addresses), missing(addresses, own));
                match (more.as_str(), less.as_str()) {
                    // It names one twice.
                    ("", "") => write!(f, "{peer} advertises {}, this router {}", list(addresses), list(own))?,
                    (more, "") => write!(f, "{peer} has {more} too, which this router does not have")?,
                    ("", less) => write!(f, "{peer} does not have {less}, which this router has")?,
                    (more, less) => write!(f, "{peer} has {more}, which this router does not have, and lacks {less}")?,
                }
                f.write_str(": set the same addresses on both")
            }
        }
    }
}
