//! A scenario: which routers there are and what happens to them, as data and as text.
//!
//! The text is what a failure prints, what the shrinker makes shorter and what a regression test contains:
//!
//! ```text
//! seed 7
//! version 3
//! r1 vouchd priority 100 interval 100cs preempt
//! r2 keepalived priority 90 interval 100cs patient drift -200
//!
//! wait 5s
//! loss 30
//! r1 priority 60
//! settle
//! ```
//!
//! The seed decides which frames are lost and how long each one takes, and nothing else.

pub mod generate;
mod text;

use std::time::Duration;

use vouchd_vrrp::Stage;
use vouchd_vrrp::wire::Version;

use crate::coverage::Kind as Input;

/// Routers and what happens to them, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// Decides about the fate of each frame.
    pub seed: u64,
    /// The version of all routers.
    pub version: Version,
    /// The routers, `r1` first.
    pub routers: Vec<Spec>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Which program a router runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The state machine of vouchd.
    Vouchd,
    /// A model of RFC 9568, which answers worse routers at once.
    Rfc9568,
    /// A model of RFC 5798 and RFC 3768, which discards what worse routers send.
    Rfc5798,
    /// A model of keepalived 2.2, with its deviations.
    Keepalived,
}

/// A router at its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The program.
    pub kind: Kind,
    /// The last byte of its address.
    pub address: u8,
    /// The configured priority; 255: it owns the addresses.
    pub priority: u8,
    /// Advertisement_Interval in centiseconds; in version 2 whole seconds.
    pub interval: u16,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How much faster its clock runs, in parts per million.
    pub drift: i32,
    /// vouchd: it is one of a pair, and hands over at once.
    pub pair: bool,
    /// vouchd: `down_timer_adverts`.
    pub adverts: u8,
    /// vouchd: `preempt_delay` in milliseconds.
    pub preempt_delay: u32,
    /// vouchd: `startup_delay` in milliseconds.
    pub startup_delay: u32,
    /// vouchd: how many milliseconds its kernel needs for an order; 0: half of one.
    pub kernel: u32,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            kind: Kind::Vouchd,
            address: 10,
            priority: 100,
            interval: 100,
            preempt: true,
            drift: 0,
            pair: false,
            adverts: 3,
            preempt_delay: 0,
            startup_delay: 0,
            kernel: 0,
        }
    }
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, for this long.
    Wait(Duration),
    /// Something at one router, by its index.
    At(usize, Event),
    /// Any frame is lost with this probability, in percent.
    Loss(u8),
    /// The second router does not hear the first one.
    Cut(usize, usize),
    /// These routers and all others don't hear each other.
    Split(Vec<usize>),
    /// Any frame may overtake earlier ones with this probability, in percent.
    Reorder(u8),
    /// Any frame arrives twice with this probability, in percent.
    Duplicate(u8),
    /// A host that is no router sends a valid advertisement of this priority.
    Forge(u8),
    /// The network loses, reorders and duplicates nothing any more.
    Heal,
    /// Heals the network, waits for the proven bounds, and checks that the right router is active.
    Settle,
    /// The same without healing the network, which may lose frames: gives the routers as long as loss permits.
    SettleLossy,
}

/// Something that happens at one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The checks give it this priority.
    Priority(u8),
    /// The checks are all well: it gets its configured priority.
    Well,
    /// A check reports a hard fault.
    Fault,
    /// A check has no result yet.
    Waiting,
    /// The interface goes down.
    LinkDown,
    /// The interface comes up, or is reported once more.
    LinkUp,
    /// The interface gets another address.
    Address(u8),
    /// The process is stopped for this long.
    Freeze(Duration),
    /// The kernel carries nothing out for this long.
    Busy(Duration),
    /// The kernel refuses addresses from now on.
    Refuse,
    /// The kernel accepts addresses again.
    Accept,
    /// The process is killed: its addresses stay until their lease ends.
    Kill,
    /// The process ends in order.
    Stop,
    /// The process starts, unless it runs.
    Start,
    /// The process starts, unless it runs, and does not hear of its link and its checks yet.
    Boot,
    /// A reload with one change.
    Reload(Change),
    /// Everything that the router knows is reported once more, and the timer is called although nothing is due.
    Repeat,
    /// A packet arrives that has to be discarded.
    Stray(Stray),
    /// A packet of another virtual router with the same addresses arrives.
    Overhear,
    /// An input of this kind comes as soon as the router is in this stage.
    When(Stage, Input),
}

/// What a reload changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// The configured priority; 255: ownership.
    Priority(u8),
    /// Advertisement_Interval in centiseconds.
    Interval(u16),
    /// Preempt_Mode.
    Preempt(bool),
    /// The number of addresses, of which all routers share the first.
    Addresses(u8),
    /// Whether it is one of a pair.
    Pair(bool),
    /// `preempt_delay` and `startup_delay` in milliseconds.
    Delays(u32),
    /// `down_timer_adverts`.
    Adverts(u8),
}

/// Why a packet has to be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stray {
    /// It passed a router.
    Ttl,
    /// It is for another virtual router.
    Vrid,
    /// It has the other version.
    Version,
    /// It was damaged.
    Checksum,
    /// It comes from the router's own address.
    Own,
    /// It has none of the router's addresses.
    Addresses,
    /// It ends too early.
    Truncated,
    /// It is no advertisement.
    Type,
    /// It was sent to the router alone.
    Destination,
    /// It comes from the multicast group.
    Source,
}

impl Stray {
    /// All of them, with their names in a script.
    pub const ALL: [(Self, &str); 10] = [
        (Self::Ttl, "ttl"),
        (Self::Vrid, "vrid"),
        (Self::Version, "version"),
        (Self::Checksum, "checksum"),
        (Self::Own, "own"),
        (Self::Addresses, "addresses"),
        (Self::Truncated, "truncated"),
        (Self::Type, "type"),
        (Self::Destination, "destination"),
        (Self::Source, "source"),
    ];
}

impl Kind {
    /// All of them, with their names in a script.
    pub const ALL: [(Self, &str); 4] = [
        (Self::Vouchd, "vouchd"),
        (Self::Rfc9568, "rfc9568"),
        (Self::Rfc5798, "rfc5798"),
        (Self::Keepalived, "keepalived"),
    ];
}
