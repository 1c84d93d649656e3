//! What is reported of routes and rules.

use std::fmt;
use std::io;
use std::sync::Arc;

use vouchd_iproute::{Route, Rule};

/// A route or a rule. Routes come first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutingItem {
    /// A route.
    Route(Route),
    /// A rule.
    Rule(Rule),
}

/// `route 10.0.0.0/8 via 192.0.2.254`
impl fmt::Display for RoutingItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "route {route}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
        }
    }
}

/// The state of one route or rule of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct RoutingState {
    /// As it is configured.
    pub item: RoutingItem,
    /// vouchd has installed it, and it is there.
    pub installed: bool,
    /// Why it is not there, or not removed; `None` as soon as that has healed.
    pub error: Option<RoutingError>,
}

/// Something that happened to a route or rule, for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum RoutingChange {
    /// The instance became active, or a reload gave it the item.
    Added(RoutingItem),
    /// It went with an interface, or somebody removed it; it was added again.
    PutBack(RoutingItem),
    /// It was removed by command.
    Removed(RoutingItem),
    /// The kernel refused to add it.
    InstallFailed(RoutingItem, RoutingError),
    /// The kernel refused to remove it.
    RemoveFailed(RoutingItem, RoutingError),
}

/// Why the kernel did not do what was asked for a route or rule.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RoutingError {
    /// An interface does not exist (any more).
    #[error("interface {0} does not exist")]
    NoInterface(Arc<str>),
    /// Missing privilege.
    #[error("the kernel does not permit it: vouchd needs CAP_NET_ADMIN")]
    NotPermitted,
    /// There is an equal one that is not this daemon's.
    #[error("this host has an equal one that is not this instance's, and keeps it: remove it, or leave this one out")]
    Exists,
    /// The next hop is on no network of this host.
    #[error("the next hop is on no network of this host: check `via` and `dev`, or add `onlink`")]
    NoWay,
    /// The interface is down.
    #[error("the interface is down")]
    Down,
    /// The kernel rejects the values.
    #[error("the kernel rejects it as invalid{}", if *.source_address { ": is `src` an address of this host?" } else { "" })]
    Invalid {
        /// It names a source address, which must be one of the host's.
        source_address: bool,
    },
    /// Any other error of the kernel.
    #[error("the kernel answers: {0}")]
    Kernel(Arc<io::Error>),
}

impl RoutingError {
    pub(super) fn of(error: io::Error, item: &RoutingItem) -> Self {
        match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            Some(libc::EEXIST) => Self::Exists,
            // The interface went after its name was looked up.
            Some(libc::ENODEV) => match item {
                RoutingItem::Route(route) => match route.next_hops.iter().find_map(|hop| hop.interface.as_deref()) {
                    Some(interface) => Self::NoInterface(interface.into()),
                    None => Self::NoWay,
                },
                RoutingItem::Rule(_) => Self::Kernel(Arc::new(error)),
            },
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => Self::NoWay,
            Some(libc::ENETDOWN) => Self::Down,
            Some(libc::EINVAL) => {
                let source_address = matches!(item, RoutingItem::Route(route) if route.source.is_some());
                Self::Invalid { source_address }
            }
            _ => Self::Kernel(Arc::new(error)),
        }
    }
}

impl PartialEq for RoutingError {
    /// By their texts, which are all that a reader can tell apart.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
