//! What the protocol thread orders from the [`AddressKeeper`](crate::AddressKeeper).

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use vouchd_wire::{Family, Time};

use crate::addresses::attributes::AddressAttributes;
use crate::addresses::lease::Lifetime;
use crate::routing::Routing;
use crate::virtual_mac::VirtualMac;

/// A virtual router: the name of its instance in the configuration (`[instance.NAME]`), and its family. The keeper only
/// hands it back in reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey {
    name: Arc<str>,
    family: Family,
}

impl InstanceKey {
    /// The virtual router of one family of an instance.
    pub fn new(name: &str, family: Family) -> Self {
        Self { name: name.into(), family }
    }

    /// The name of the instance.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The family of the virtual router.
    pub fn family(&self) -> Family {
        self.family
    }
}

/// The IPv4 virtual router of an instance.
impl From<&str> for InstanceKey {
    fn from(name: &str) -> Self {
        Self::new(name, Family::V4)
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A virtual address on its interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The address.
    pub address: IpAddr,
    /// The prefix length, up to 32 or 128; that of a single address unless the kernel shall add a route for the subnet.
    pub prefix: u8,
}

impl VirtualAddress {
    /// Whether the kernel may make it the primary or a secondary address of a subnet. Only IPv4 has these.
    pub(crate) fn is_in_subnet(&self) -> bool {
        is_in_subnet(self.address, self.prefix)
    }
}

/// As [`VirtualAddress::is_in_subnet`].
pub(crate) fn is_in_subnet(address: IpAddr, prefix: u8) -> bool {
    address.is_ipv4() && prefix < 32
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

/// What one instance wants on its interface, whether or not it is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The instance.
    pub instance: InstanceKey,
    /// Its addresses. With a virtual MAC, on its interface.
    pub addresses: Arc<[VirtualAddress]>,
    /// What is said of some of its addresses; the others have the [usual](AddressAttributes::usual) attributes.
    pub attributes: Arc<BTreeMap<VirtualAddress, Arc<AddressAttributes>>>,
    /// The instance owns its addresses (priority 255): copies that the host has of them are announced and never changed.
    pub owner: bool,
    /// The instance takes over copies that are not vouchd's: they are removed while it is not active, and replaced while
    /// it is.
    pub adopt: bool,
    /// Its routes and rules.
    pub routing: Arc<Routing>,
    /// The interface to make for it, with the virtual MAC.
    pub virtual_mac: Option<VirtualMac>,
    /// Accept_Mode: whether this host accepts packets to the addresses. If not, they are dropped; forwarding is untouched.
    pub accept: bool,
    /// How long the instance holds its addresses; `None` while it is not active.
    pub lifetime: Option<Lifetime>,
}

/// An order to the keeper, which carries them out one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressCommand {
    /// Replaces all claims. An address that both the old and the new claims want stays on its interface untouched. An
    /// address that nobody claims any more is removed, also from interfaces that no claim names.
    Configure(Vec<Claim>),
    /// The instance is active: adds its addresses or renews their lifetime. Idempotent.
    Install {
        /// The instance.
        instance: InstanceKey,
        /// Issuing time plus lease, or forever.
        lifetime: Lifetime,
    },
    /// The instance is not active any more: removes its addresses, however late.
    Remove {
        /// The instance.
        instance: InstanceKey,
    },
    /// Announces those addresses of an active instance that are on the interface at that time, by gratuitous ARP or
    /// unsolicited neighbour advertisements.
    Announce {
        /// The instance.
        instance: InstanceKey,
        /// Frames per address, back to back.
        repeat: u32,
        /// The latest time to start: issuing time plus lease.
        not_after: Time,
    },
    /// Sends one ARP request or neighbour solicitation for each of those addresses, to learn who else answers for them. There is no report; the
    /// [`NeighbourWatcher`](crate::NeighbourWatcher) receives the answers.
    Ask {
        /// The instance.
        instance: InstanceKey,
        /// The sender address of the requests, of the addresses' family: the interface's own or the unspecified one. A
        /// virtual one would be an announcement.
        sender: IpAddr,
        /// As for an announcement.
        not_after: Time,
    },
}

impl AddressCommand {
    /// The instance that this command makes heard on its network.
    pub(crate) fn speaks_for(&self) -> Option<&InstanceKey> {
        match self {
            Self::Announce { instance, .. } | Self::Ask { instance, .. } => Some(instance),
            Self::Configure(_) | Self::Install { .. } | Self::Remove { .. } => None,
        }
    }

    /// Whether `of` is no longer active with this command.
    pub(crate) fn ends(&self, of: &InstanceKey) -> bool {
        match self {
            Self::Remove { instance } => instance == of,
            Self::Configure(claims) => !claims.iter().any(|claim| claim.instance == *of && claim.lifetime.is_some()),
            Self::Install { .. } | Self::Announce { .. } | Self::Ask { .. } => false,
        }
    }

    /// Whether the command must be queued even when the queue is full, because later ones build on it.
    pub(crate) fn is_essential(&self) -> bool {
        match self {
            Self::Configure(_) | Self::Remove { .. } => true,
            Self::Install { .. } | Self::Announce { .. } | Self::Ask { .. } => false,
        }
    }
}

/// The command that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// [`AddressCommand::Install`]
    Install,
    /// [`AddressCommand::Announce`]
    Announce,
}

/// Why the keeper did not accept a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The keeper is behind because it waits for the kernel.
    #[error("{capacity} address commands are waiting already: the kernel does not answer")]
    QueueFull {
        /// How many commands may wait.
        capacity: usize,
    },
    /// The keeper's thread has ended.
    #[error("the thread that keeps the addresses has ended")]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_and_a_configuration_without_the_instance_end_its_announcements() {
        let (web, dns) = (InstanceKey::from("web"), InstanceKey::from("dns"));
        let announce = AddressCommand::Announce { instance: web.clone(), repeat: 1, not_after: Time::from_nanos(0) };
        assert_eq!(announce.speaks_for(), Some(&web));
        let remove = AddressCommand::Remove { instance: web.clone() };
        assert_eq!((remove.ends(&web), remove.ends(&dns), remove.speaks_for()), (true, false, None));
        assert!(AddressCommand::Configure(Vec::new()).ends(&web));
        assert!(!announce.ends(&web));
    }
}
