//! From a [`Route`] to the shortest text that parses to it.

use std::fmt;

use super::{
    METRIC_V6, NextHop, PREFERENCES, Preference, Route, RouteId, RouteKind, SCOPE_UNIVERSE, SCOPES, default_table,
};
use crate::{Family, TABLE_LOCAL, TABLE_MAIN};

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
