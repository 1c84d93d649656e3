//! Routes and rules that follow the state of their instances.
//!
//! The thread of the [`AddressKeeper`](crate::AddressKeeper) installs them after the addresses of an instance, since a route
//! may need an address as its source, and removes them before the addresses. Each has [`OUR_PROTOCOL`](crate::OUR_PROTOCOL)
//! as its protocol. One that somebody else has already is an error and stays as it is.
//!
//! The kernel limits the lifetime of an IPv6 route with one next hop only. All others end with the lease because the thread
//! removes them then, and after the daemon was killed with the next start ([`sweep_routing`]).

mod keeper;
mod reconciler;
mod report;
mod sweep;

pub(crate) use keeper::RoutingKeeper;
pub use report::{RoutingChange, RoutingError, RoutingItem, RoutingState};
pub use sweep::sweep_routing;

use vouchd_iproute::{Route, Rule};

/// What an instance wants besides addresses while it is active.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routing {
    /// In the order in which to install them: a route may lead to the next hop of a later one.
    pub routes: Vec<Route>,
    /// Installed after the routes.
    pub rules: Vec<Rule>,
}

impl Routing {
    fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.rules.is_empty()
    }

    fn items(&self) -> impl Iterator<Item = RoutingItem> + '_ {
        let routes = self.routes.iter().cloned().map(RoutingItem::Route);
        routes.chain(self.rules.iter().cloned().map(RoutingItem::Rule))
    }
}
