//! A router that says it is active while another one is: what is known about it, and what to do.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::discard::Discard;

/// A router that advertises as an active one does, beside the one that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Where it sends from.
    pub peer: IpAddr,
    /// The priority that it claims.
    pub priority: u8,
    /// How many of its advertisements came, of the kind that `why` is about.
    pub count: u64,
    /// How long ago the last one came.
    pub ago: Duration,
    /// What is known.
    pub why: Contested,
}

/// Why two routers are active and do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contested {
    /// This router discards what the other one says.
    Discarded(Discard),
    /// This router discards what the other one says, which is about other addresses under the same virtual router id.
    OtherAddresses(Discard),
    /// The other one has this router's addresses under another virtual router id.
    OtherVrid {
        /// The id.
        vrid: u8,
        /// An address that both have.
        address: IpAddr,
    },
    /// This router is active, and better, and tells it so, and yet it goes on.
    Unheard {
        /// Where this router sends from.
        own: IpAddr,
        /// By unicast.
        unicast: bool,
    },
    /// This router is a backup, and hears two that do not hear each other.
    Beside(IpAddr),
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rival { peer, priority, count, ago, why } = self;
        let ago = ago.as_secs_f64();
        match why {
            Contested::OtherAddresses(reason) => write!(
                f,
                "{peer} is active for other addresses under the same virtual router id; {count} of its advertisements \
                 were discarded ({}), the last {ago:.1} s ago: {}",
                reason.name(),
                Discard::Addresses.remedy()
            ),
            Contested::Discarded(reason) => write!(
                f,
                "{peer} also claims to be active; {count} of its advertisements were discarded ({}), the last {ago:.1} s \
                 ago: {}",
                reason.name(),
                reason.remedy()
            ),
            Contested::OtherVrid { vrid, address } => write!(
                f,
                "{peer} also claims to be active for {address}, under the virtual router id {vrid}; {count} of its \
                 advertisements were seen, the last {ago:.1} s ago: {}",
                Discard::Vrid.remedy()
            ),
            Contested::Unheard { own, unicast } => {
                write!(
                    f,
                    "{peer} also claims to be active, with priority {priority}; {count} of its advertisements came \
                     although this router is better and answers, the last {ago:.1} s ago: it does not receive what {own} \
                     sends, or discards it: look at its log, and for what drops packets from here to there"
                )?;
                if *unicast { f.write_str(", and whether it has this router among its peers") } else { Ok(()) }
            }
            Contested::Beside(active) => {
                write!(
                    f,
                    "{peer} also claims to be active, with priority {priority}, beside {active}; {count} of its \
                     advertisements came, the last {ago:.1} s ago: the two do not hear each other"
                )
            }
        }
    }
}

impl Discard {
    /// What to do about a router whose advertisements are discarded for this reason.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Ttl => "it is not on this network, a router is between: connect both to the same network",
            Self::Destination => "one sends by multicast, the other by unicast: set unicast on both, or on neither",
            Self::Source => "give it an address of its own to send from",
            Self::OwnAddress => {
                "another machine has this router's own address, or the network sends its packets back: give each machine \
                 an address of its own, and look for a loop"
            }
            Self::UnknownPeer => "add it to unicast.peers of this router, or stop it",
            Self::Vrid => "set the same virtual_router_id on both",
            Self::Version => "set the same version on both",
            Self::Type | Self::Carp => "another protocol uses the numbers of VRRP: give it another id",
            Self::Family => "its addresses are of another family than this router's: set the same addresses on both",
            Self::Length | Self::NoAddresses | Self::FirstAddress => "what it sends is malformed: look at its software",
            Self::Checksum => "what it sends arrives damaged: look at the network, and at its software",
            Self::ZeroInterval => "set its advertisement interval",
            Self::AuthType => "set the same auth on both",
            Self::AuthPassword => "set the same password on both",
            Self::Interval => "set the same advert_interval on both",
            Self::Addresses => "give one of the two another virtual_router_id, or both the same addresses",
            Self::OwnerReceives => {
                "this router owns the addresses and advertises with 255, which the other one does not receive or \
                 discards: look at its log, and for what drops packets from here to there"
            }
        }
    }
}
