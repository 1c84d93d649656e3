//! The nodes, interfaces and addresses of the demo. Addresses are from 192.0.2.0/24 (RFC 5737).

use std::fmt;
use std::net::Ipv4Addr;

use clap::ValueEnum;

/// The address that moves between the nodes.
pub(crate) const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The client's own address.
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub(crate) const PREFIX: u8 = 24;
/// The bridge between client and nodes.
pub(crate) const BRIDGE: &str = "lan";
/// A node's interface, as the node sees it.
pub(crate) const INTERFACE: &str = "eth0";
/// The name of the web server's process, for which the check looks.
pub(crate) const SERVICE: &str = "demo-web";

/// The name of the check.
pub(crate) const CHECK: &str = "web";

/// One of the two routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeId {
    /// The preferred node while its web server runs
    #[value(name = "node-a")]
    A,
    #[value(name = "node-b")]
    B,
}

impl NodeId {
    pub(crate) const ALL: [Self; 2] = [Self::A, Self::B];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "node-a",
            Self::B => "node-b",
        }
    }

    pub(crate) fn priority(self) -> u8 {
        match self {
            Self::A => 100,
            Self::B => 80,
        }
    }

    pub(crate) fn address(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(192, 0, 2, 1),
            Self::B => Ipv4Addr::new(192, 0, 2, 2),
        }
    }

    /// The node of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|node| node.name() == name)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
