//! Carries out the steps of the [`Reconciler`], in the thread of the address keeper.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use netlink_packet_route::route::RouteMessage;
use nix::errno::Errno;
use vouchd_iproute::RouteId;
use vouchd_wire::Time;

use super::Routing;
use super::reconciler::{Reconciler, Step};
use super::report::{RoutingError, RoutingItem, RoutingState};
use crate::addresses::{InstanceKey, Lifetime, Report};
use crate::clock;
use crate::netlink::{RequestSocket, RouteOrder, RoutingNews, route_message};

/// Steps until everything is as wanted: what is lost, what replaces it, what somebody changed in the meantime.
const ROUNDS: usize = 3;

/// Keeps the routes and rules.
#[derive(Debug, Default)]
pub(crate) struct RoutingKeeper {
    reconciler: Reconciler,
    /// Opened for the first instance that has routes or rules.
    sockets: Option<Sockets>,
    /// The kernel may have removed something of ours.
    suspect: bool,
    /// The routes that the kernel has, and the request that removes each; only while some are removed.
    held: Option<BTreeMap<RouteId, RouteMessage>>,
    /// The states reported last, by instance.
    reported: BTreeMap<InstanceKey, Vec<RoutingState>>,
}

#[derive(Debug)]
struct Sockets {
    requests: RequestSocket,
    news: RoutingNews,
}

impl Sockets {
    fn open() -> io::Result<Self> {
        let news = RoutingNews::open()?;
        let mut requests = RequestSocket::open()?;
        requests.be_strict();
        Ok(Self { requests, news })
    }
}

impl RoutingKeeper {
    /// Replaces all claims: an instance, what it wants, and how long if it is active.
    pub(crate) fn configure(&mut self, claims: impl Iterator<Item = (InstanceKey, Arc<Routing>, Option<Lifetime>)>) {
        self.reported.clear();
        self.reconciler.configure(claims);
        self.reconciler.retry();
    }

    /// Marks the instance as active.
    pub(crate) fn serve(&mut self, instance: &InstanceKey, lifetime: Lifetime) {
        self.reconciler.serve(instance, lifetime);
    }

    /// Marks the instance as not active.
    pub(crate) fn release(&mut self, instance: &InstanceKey) {
        self.reconciler.release(instance);
    }

    /// Drops all claims.
    pub(crate) fn release_all(&mut self) {
        self.reconciler.release_all();
    }

    /// When to call [`RoutingKeeper::retire`] at the latest.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.reconciler.deadline()
    }

    /// What to poll.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.sockets.as_ref().map(|sockets| sockets.news.as_fd())
    }

    /// Notes that a link or an address has changed: the kernel may have removed routes, or may accept others now.
    pub(crate) fn suspect(&mut self) {
        self.suspect = true;
    }

    /// Takes in the queued notifications. Returns whether there is something to do.
    pub(crate) fn follow(&mut self) -> bool {
        if let Some(sockets) = &mut self.sockets {
            let port = sockets.requests.port();
            self.suspect |= sockets.news.take(port, |ip, length| self.reconciler.has_route_to(ip, length));
        }
        let is_over = self.deadline().is_some_and(|deadline| deadline < clock::now());
        (self.suspect || is_over) && !self.reconciler.is_idle()
    }

    /// Whether nothing is to be added or removed.
    pub(crate) fn is_settled(&self) -> bool {
        let now = clock::now();
        self.reconciler.is_idle()
            || !self.suspect && self.reconciler.additions(now).is_empty() && self.reconciler.removals(now).is_empty()
    }

    /// Removes what is not wanted any more. To be called before the addresses go.
    pub(crate) fn retire(&mut self) {
        let steps = self.reconciler.removals(clock::now());
        if steps.iter().any(|step| matches!(step, Step::Remove { item: RoutingItem::Route(_) })) {
            let held = self.sockets().and_then(|sockets| sockets.requests.our_routes().ok());
            self.held = held.map(|held| held.into_iter().map(|held| (held.id, held.removal)).collect());
        }
        for step in steps {
            self.carry_out(step, &|_| None);
        }
        self.held = None;
    }

    /// Adds what is wanted. To be called after the addresses are there. `index_of` finds interfaces by name.
    pub(crate) fn settle(&mut self, index_of: &dyn Fn(&str) -> Option<u32>) {
        self.retire();
        let suspect = std::mem::take(&mut self.suspect);
        if self.reconciler.is_idle() {
            return;
        }
        if suspect {
            self.verify();
            self.reconciler.retry();
        }
        for _ in 0..ROUNDS {
            let steps = self.reconciler.additions(clock::now());
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.carry_out(step, index_of);
            }
        }
    }

    /// Reads which of ours the kernel still has.
    fn verify(&mut self) {
        let Some(sockets) = self.sockets() else { return };
        let read = sockets.requests.our_routes().and_then(|routes| Ok((routes, sockets.requests.our_rules()?)));
        match read {
            Ok((routes, rules)) => {
                let ids: BTreeSet<_> = routes.into_iter().map(|route| route.id).collect();
                self.reconciler.saw(&ids, &rules);
            }
            Err(error) => {
                tracing::warn!(%error, "could not read the routes and rules");
                self.reopen(&error);
                self.suspect = true;
            }
        }
    }

    fn sockets(&mut self) -> Option<&mut Sockets> {
        if self.sockets.is_none() {
            match Sockets::open() {
                Ok(sockets) => self.sockets = Some(sockets),
                Err(error) => tracing::error!(%error, "could not open the sockets for routes and rules"),
            }
        }
        self.sockets.as_mut()
    }

    fn reopen(&mut self, error: &io::Error) {
        if RequestSocket::is_broken_by(error) {
            self.sockets = None;
        }
    }

    fn carry_out(&mut self, step: Step, index_of: &dyn Fn(&str) -> Option<u32>) {
        let start = clock::now();
        match self.request(&step, index_of) {
            Ok(()) => self.reconciler.done(step, start),
            Err(error) => self.reconciler.failed(&step, error, start),
        }
    }

    fn request(&mut self, step: &Step, index_of: &dyn Fn(&str) -> Option<u32>) -> Result<(), RoutingError> {
        let (item, order, expires) = match step {
            Step::Add { item, expires } => (item, RouteOrder::Add, *expires),
            Step::Replace { item, expires, .. } => (item, RouteOrder::Replace, *expires),
            Step::Renew { item, expires } => (item, RouteOrder::Renew, Some(*expires)),
            Step::Remove { item } => (item, RouteOrder::Remove, None),
        };
        self.sockets();
        let Some(Sockets { requests, .. }) = &mut self.sockets else {
            return Err(RoutingError::Kernel(Arc::new(io::ErrorKind::NotConnected.into())));
        };
        let result = match (item, order) {
            (RoutingItem::Route(route), RouteOrder::Remove) => {
                // By what identifies it: its next hop may be on an interface that is gone, and with it the route.
                match self.held.as_mut().map(|held| held.remove(&route.id())) {
                    Some(Some(removal)) => requests.change_route(order, removal),
                    Some(None) => Ok(()),
                    None => Err(Errno::ETIMEDOUT.into()),
                }
            }
            (RoutingItem::Route(route), order) => match route_message(route, index_of, expires) {
                Ok(message) => requests.change_route(order, message),
                Err(name) => return Err(RoutingError::NoInterface(name.into())),
            },
            (RoutingItem::Rule(rule), RouteOrder::Remove) => requests.remove_rule(rule),
            (RoutingItem::Rule(rule), _) => requests.add_rule(rule),
        };
        match result {
            Ok(()) => Ok(()),
            Err(error) if order == RouteOrder::Remove && is_gone(&error) => Ok(()),
            Err(error) if order == RouteOrder::Renew && error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            Err(error) => {
                self.reopen(&error);
                self.suspect |= RequestSocket::is_broken_by(&error);
                Err(RoutingError::of(error, item))
            }
        }
    }

    /// The reports about instances of which something has changed since the last call.
    pub(crate) fn take_reports(&mut self) -> Vec<Report> {
        let mut changes = self.reconciler.take_changes();
        if !self.reconciler.has_any() && changes.is_empty() {
            return Vec::new();
        }
        let mut reports = Vec::new();
        for (instance, states) in self.reconciler.states() {
            let changes = changes.remove(&instance).unwrap_or_default();
            if changes.is_empty() && self.reported.get(&instance) == Some(&states) {
                continue;
            }
            self.reported.insert(instance.clone(), states.clone());
            reports.push(Report::Routing { instance, states, changes });
        }
        // Changes of instances that a reload has removed.
        let gone = changes.into_iter();
        reports.extend(gone.map(|(instance, changes)| Report::Routing { instance, states: Vec::new(), changes }));
        reports
    }
}

/// Whether a removal failed because there was nothing to remove.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENOENT | libc::ENODEV))
}
