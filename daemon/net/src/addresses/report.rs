//! What the [`AddressKeeper`](crate::AddressKeeper) reports: the state of addresses, changes, and failures.

use std::io;
use std::sync::Arc;

use crate::addresses::command::{CommandKind, InstanceKey, VirtualAddress};
use crate::addresses::lease::Late;
use crate::routing::{RoutingChange, RoutingState};
use crate::virtual_mac::VirtualMacState;

/// Whether an address is on its interface, and who put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not there.
    Absent,
    /// vouchd put it there.
    Ours,
    /// The host has it with the same prefix, or the instance owns it: used and never changed.
    Host,
}

/// A copy of a virtual address that is not vouchd's. While the instance is not active, this host answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCopy {
    /// The copy with its interface and prefix.
    pub at: VirtualAddress,
    /// It is the interface's own address: its primary one, or the only one of its subnet.
    pub own: bool,
}

/// The state of one address of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct AddressState {
    /// The address as it is configured.
    pub address: VirtualAddress,
    /// Whether it is there.
    pub presence: Presence,
    /// Why it is not there, not renewed, or not removed; `None` as soon as that has healed.
    pub error: Option<AddressError>,
    /// All copies that are not vouchd's, with any prefix.
    pub copies: Vec<HostCopy>,
}

/// Something that happened to an address, for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum AddressChange {
    /// The instance became active, or a reload gave it the address.
    Added(VirtualAddress),
    /// Somebody removed it while the instance was active; it was added again and announced.
    PutBack(VirtualAddress),
    /// It was not vouchd's and is now.
    Adopted(VirtualAddress),
    /// It was removed by command.
    Removed(VirtualAddress),
    /// It was not vouchd's, and was removed because the instance adopts its addresses.
    CopyRemoved(VirtualAddress),
    /// It went without a command: its lease ended, somebody deleted it, or the interface went.
    Lost(VirtualAddress),
    /// The kernel refused to add or renew it.
    InstallFailed(VirtualAddress, AddressError),
    /// The kernel refused to remove it.
    RemoveFailed(VirtualAddress, AddressError),
    /// `promote_secondaries` was 0 on its interface and is 1 now. Otherwise the host's addresses of the same subnet
    /// would be removed with it.
    Promoting(VirtualAddress),
    /// `promote_secondaries` is 0 on its interface and cannot be set.
    NotPromoting(VirtualAddress, AddressError),
}

/// The result of a command, or news from the kernel.
#[derive(Debug)]
pub enum Report {
    /// The state of all addresses of an instance. Sent after each Configure, after the first Install since then or since
    /// a Remove, after a Remove, and whenever a state changes; not after an Install that changed nothing.
    Addresses {
        /// The instance.
        instance: InstanceKey,
        /// Whether the instance was active at that time, by the commands so far.
        active: bool,
        /// One for each address, in order.
        states: Vec<AddressState>,
        /// What happened since the last report.
        changes: Vec<AddressChange>,
    },
    /// The state of all routes and rules of an instance that has any. Sent after each Configure and whenever a state
    /// changes.
    Routing {
        /// The instance.
        instance: InstanceKey,
        /// One for each route, in order, and then one for each rule.
        states: Vec<RoutingState>,
        /// What happened since the last report.
        changes: Vec<RoutingChange>,
    },
    /// The Announce is done.
    Announced {
        /// The instance.
        instance: InstanceKey,
        /// Frames sent, over all addresses.
        frames: u32,
    },
    /// One address could not be announced.
    AnnounceFailed {
        /// The instance.
        instance: InstanceKey,
        /// The address.
        address: VirtualAddress,
        /// The reason.
        error: AddressError,
    },
    /// The state of an instance's virtual MAC. Sent after each Configure, and whenever it changes.
    VirtualMac {
        /// The instance.
        instance: InstanceKey,
        /// The state.
        state: VirtualMacState,
    },
    /// Whether packets to the addresses of an instance with `accept` off are dropped. Sent after each Configure, and whenever
    /// it changes.
    Dropping {
        /// The instance.
        instance: InstanceKey,
        /// Why they are accepted all the same.
        error: Option<AddressError>,
    },
    /// The time for the command was over: it is not carried out.
    Late {
        /// The instance.
        instance: InstanceKey,
        /// The command.
        command: CommandKind,
        /// How late.
        late: Late,
    },
}

/// Why the kernel did not do what was asked for an address.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AddressError {
    /// The interface does not exist (any more).
    #[error("interface {0} does not exist")]
    NoInterface(Arc<str>),
    /// The interface does not take part in IPv6.
    #[error("IPv6 is off on {0}: set net.ipv6.conf.{0}.disable_ipv6 to 0")]
    NoIpv6(Arc<str>),
    /// Missing privilege.
    #[error("the kernel does not permit it: vouchd needs {capability}")]
    NotPermitted {
        /// The missing capability.
        capability: &'static str,
    },
    /// An address is announced only while this host holds it.
    #[error("it is not installed, so it is not announced")]
    NotInstalled,
    /// The host's own address, which only its owner may serve.
    #[error("{0} is this host's own address: to make this router its owner, set priority = 255")]
    OwnAddress(VirtualAddress),
    /// Packets cannot be dropped.
    #[error("this kernel has no nf_tables with owned tables (Linux 5.12, CONFIG_NF_TABLES_INET)")]
    NoFilter,
    /// Any other error of the kernel.
    #[error("the kernel answers: {0}")]
    Kernel(Arc<io::Error>),
}

impl PartialEq for AddressError {
    /// By their texts, which are all that a reader can tell apart.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}
