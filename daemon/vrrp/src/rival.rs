//! A router that claims to be active while another one is: what is known about it, and what to do.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::discard::DiscardReason;

/// A router that advertises as an active one does, beside the active router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// Where it sends from.
    pub peer: IpAddr,
    /// The priority that it claims.
    pub priority: u8,
    /// How many of its advertisements arrived, counting those that `reason` is about.
    pub count: u64,
    /// How long ago the last one arrived.
    pub ago: Duration,
    /// Why the two do not agree, as far as this router can see.
    pub reason: RivalReason,
}

/// Why two routers are active at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RivalReason {
    /// This router discards the rival's advertisements.
    Discarded(DiscardReason),
    /// This router discards the rival's advertisements, which are for other addresses under the same virtual router id.
    OtherAddresses(DiscardReason),
    /// The rival advertises this router's addresses under another virtual router id.
    OtherVrid {
        /// The id.
        vrid: u8,
        /// An address that both have.
        address: IpAddr,
    },
    /// This router is active, better, and answers, but the rival goes on: it seems not to hear this router.
    Unheard {
        /// The address that this router sends from.
        own: IpAddr,
        /// Whether this router sends by unicast.
        unicast: bool,
    },
    /// This router is a backup. It hears the rival and this active router, which do not hear each other.
    TwoActive(IpAddr),
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rival { peer, priority, count, ago, reason } = self;
        let ago = ago.as_secs_f64();
        match reason {
            RivalReason::OtherAddresses(reason) => write!(
                f,
                "{peer} is active for other addresses under the same virtual router id; {count} of its advertisements \
                 were discarded ({}), the last {ago:.1} s ago: {}",
                reason.name(),
                DiscardReason::Addresses.remedy()
            ),
            RivalReason::Discarded(reason) => write!(
                f,
                "{peer} also claims to be active; {count} of its advertisements were discarded ({}), the last {ago:.1} s \
                 ago: {}",
                reason.name(),
                reason.remedy()
            ),
            RivalReason::OtherVrid { vrid, address } => write!(
                f,
                "{peer} also claims to be active for {address}, under the virtual router id {vrid}; {count} of its \
                 advertisements arrived, the last {ago:.1} s ago: {}",
                DiscardReason::Vrid.remedy()
            ),
            RivalReason::Unheard { own, unicast } => {
                write!(
                    f,
                    "{peer} also claims to be active, with priority {priority}; {count} of its advertisements arrived \
                     although this router is better and answers, the last {ago:.1} s ago: it does not receive what {own} \
                     sends, or discards it: check its log, and whether a firewall drops packets from here to there"
                )?;
                if *unicast { f.write_str(", and whether this router is among its peers") } else { Ok(()) }
            }
            RivalReason::TwoActive(active) => {
                write!(
                    f,
                    "{peer} also claims to be active, with priority {priority}, beside {active}; {count} of its \
                     advertisements arrived, the last {ago:.1} s ago: the two do not hear each other: check the network \
                     between them"
                )
            }
        }
    }
}

impl DiscardReason {
    /// What to do about a router whose advertisements are discarded for this reason.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Ttl => {
                "a router lies between it and this network, or it is keepalived over IPv6 without unicast_ttl 255: connect both to the same network, or set hop_limit for this peer"
            }
            Self::Destination => "one sends by multicast, the other by unicast: set unicast on both, or on neither",
            Self::Source => "give it a unicast address to send from",
            Self::OwnAddress => {
                "another machine has this router's address, or the network returns this router's packets: give each \
                 machine its own address, and look for a loop in the network"
            }
            Self::UnknownPeer => "add it to unicast.peers of this router, or stop it",
            Self::Vrid => "set the same virtual_router_id on both",
            Self::Version => "set the same version on both",
            Self::Type | Self::Carp => "another protocol uses this virtual router id: give it another one",
            Self::Family => "its addresses are of another family than this router's: set the same addresses on both",
            Self::Length => {
                "its advertisements have a wrong length: if it authenticates by HMAC, set auth on this router too; else update \
                 or replace its software"
            }
            Self::NoAddresses => "it has no addresses (addresses = []): set the same addresses on both",
            Self::FirstAddress => "its first IPv6 address is not link-local: set one there, the same on both",
            Self::Checksum => "its advertisements arrive damaged: check the network, then its software",
            Self::ZeroInterval => "its advertisement interval is 0: set it",
            Self::AuthType => "set the same auth on both",
            Self::AuthPassword => "set the same password on both",
            Self::HmacTrailer => "its advertisements have a trailer that is not HMAC-SHA256: set the same auth on both",
            Self::HmacMissing | Self::HmacKey | Self::HmacTag => "set the same HMAC keys in auth on both",
            Self::HmacTime => "synchronise the clocks of both, or widen the time_window in auth",
            Self::HmacReplayed => {
                "somebody sends its old advertisements again, or its clock was set back: look for a loop in the network, and \
                 at its clock"
            }
            Self::Interval => "set the same advert_interval on both",
            Self::Addresses => "give one of the two another virtual_router_id, or both the same addresses",
            Self::OwnerReceives => {
                "this router owns the addresses and advertises with priority 255, which the other one does not receive, or \
                 discards: check its log, and whether a firewall drops packets from here to there"
            }
        }
    }
}
