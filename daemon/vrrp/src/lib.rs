//! The VRRP protocol as a state machine without I/O.
//!
//! # The model
//!
//! A [`Router`] is one virtual router on one interface. It has one way in, one way out and one clock:
//!
//! * **In**: [`Router::handle`]`(now, input)`. An [`Input`] is something that happened: the link came or went, the checks
//!   changed their mind, a packet arrived, the deadline has come, the kernel refused the addresses, the daemon stops.
//! * **Out**: a list of [`Action`]s to carry out in their order: send this advertisement, have the addresses in the kernel
//!   for so long, take them away, announce them, write this event to the log.
//! * **Clock**: [`Router::deadline`] says when to come back with [`Input::Timer`] if nothing else happens. Coming early,
//!   late or without reason is harmless; the router compares `now` with what is due.
//!
//! It reads no clock, opens no socket, starts no thread and logs nothing (`clippy.toml` forbids it), and it is driven by
//! `&mut self`, so there is nothing to lock. That is why three routers, a lossy network and an hour of their time fit in
//! a test of a few milliseconds, and why a failing run can be repeated from its seed.
//!
//! ```
//! use std::time::Duration;
//! use vouchd_vrrp::wire::{AdvertInterval, Auth, ChecksumForm, Priority, Version, Vrid};
//! use vouchd_vrrp::{Action, Announcements, Config, Health, Input, Instant, Link, Router, State};
//!
//! let config = Config {
//!     vrid: Vrid::new(55)?,
//!     version: Version::V2,
//!     priority: Priority::new(100),
//!     interval: AdvertInterval::ONE_SECOND,
//!     preempt: true,
//!     addresses: vec!["192.168.175.100".parse()?],
//!     auth: Auth::simple(b"1234"),
//!     peers: None,
//!     checksum: ChecksumForm::PseudoHeader,
//!     lease: true,
//!     announce: Announcements::default(),
//! };
//! let mut now = Instant::from_nanos(0);
//! let mut router = Router::new(now, config)?;
//!
//! // It takes part as soon as the link carries packets and the checks vouch for the node.
//! router.handle(now, Input::Link(Link::Up { source: "192.168.175.101".parse()? }));
//! let fit = Health::Fit { priority: Priority::new(100), reason: "all checks pass".to_owned() };
//! router.handle(now, Input::Health(fit));
//! assert_eq!(router.state(), State::Backup);
//!
//! // Nobody is heard until the deadline. The first time it asks the kernel before it says that it is active.
//! now = router.deadline().ok_or("a backup waits")?;
//! let lease = Some(Duration::from_secs(3));
//! assert_eq!(router.handle(now, Input::Timer), [Action::Install { lease }]);
//! let actions = router.handle(now, Input::AddressesInstalled);
//! assert_eq!(router.state(), State::Active);
//! let sent = actions.iter().filter(|action| matches!(action, Action::Send(_))).count();
//! assert_eq!(sent, 1);
//! assert!(actions.contains(&Action::Install { lease }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What the caller owes
//!
//! * A clock that neither jumps nor stops in suspend, and never goes back from call to call ([`Instant`]).
//! * **Packets before timers**: whatever has already arrived is handed over before [`Input::Timer`]. A router that was
//!   not scheduled for a while would else act on a timer that a waiting packet has long put off.
//! * Actions in their order. An advertisement goes out before the kernel is asked for addresses (but for a trial), a
//!   gratuitous ARP after it has them, and priority 0 before they go.
//! * What became of each [`Action::Install`]: [`Input::AddressesInstalled`] or [`Input::AddressesFailed`].
//!
//! # States
//!
//! RFC 9568 section 6.4, with its errata, and RFC 3768 for version 2. [`Why`] is part of the state, so that "why is it
//! not active?" always has an answer.
//!
//! ```text
//!                    link up and fit                   down timer fires
//!   +------------+ -------------------> +----------+ -------------------> +----------+
//!   | Initialize |                      |  Backup  |                      |  Active  |
//!   +------------+ <------------------- +----------+ <------------------- +----------+
//!         ^         link down, fault,                 a better one is heard,    |
//!         |         shutdown                          or a stall                |
//!         +---------------------------------------------------------------------+
//!            link down, fault, shutdown, addresses refused   (owner: back at once)
//! ```
//!
//! # What is added to the RFC, and why
//!
//! **Discarded packets touch no timer.** All reception checks are in one place and come before the state machine. A packet
//! that fails one has a name ([`Discard`]), is counted and told, and that is all: no timer, no state, no answer. Otherwise
//! one misconfigured machine on the segment makes an active router late and its peers take over, again and again.
//!
//! **What others can cause is limited by the second** ([`limit`]), however short the interval is: an event of one kind is
//! told once, with a count of what was left out; immediate answers are ten, announcements five.
//!
//! **Leases.** [`Action::Install`] comes with every periodic advertisement and says for how long the kernel may keep the
//! addresses: [`lease`], the shortest time after which a peer could have taken over, in whole seconds. A router that
//! advertises keeps its addresses; one that was killed, frozen or starved loses them about when its peers stop believing in
//! it, without a line of its own code running. Below an interval of a third of a second the kernel's unit of one second is
//! longer than that, and the lease ends a little after the takeover instead of before it.
//!
//! **Yield, not only advertise.** A check that lowers the priority of an active router does not move the addresses by
//! itself: a peer takes over only after a whole down interval of worse advertisements, and never if it doesn't preempt. So
//! an active router whose effective priority falls calls an **election**: it advertises the new priority, then priority 0,
//! *keeps the addresses*, and sets its own timer to what it would be for a backup of its new priority,
//! or a little less ([`election_wait`]). To every peer, ours or not, this is the active router resigning: each stands in after its own
//! Skew_Time, the best first, preemption or not.
//!
//! * A better peer is heard before the own timer fires: the usual rule for active routers (higher priority, or equal and
//!   higher address) hands over. That took one skew time, and there was no moment without a holder.
//! * The own timer fires first: nobody better is there, and it goes on as before. **A lone router therefore loses nothing**:
//!   it never gave the addresses up, and its lease was renewed with the call.
//! * A worse peer was quicker, or its advertisement overtook: it is answered at once (RFC 9568 section 6.4.3), which makes
//!   it step back, and the addresses are announced again, since it had announced them too.
//!
//! The own turn comes half a priority step before the Skew_Time: after that of every better peer, and before that of an
//! equal one. Routers that all fail alike (the same broken plugin rolled out to every node) are equal, at priority 1; the
//! addresses must not wander between them with each election.
//!
//! Not on every flap: at most one election in a down interval; what falls inside one is remembered and asked about at its
//! end. And one lost frame of priority 0 must not leave a failing router active where peers don't preempt: while the
//! priority stays below what it was before the fall, the election is called again after 1, 2, 4, 8, 16, 16, … down
//! intervals. This also finds a peer that does not preempt and recovered later. It ends when the priority is back, and when
//! the router is no longer active. An owner of the addresses (priority 255) calls none, its priority can't fall.
//!
//! **Never act late on stale knowledge.** A router that is called so late that others may have acted meanwhile notices it
//! *before* it looks at the input. An active one that has said nothing for its own down interval gives the addresses up
//! and listens for a down interval, without sending a word: somebody else may be active, and its lease is over anyway. A
//! backup whose timer fires more than a down interval late listens for one more. A shorter stall costs nothing, if the
//! caller hands over packets before timers.
//!
//! **Who stays announces again.** Two routers that were active at the same time, because a partition healed for instance, have
//! both announced the addresses, and others on the segment have learned either. Where the better one's advertisement comes
//! first, RFC 9568 section 6.4.3 has the worse one step back without a word, and nobody announces anything: some go on sending to
//! the wrong machine. So a router that steps back advertises once more before it does. The better one answers, as it does
//! to any worse active router, and announces the addresses: at once, and again after an interval.
//!
//! **Refused addresses are a fault.** A router that can't install its addresses would advertise what it can't serve. It
//! resigns, tells why, and takes part again after 1, 2, 4, … 64 down intervals, or when its interface or its addresses change.
//!
//! **Try before you claim.** Nor may it take the addresses from a router that works, only to find that it can't hold them.
//! The first time, after a refusal, and after any change of its interface, a router whose turn has come asks the kernel
//! first: [`Action::Install`] without a word on the network. With [`Input::AddressesInstalled`] it is active and says so, about
//! a millisecond later; for so long two routers have the addresses, and none of them announces the second one's. With
//! [`Input::AddressesFailed`], or no answer for a down interval (at least two seconds), it takes back what the kernel took and is silent. A
//! recovery is found in the same way, by the next turn after the pause. A router alone on the network goes on trying.
//!
//! **A change of configuration is no flap.** [`Router::reconfigure`] keeps the state and advertises the new values. It takes
//! what the checks say under the new configuration together with it, so that the effective priority is right from the first
//! advertisement on and never a shifted old one.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod action;
mod config;
mod discard;
mod glimpse;
mod input;
pub mod limit;
mod peers;
mod reception;
mod rival;
mod router;
mod sources;
mod status;
mod time;
mod timers;

pub use action::{Action, Event};
pub use config::{Announcements, Config, ConfigError};
pub use discard::{Discard, Rejection};
pub use input::{Health, Input, Link, Packet};
pub use rival::{Contested, Rival};
pub use router::Router;
pub use sources::Source;
pub use status::{Counters, Peer, State, Why};
pub use time::Instant;
pub use timers::{down_interval, election_wait, lease, skew};
pub use vouchd_wire as wire;
