//! Who takes part in the demo and under which addresses (from 192.0.2.0/24, RFC 5737).

use std::fmt;
use std::net::Ipv4Addr;

use clap::ValueEnum;

/// The address that moves between the nodes.
pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 100);
/// The client's own address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
pub const PREFIX: u8 = 24;
/// The bridge between client and nodes.
pub const BRIDGE: &str = "lan";
/// A node's interface, as the node sees it.
pub const INTERFACE: &str = "eth0";
/// Name of the web server's process, which the check looks for.
pub const SERVICE: &str = "demo-web";

/// Name of the check.
pub const CHECK: &str = "web";

/// One of the two routers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NodeId {
    /// Preferred while its web server runs.
    #[value(name = "node-a")]
    A,
    #[value(name = "node-b")]
    B,
}

impl NodeId {
    pub const ALL: [Self; 2] = [Self::A, Self::B];

    pub fn name(self) -> &'static str {
        match self {
            Self::A => "node-a",
            Self::B => "node-b",
        }
    }

    pub fn priority(self) -> u8 {
        match self {
            Self::A => 100,
            Self::B => 80,
        }
    }

    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::A => Ipv4Addr::new(192, 0, 2, 1),
            Self::B => Ipv4Addr::new(192, 0, 2, 2),
        }
    }

    /// The node that calls itself so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|node| node.name() == name)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
