//! The VRRP protocol as a state machine without I/O.
//!
//! # The model
//!
//! A [`Router`] is one virtual router on one interface. It has one input, one output and one deadline:
//!
//! * **Input**: [`Router::handle`]`(now, input)`. An [`Input`] is something that happened: the link came up or went down, the
//!   result of the checks changed, a packet arrived, the deadline passed, the kernel refused the addresses, the daemon stops.
//! * **Output**: a list of [`Action`]s to carry out in order: send this advertisement, install the addresses with this lease,
//!   remove them, announce them, log this event.
//! * **Deadline**: [`Router::deadline`] says when to call again with [`Input::Timer`] if nothing else happens. A call that is
//!   early, late or needless is harmless; the router compares `now` with what is due.
//!
//! The crate reads no clock, opens no socket, starts no thread and logs nothing (`clippy.toml` forbids it). Exclusive access
//! is `&mut self`, so there is nothing to lock. That is why a test can run three routers on a lossy network for a simulated
//! hour in a few milliseconds, and repeat a failing run from its seed.
//!
//! ```
//! use std::time::Duration;
//! use vouchd_vrrp::wire::{AdvertInterval, Auth, ChecksumForm, Family, Priority, Version, Vrid};
//! use vouchd_vrrp::{Action, Announcements, Config, DOWN_TIMER_ADVERTS, Health, Input, Link, Router, State, Time};
//!
//! let config = Config {
//!     vrid: Vrid::new(55)?,
//!     version: Version::V2,
//!     also_version_2: false,
//!     priority: Priority::new(100),
//!     interval: AdvertInterval::ONE_SECOND,
//!     preempt: true,
//!     preempt_delay: Duration::ZERO,
//!     startup_delay: Duration::ZERO,
//!     down_timer_adverts: DOWN_TIMER_ADVERTS,
//!     pair: false,
//!     grouped: false,
//!     multicast_group: None,
//!     family: Family::V4,
//!     addresses: vec!["192.168.175.100".parse()?],
//!     auth: Auth::simple(b"1234"),
//!     hmac: None,
//!     peers: None,
//!     hop_limits: Default::default(),
//!     checksum: ChecksumForm::PseudoHeader,
//!     lease: true,
//!     announce: Announcements::default(),
//! };
//! let mut now = Time::from_nanos(0);
//! let mut router = Router::new(now, config)?;
//!
//! // It takes part as soon as the link is up and the checks pass.
//! router.handle(now, Input::Link(Link::Up { source: "192.168.175.101".parse()? }));
//! let fit = Health::Fit { priority: Priority::new(100), reason: "all checks pass".to_owned() };
//! router.handle(now, Input::Health(fit));
//! assert_eq!(router.state(), State::Backup);
//!
//! // No active router is heard until the deadline. The first time, the kernel has to install the addresses before the
//! // router says that it is active.
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
//! # What the caller must do
//!
//! * Keep a clock that neither jumps nor stops in suspend, and that never goes back from call to call ([`Time`]).
//! * **Hand over packets before timers**: everything that has already arrived comes before [`Input::Timer`]. Otherwise a
//!   router that was not scheduled for a while would act on a timer that a waiting packet restarts.
//! * Carry out actions in order. An advertisement is sent before the kernel is asked for the addresses (except in a trial),
//!   gratuitous ARP after it has them, and priority 0 before they are removed.
//! * Report the result of each [`Action::Install`]: [`Input::AddressesInstalled`] or [`Input::AddressesFailed`].
//!
//! # States
//!
//! RFC 9568 section 6.4 with its errata, and RFC 3768 for version 2. The reason for a state, [`Why`], is part of it, so that
//! "why is it not active?" always has an answer.
//!
//! ```text
//!                    link up and fit                   down timer fires
//!   +------------+ -------------------> +----------+ -------------------> +----------+
//!   | Initialize |                      |  Backup  |                      |  Active  |
//!   +------------+ <------------------- +----------+ <------------------- +----------+
//!         ^         link down, fault,                 a better router is heard, |
//!         |         shutdown                          or a stall                |
//!         +---------------------------------------------------------------------+
//!            link down, fault, shutdown, addresses refused   (an owner returns at once)
//! ```
//!
//! # What this crate adds to the RFC, and why
//!
//! **A discarded packet touches no timer.** All reception checks are in one place and come before the state machine. A packet
//! that fails one is counted under its [`DiscardReason`] and reported, and nothing else happens: no timer restarts, no state
//! changes, no answer is sent. Otherwise one misconfigured machine on the segment could delay an active router's
//! advertisements until its peers take over, again and again.
//!
//! **What other routers can cause is limited per second** ([`limit`]), however short the interval is: one report for each kind
//! of event, with a count of those suppressed; ten immediate answers; ten last advertisements; five
//! announcements.
//!
//! **Instant hand-over in a pair.** Skew_Time orders several backups, so that the best one takes over. Where a virtual router has
//! two routers ([`Config::pair`]) there is nothing to order: the backup becomes active as soon as it hears priority 0, with or
//! without preemption, after a trial if it needs one. There is one exception, the election of an active router that is still
//! better (see below): its priority and priority 0 come in one burst. A backup that heard a better priority than its own from
//! the same router within 10 ms before the 0 waits for its Skew_Time, as every RFC says. If that frame of the burst is lost or
//! comes last, the backup takes over for a moment: the better router answers its advertisement, as it answers any worse active
//! router, and the backup steps back. For a down interval after such a mistake it waits for Skew_Time again, so that a flood of
//! forged priority 0 costs one takeover in a down interval. Nothing changes on the wire, so the peer may be any router.
//!
//! Over multicast an unknown router may be there. A third one is noticed when it advertises: hand-over then waits for
//! Skew_Time until that router was silent for 60 down intervals ([`Router::hand_over`]). The first hand-over may thus make two
//! backups active at once; the worse one steps back when it hears the other.
//!
//! **Groups.** Several routers can have one state: a firewall's inside and outside, or both address families of an instance. The
//! members stay [`Router`]s, each with its own network, timers and advertisements. A [`Group`] looks at them after every input
//! and decides what one alone must not: its [`Order`]s go to the members as [`Input::Group`]. Nothing of it is on the wire, so
//! the peers may be groups of any implementation.
//!
//! * An obstacle of one member (link down, fault, refused addresses) holds all in Initialize. If they were active, each sends
//!   priority 0 where it can. Something that is not known yet (a check without a result, `startup_delay`, a link that was not
//!   examined) holds a group that starts, and costs an active one nothing.
//! * The largest reduction of the priority among the members applies to all, and an election is called on all networks in the
//!   same moment. So the peers' members can agree.
//! * The group takes over when the timers of all its members have expired. If a cut leaves one network without the active
//!   router while another network still hears it, nothing moves; with a plain "one moves, all move" both sides would be active
//!   on some network. One member's timer is enough after priority 0, unless another member has followed an advertisement since:
//!   a group that resigns hands over as fast as one router, even if one of its links is gone.
//! * The trials of all members end before any says that it is active.
//! * When one member hears a better router, all step back. The others send priority 0 as their last advertisement: on their
//!   networks no better router was heard, and a backup need not wait for silence. An active router there answers it as usual.
//! * Two groups can each be the better one on another network, by priority or by address. Both step back, and both would take
//!   over at the same time, again and again. One network decides: that with the lowest VRID, and of the same VRID the one with
//!   the lowest address, so that the order of the members does not matter. A group that lost there, and had stepped back within
//!   four down intervals before, leaves the other one a down interval to take over.
//! * A router that joins an active group takes over when its own timer has expired; one that leaves a group keeps its state.
//!
//! **Both versions at once.** With [`Config::also_version_2`] (RFC 9568 section 8.4) every advertisement goes out in version 3
//! and in version 2, answers and priority 0 too. A backup accepts both. It ignores version 2 of a source that it heard in
//! version 3 within a down interval, and learns the seconds of version 2 as centiseconds. An active router that sends version 3
//! only is reported, since routers of version 2 do not hear it.
//!
//! **No addresses.** A router without addresses has a state for whatever else the caller holds with it, such as routes. It
//! advertises a count of 0, as keepalived does, and accepts only such advertisements; every other router discards them (erratum
//! 8299). [`Action::Install`], [`Action::Remove`] and [`Action::Announce`] come as usual; there is nothing to try.
//!
//! **Delays.** `preempt_delay` makes a backup wait before it takes over from a worse active router: it follows that router, as
//! without preemption, until the delay since it first heard it is over; then its Skew_Time, which orders several such backups.
//! The wait is at least a down interval. A better router ends it; if the active one resigns or falls silent, the usual rules
//! apply. An owner does not wait. `startup_delay` holds a new router in Initialize. `down_timer_adverts` replaces the 3 in
//! Active_Down_Interval. The lease gets shorter with it, and never longer, since peers may count three.
//!
//! **Leases.** [`Action::Install`] comes with every periodic advertisement and limits how long the kernel keeps the addresses:
//! [`lease`], the shortest time after which a peer could have taken over, in whole seconds. A router that advertises keeps its
//! addresses. One that is killed, frozen or starved loses them at about the time when its peers take over, without running any
//! code. If the interval is below a third of a second, a lease of one second, the kernel's smallest unit, ends a little after
//! the takeover instead of before it.
//!
//! **Yield, not only advertise.** A check that lowers the priority of an active router does not move the addresses by itself:
//! a peer takes over only after a whole down interval of worse advertisements, and never if it does not preempt. So an active
//! router whose effective priority falls calls an **election**. It advertises the new priority, then priority 0, *keeps the
//! addresses*, and sets its timer to that of a backup with its new priority, or a little less ([`election_wait`]). To every
//! peer, vouchd or not, the active router has resigned: each takes over after its own Skew_Time, the best first, with or
//! without preemption.
//!
//! * A better peer is heard before the timer fires: the usual rule for active routers (higher priority, or equal priority and
//!   higher address) hands over. This takes one skew time, and the addresses have a holder at every moment.
//! * The timer fires first: no router is better, and this one stays active. **A lone router loses nothing**: it never removed
//!   the addresses, and the call renewed their lease.
//! * A worse peer took over, because it was faster or its advertisement was already on the way: this router answers at once
//!   (RFC 9568 section 6.4.3), which makes the peer step back, and announces the addresses again, since the peer announced
//!   them too.
//!
//! This router's turn comes half a priority step before its Skew_Time: after every better peer, and before an equal one.
//! Routers that all fail alike (the same broken plugin on every node) are equal, at priority 1, and the addresses must not
//! wander between them with each election.
//!
//! **No worse router wins an election for good.** With frames lost, a worse backup can take over before a better one. With
//! preemption the better one puts that right; without, it would follow the worse router for ever, in spite of its claim. So a
//! backup that does not preempt follows one worse router only, the one that was active when it came:
//!
//! * After priority 0, an advertisement of a worse router does not restart the timer: the backup's own Skew_Time ends, and it
//!   takes over, whoever was faster. (RFC 9568 section 6.4.2 would set the timer to Active_Down_Interval.)
//! * While it follows one router, the advertisement of another one that is worse than itself does not restart the timer either.
//!   The backup missed an election. If the router that it followed is silent from then on, it takes over an
//!   Active_Down_Interval after that router's last advertisement. If that router is heard again, it goes on following it.
//!
//! Without preemption, a router that was out of service still leaves a worse active router alone, as configured: it follows
//! nobody when it comes back.
//!
//! The bound: let a failing router yield or fall silent, and a worse backup win because frames were lost. A better backup that
//! was in Backup all the time takes over at the latest an Active_Down_Interval after the last advertisement of the failing
//! router that it received, and from then on every advertisement that arrives makes the worse one step back.
//!
//! Elections are limited to one per down interval; a fall within one is remembered, and the election is called at its end.
//! One lost frame of priority 0 must not leave a failing router active where peers don't preempt. So while the priority stays
//! below its value before the fall, the election is called again after 1, 2, 4, 8, 16, 16, … down intervals. This also finds a
//! peer that does not preempt and recovered later. The calls end when the priority has recovered or the router is no longer
//! active. An owner of the addresses (priority 255) calls no election: its priority can't fall.
//!
//! **Never act late on stale knowledge.** A router that is called so late that others may have acted detects this *before* it
//! looks at the input. An active router that was silent for its own down interval gives the addresses up and listens for a
//! down interval, without sending anything: another router may be active, and its lease has ended anyway. A backup whose timer
//! fires more than a down interval late listens for one more. A shorter stall costs nothing, provided the caller hands over
//! packets before timers.
//!
//! **The router that stays active announces again.** Two routers that were active at the same time, for instance until a
//! partition healed, have both announced the addresses, and other hosts on the segment have learned either. If the better
//! router's advertisement comes first, RFC 9568 section 6.4.3 makes the worse one step back silently; nobody announces
//! anything, and some hosts go on sending to the wrong machine. So a router that steps back advertises once more. The better
//! one answers, as it answers any worse active router, and announces the addresses: at once, and again after an interval.
//!
//! **Refused addresses are a fault.** A router that can't install its addresses would advertise what it can't serve. It
//! resigns, reports why, and takes part again after 1, 2, 4, … 64 down intervals, or when its interface or its addresses
//! change.
//!
//! **A trial before the takeover.** A router must not take the addresses from one that works, only to find that it can't hold
//! them. The first time, after a refusal, and after any change of its interface, it asks the kernel first: [`Action::Install`]
//! without sending anything. After [`Input::AddressesInstalled`] it is active and advertises, about a millisecond later; until
//! then two routers have the addresses, and the second one does not announce them. After [`Input::AddressesFailed`], or without
//! an answer for a down interval (at least two seconds), it removes what the kernel installed and stays silent. Its next turn
//! after the pause is the next trial. A router alone on the network keeps trying.
//!
//! **A change of configuration is no flap.** [`Router::reconfigure`] keeps the state and advertises the new values. It takes
//! the result of the checks under the new configuration with it, so that the effective priority is right from the first
//! advertisement on.
#![forbid(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

mod action;
mod authentication;
mod config;
mod discard;
mod group;
mod input;
pub mod limit;
mod pair;
mod peek;
mod peers;
mod reception;
mod rival;
mod router;
mod sources;
mod status;
mod timers;
mod versions;

pub use action::{Action, ProtocolEvent};
pub use authentication::{Authenticity, Hmac, HmacMode};
pub use config::{Announcements, Config, ConfigError};
pub use discard::{DiscardReason, Rejection};
pub use group::{Group, Member, Order, Reason};
pub use input::{Health, Input, Link, Packet};
pub use pair::HandOver;
pub use rival::{Rival, RivalReason};
pub use router::{Router, Stage};
pub use sources::Source;
pub use status::{Counters, Peer, State, Why};
pub use timers::{DOWN_TIMER_ADVERTS, down_interval, election_wait, lease, skew};
pub use vouchd_wire as wire;
pub use vouchd_wire::Time;
