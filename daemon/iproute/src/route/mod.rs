//! Routes, as in ip-route(8).

mod display;
mod parse;

use std::net::IpAddr;

use crate::{Family, Metrics, Prefix, TABLE_LOCAL, TABLE_MAIN};

/// The type of a route (RTN_*).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RouteKind {
    /// To a next hop.
    Unicast = 1,
    /// To this host.
    Local = 2,
    /// As a broadcast on the link.
    Broadcast = 3,
    /// To this host, which is one of several with the address.
    Anycast = 4,
    /// As a multicast.
    Multicast = 5,
    /// Dropped without a word.
    Blackhole = 6,
    /// Dropped, and reported as unreachable.
    Unreachable = 7,
    /// Dropped, and reported as forbidden.
    Prohibit = 8,
    /// Looked up in the next table.
    Throw = 9,
}

const KINDS: [(RouteKind, &str); 9] = [
    (RouteKind::Unicast, "unicast"),
    (RouteKind::Local, "local"),
    (RouteKind::Broadcast, "broadcast"),
    (RouteKind::Anycast, "anycast"),
    (RouteKind::Multicast, "multicast"),
    (RouteKind::Blackhole, "blackhole"),
    (RouteKind::Unreachable, "unreachable"),
    (RouteKind::Prohibit, "prohibit"),
    (RouteKind::Throw, "throw"),
];

impl RouteKind {
    /// Its word in ip-route(8).
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("unicast", |(_, name)| name)
    }

    /// Whether such a route leads to a next hop or an interface.
    pub fn has_next_hop(self) -> bool {
        match self {
            Self::Unicast | Self::Local | Self::Broadcast | Self::Anycast | Self::Multicast => true,
            Self::Blackhole | Self::Unreachable | Self::Prohibit | Self::Throw => false,
        }
    }
}

/// The preference of an IPv6 route among those of several routers (RFC 4191).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Preference {
    /// `low`
    Low,
    /// `medium`
    #[default]
    Medium,
    /// `high`
    High,
}

const PREFERENCES: [(Preference, &str); 3] =
    [(Preference::Low, "low"), (Preference::Medium, "medium"), (Preference::High, "high")];

/// Where packets go. A next hop has an address, an interface, or both.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    /// The address of the next router. Of the other family only for an IPv4 route (`via inet6`).
    pub via: Option<IpAddr>,
    /// The name of the interface.
    pub interface: Option<String>,
    /// Whether to take the address for one on the link, whatever the interface's prefixes are.
    pub onlink: bool,
    /// The share of the packets, 1 to 256, where there are several.
    pub weight: u16,
}

/// A route, with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Its type.
    pub kind: RouteKind,
    /// The addresses that it is for.
    pub destination: Prefix,
    /// The sources that it is for (`from`). IPv6 only; all if the length is 0.
    pub from: Option<Prefix>,
    /// The type of service that it is for; 0 is any. IPv4 only.
    pub tos: u8,
    /// Its table, never 0.
    pub table: u32,
    /// `metric`: the lowest wins.
    pub metric: u32,
    /// RT_SCOPE_*; 0 for IPv6.
    pub scope: u8,
    /// `src`: the source address of packets that this host sends.
    pub source: Option<IpAddr>,
    /// One, or several that share the packets. Empty for a type without.
    pub next_hops: Vec<NextHop>,
    /// `mtu` and its like.
    pub metrics: Metrics,
    /// `pref`. IPv6 only.
    pub preference: Preference,
}

/// What the kernel tells routes apart by: it keeps one route for each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId {
    /// As in [`Route`].
    pub destination: Prefix,
    /// As in [`Route`].
    pub from: Option<Prefix>,
    /// As in [`Route`].
    pub tos: u8,
    /// As in [`Route`].
    pub table: u32,
    /// As in [`Route`].
    pub metric: u32,
}

/// IP6_RT_PRIO_USER, which the kernel takes for the metric 0 of an IPv6 route.
const METRIC_V6: u32 = 1024;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const SCOPES: [(u8, &str); 5] =
    [(SCOPE_UNIVERSE, "global"), (200, "site"), (SCOPE_LINK, "link"), (SCOPE_HOST, "host"), (255, "nowhere")];

impl Route {
    /// What the kernel tells it from other routes by.
    pub fn id(&self) -> RouteId {
        let Route { destination, from, tos, table, metric, .. } = *self;
        RouteId { destination, from, tos, table, metric }
    }

    /// The family of its destination.
    pub fn family(&self) -> Family {
        self.destination.family()
    }
}

/// The table of a route without `table`, as the program `ip` chooses it.
fn default_table(kind: RouteKind) -> u32 {
    match kind {
        RouteKind::Local | RouteKind::Broadcast | RouteKind::Anycast => TABLE_LOCAL,
        RouteKind::Unicast
        | RouteKind::Multicast
        | RouteKind::Blackhole
        | RouteKind::Unreachable
        | RouteKind::Prohibit
        | RouteKind::Throw => TABLE_MAIN,
    }
}
