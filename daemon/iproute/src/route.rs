//! Routes, as in ip-route(8).

use std::fmt;
use std::net::IpAddr;

use crate::words::{Mistake, Word, Words, once};
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

impl fmt::Display for RouteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RouteId { destination, from, tos, table, metric } = self;
        write!(f, "{destination}")?;
        if let Some(from) = from {
            write!(f, " from {from}")?;
        }
        if *tos != 0 {
            write!(f, " tos {tos:#x}")?;
        }
        write!(f, " table {table} metric {metric}")
    }
}

/// IP6_RT_PRIO_USER, which the kernel takes for the metric 0 of an IPv6 route.
const METRIC_V6: u32 = 1024;
const SCOPE_UNIVERSE: u8 = 0;
const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const SCOPES: [(u8, &str); 5] =
    [(SCOPE_UNIVERSE, "global"), (200, "site"), (SCOPE_LINK, "link"), (SCOPE_HOST, "host"), (255, "nowhere")];

const OPTIONS: [&str; 15] = [
    "via",
    "dev",
    "src",
    "table",
    "metric",
    "scope",
    "tos",
    "onlink",
    "pref",
    "from",
    "nexthop",
    "weight",
    "preference",
    "priority",
    "dsfield",
];

impl Route {
    /// Reads what follows `ip route add`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Route, Mistake> {
        let mut words = Words::new(text);
        let family = words.family();
        let kind = words.peek().and_then(|word| KINDS.iter().find(|(_, name)| *name == word.text));
        if kind.is_some() {
            words.next();
        }
        let kind = kind.map_or(RouteKind::Unicast, |(kind, _)| *kind);
        let to = words.peek().filter(|word| word.text == "to");
        if to.is_some() {
            words.next();
        }
        let Some(word) = words.next() else {
            return Err(words.missing("expected a destination like 10.0.0.0/8, 2001:db8::/32 or default"));
        };
        let destination = match word.text {
            "default" => None,
            _ if is_option(word.text) => {
                let message = format!("expected a destination before `{}`, like 10.0.0.0/8 or default", word.text);
                return Err(word.mistake(message));
            }
            _ => Some(Prefix::parse(word)?),
        };
        let mut options = Options::default();
        while let Some(word) = words.next() {
            options.read(word, &mut words)?;
        }
        let family = match (destination, family) {
            (Some(prefix), Some(family)) if prefix.family() != family => {
                return Err(word.mistake(format!("expected an {family} destination after the family at the beginning")));
            }
            (Some(prefix), _) => prefix.family(),
            (None, Some(family)) => family,
            (None, None) => options.family().unwrap_or(Family::V4),
        };
        options.route(kind, destination.unwrap_or(family.all()), &words)
    }

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

fn is_option(word: &str) -> bool {
    OPTIONS.contains(&word) || Metrics::keywords().any(|keyword| keyword == word)
}

/// What follows the destination.
#[derive(Default)]
struct Options<'a> {
    from: Option<(Prefix, Word<'a>)>,
    tos: Option<(u8, Word<'a>)>,
    table: Option<u32>,
    metric: Option<u32>,
    scope: Option<(u8, Word<'a>)>,
    source: Option<(IpAddr, Word<'a>)>,
    /// The one next hop without `nexthop`.
    hop: Hop<'a>,
    hops: Vec<(Hop<'a>, Word<'a>)>,
    metrics: Metrics,
    preference: Option<(Preference, Word<'a>)>,
}

#[derive(Default)]
struct Hop<'a> {
    via: Option<(IpAddr, Word<'a>)>,
    interface: Option<String>,
    onlink: Option<()>,
    weight: Option<u16>,
    /// The first word about it.
    first: Option<Word<'a>>,
}

impl<'a> Hop<'a> {
    /// Reads a word about a next hop. Returns false if it is about something else.
    fn read(&mut self, word: Word<'a>, words: &mut Words<'a>) -> Result<bool, Mistake> {
        match word.text {
            "via" => {
                let family = words.peek().and_then(|next| match next.text {
                    "inet" => Some(Family::V4),
                    "inet6" => Some(Family::V6),
                    _ => None,
                });
                if family.is_some() {
                    words.next();
                }
                let (address, at) = words.address(word)?;
                if family.is_some_and(|family| family != Family::of(address)) {
                    return Err(at.mistake("expected an address of the family before it"));
                }
                once(&mut self.via, (address, at), word)?;
            }
            "dev" | "oif" => {
                let interface = words.interface(word)?;
                once(&mut self.interface, interface, word)?;
            }
            "onlink" => once(&mut self.onlink, (), word)?,
            _ => return Ok(false),
        }
        self.first.get_or_insert(word);
        Ok(true)
    }

    fn next_hop(self, family: Family, several: bool) -> Result<NextHop, Mistake> {
        if let Some((address, at)) = self.via
            && Family::of(address) != family
            && family == Family::V6
        {
            return Err(at.mistake("expected an IPv6 address: an IPv6 route has no IPv4 next hop"));
        }
        let weight = if several { self.weight.unwrap_or(1) } else { 1 };
        let via = self.via.map(|(address, _)| address);
        Ok(NextHop { via, interface: self.interface, onlink: self.onlink.is_some(), weight })
    }
}

impl<'a> Options<'a> {
    fn read(&mut self, word: Word<'a>, words: &mut Words<'a>) -> Result<(), Mistake> {
        if self.hops.is_empty() && self.hop.read(word, words)? {
            return Ok(());
        }
        if let Some((hop, _)) = self.hops.last_mut() {
            if hop.read(word, words)? {
                return Ok(());
            }
            if word.text == "weight" {
                let weight = words.number(word, 1..=256)?;
                return once(&mut hop.weight, weight, word);
            }
        }
        match word.text {
            "nexthop" => self.hops.push((Hop::default(), word)),
            "src" => {
                let source = words.address(word)?;
                once(&mut self.source, source, word)?;
            }
            "from" => {
                let prefix = Prefix::parse(words.value(word, "a prefix")?)?;
                once(&mut self.from, (prefix, word), word)?;
            }
            "table" => {
                let table = words.table(word)?;
                once(&mut self.table, table, word)?;
            }
            "metric" | "preference" | "priority" => {
                let metric = words.number(word, 0..=u64::from(u32::MAX))?;
                once(&mut self.metric, metric, word)?;
            }
            "tos" | "dsfield" => {
                let tos = words.number(word, 0..=255)?;
                once(&mut self.tos, (tos, word), word)?;
            }
            "scope" => {
                let value = words.value(word, "a scope")?;
                let scope = SCOPES.iter().find(|(_, name)| *name == value.text).map(|(scope, _)| *scope);
                let scope = scope.or_else(|| value.text.parse().ok());
                let expected = "expected a scope: global, site, link, host, nowhere or a number from 0 to 255";
                once(&mut self.scope, (scope.ok_or_else(|| value.mistake(expected))?, word), word)?;
            }
            "pref" => {
                let value = words.value(word, "low, medium or high")?;
                let found = PREFERENCES.iter().find(|(_, name)| *name == value.text);
                let (preference, _) =
                    found.ok_or_else(|| value.mistake("expected low, medium or high after `pref`"))?;
                once(&mut self.preference, (*preference, word), word)?;
            }
            _ if self.metrics.read(word, words)? => {}
            _ => return Err(refused(word)),
        }
        Ok(())
    }

    /// The family of the addresses, for the destination `default`.
    fn family(&self) -> Option<Family> {
        let source = self.source.map(|(address, _)| address);
        let from = self.from.as_ref().map(|(prefix, _)| prefix.address);
        let via = self.hop.via.or_else(|| self.hops.iter().find_map(|(hop, _)| hop.via)).map(|(address, _)| address);
        source.or(from).or(via).map(Family::of)
    }

    fn route(self, kind: RouteKind, destination: Prefix, words: &Words<'_>) -> Result<Route, Mistake> {
        let family = destination.family();
        if let Some((address, at)) = self.source
            && Family::of(address) != family
        {
            return Err(at.mistake(format!("expected an {family} address, as the destination is one")));
        }
        if let Some((prefix, at)) = &self.from {
            if family == Family::V4 {
                return Err(at.mistake("only IPv6 routes have `from`; for IPv4 write a rule with `from`"));
            }
            if prefix.family() != family {
                return Err(at.mistake("expected an IPv6 prefix after `from`"));
            }
        }
        if family == Family::V6 {
            if let Some((_, at)) = self.tos.filter(|(tos, _)| *tos != 0) {
                return Err(at.mistake("only IPv4 routes have a type of service"));
            }
            if let Some((_, at)) = self.scope.filter(|(scope, _)| *scope != SCOPE_UNIVERSE) {
                return Err(at.mistake("only IPv4 routes have a scope"));
            }
        } else if let Some((_, at)) = self.preference {
            return Err(at.mistake("only IPv6 routes have `pref`; the metric is `metric`, `preference` or `priority`"));
        }
        if let (Some(first), Some((_, nexthop))) = (self.hop.first, self.hops.first()) {
            let message = format!("expected `{}` after `nexthop`, or one next hop without `nexthop`", first.text);
            return Err(if first.text.is_empty() { nexthop.mistake(message) } else { first.mistake(message) });
        }
        let first = self.hop.first.or(self.hops.first().map(|(_, word)| *word));
        match (kind.has_next_hop(), first) {
            (false, Some(word)) => {
                return Err(word.mistake(format!(
                    "a {} route has no next hop; leave `{}` out",
                    kind.name(),
                    word.text
                )));
            }
            (true, None) => {
                return Err(words.missing("expected a next hop: `via` an address, `dev` an interface, or both"));
            }
            (true, Some(_)) | (false, None) => {}
        }
        let gateway = self.hop.via.is_some() || !self.hops.is_empty();
        let mut next_hops = Vec::new();
        if self.hop.first.is_some() {
            next_hops.push(self.hop.next_hop(family, false)?);
        }
        let several = self.hops.len() > 1;
        for (hop, word) in self.hops {
            if hop.first.is_none() {
                return Err(word.mistake("expected `via` or `dev` after `nexthop`"));
            }
            next_hops.push(hop.next_hop(family, several)?);
        }
        if let Some(hop) = next_hops.iter().find(|hop| hop.via.is_none() && hop.interface.is_none())
            && let Some(first) = first
        {
            debug_assert!(hop.onlink);
            return Err(first.mistake("expected `via` or `dev` besides `onlink`"));
        }
        // As the program `ip` chooses it.
        let scope = match (family, self.scope) {
            (Family::V6, _) => SCOPE_UNIVERSE,
            (Family::V4, Some((scope, _))) => scope,
            (Family::V4, None) => match kind {
                RouteKind::Local => SCOPE_HOST,
                RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => SCOPE_LINK,
                RouteKind::Unicast if !gateway => SCOPE_LINK,
                RouteKind::Unicast
                | RouteKind::Blackhole
                | RouteKind::Unreachable
                | RouteKind::Prohibit
                | RouteKind::Throw => SCOPE_UNIVERSE,
            },
        };
        let metric = match (family, self.metric.unwrap_or(0)) {
            (Family::V6, 0) => METRIC_V6,
            (_, metric) => metric,
        };
        Ok(Route {
            kind,
            destination,
            from: self.from.map(|(prefix, _)| prefix).filter(|prefix| prefix.length > 0),
            tos: self.tos.map_or(0, |(tos, _)| tos),
            table: self.table.unwrap_or(default_table(kind)),
            metric,
            scope,
            source: self.source.map(|(address, _)| address),
            next_hops,
            metrics: self.metrics,
            preference: self.preference.map(|(preference, _)| preference).unwrap_or_default(),
        })
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

/// The mistake of a word that is no option, with what to do instead.
fn refused(word: Word<'_>) -> Mistake {
    let message = match word.text {
        "proto" | "protocol" => "the protocol is vouchd's mark, by which it knows its own routes; leave `proto` out",
        "gw" => "a keyword of keepalived; write `via`",
        "or" => "a keyword of keepalived; write `nexthop via ... nexthop via ...`",
        "track_group" | "no_track" | "track" => {
            "a keyword of keepalived; leave it out: a route that fails shows in `vouchd status`"
        }
        "nhid" => "next hop objects belong to another program; write the next hop itself, `via ... dev ...`",
        "encap" => "encapsulations are not supported; write the route with another tool",
        "realms" | "realm" => "realms are not supported; use `tos`, or a rule with `fwmark`",
        "expires" => "vouchd sets the lifetime itself, as long as the lease of the addresses; leave `expires` out",
        "ttl-propagate" | "as" => "MPLS is not supported; write the route with another tool",
        "weight" => "only a next hop after `nexthop` has a weight",
        "lock" => "expected `lock` after `mtu` and its like, as in `mtu lock 1400`",
        "add" | "del" | "delete" | "replace" | "change" | "append" => "expected only what follows `ip route add`",
        _ => {
            let known: Vec<&str> = OPTIONS.iter().copied().take(11).chain(Metrics::keywords()).collect();
            return Words::unknown(word, &known);
        }
    };
    word.mistake(message)
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = self.family();
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", self.kind.name())?;
        }
        match (self.destination.length, family) {
            // The family of `default` would depend on the rest.
            (0, Family::V6) => f.write_str("::/0")?,
            (0, Family::V4) if self.next_hops.iter().any(|hop| hop.via.is_some_and(|via| via.is_ipv6())) => {
                f.write_str("0.0.0.0/0")?;
            }
            (0, Family::V4) => f.write_str("default")?,
            _ => write!(f, "{}", self.destination)?,
        }
        if let Some(from) = self.from {
            write!(f, " from {from}")?;
        }
        let several = self.next_hops.len() > 1;
        if let ([hop], false) = (self.next_hops.as_slice(), several) {
            next_hop(f, hop, family)?;
        }
        if self.table != default_table(self.kind) {
            match self.table {
                TABLE_MAIN => f.write_str(" table main")?,
                TABLE_LOCAL => f.write_str(" table local")?,
                table => write!(f, " table {table}")?,
            }
        }
        if self.tos != 0 {
            write!(f, " tos {:#x}", self.tos)?;
        }
        if self.metric != if family == Family::V6 { METRIC_V6 } else { 0 } {
            write!(f, " metric {}", self.metric)?;
        }
        // Always written where there is one, since its default depends on the rest.
        if family == Family::V4 && self.scope != SCOPE_UNIVERSE || self.is_scope_unusual() {
            match SCOPES.iter().find(|(scope, _)| *scope == self.scope) {
                Some((_, name)) => write!(f, " scope {name}")?,
                None => write!(f, " scope {}", self.scope)?,
            }
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        write!(f, "{}", self.metrics)?;
        if self.preference != Preference::Medium
            && let Some((_, name)) = PREFERENCES.iter().find(|(preference, _)| *preference == self.preference)
        {
            write!(f, " pref {name}")?;
        }
        if several {
            for hop in &self.next_hops {
                f.write_str(" nexthop")?;
                next_hop(f, hop, family)?;
                if hop.weight != 1 {
                    write!(f, " weight {}", hop.weight)?;
                }
            }
        }
        Ok(())
    }
}

impl Route {
    /// Whether the scope is global where the default is another.
    fn is_scope_unusual(&self) -> bool {
        let has_gateway = self.next_hops.len() > 1 || self.next_hops.iter().any(|hop| hop.via.is_some());
        let is_local = match self.kind {
            RouteKind::Local | RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => true,
            RouteKind::Unicast => !has_gateway,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw => false,
        };
        self.family() == Family::V4 && self.scope == SCOPE_UNIVERSE && is_local
    }
}

fn next_hop(f: &mut fmt::Formatter<'_>, hop: &NextHop, family: Family) -> fmt::Result {
    match hop.via {
        Some(via) if Family::of(via) != family => write!(f, " via inet6 {via}")?,
        Some(via) => write!(f, " via {via}")?,
        None => {}
    }
    if let Some(interface) = &hop.interface {
        write!(f, " dev {interface}")?;
    }
    if hop.onlink { f.write_str(" onlink") } else { Ok(()) }
}
