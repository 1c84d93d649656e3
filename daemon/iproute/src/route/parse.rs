//! From text to a [`Route`].

use std::net::IpAddr;

use super::{
    KINDS, METRIC_V6, NextHop, PREFERENCES, Preference, Route, RouteKind, SCOPE_HOST, SCOPE_LINK, SCOPE_UNIVERSE,
    SCOPES, default_table,
};
use crate::words::{Mistake, Word, Words, once};
use crate::{Family, Metrics, Prefix};

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
