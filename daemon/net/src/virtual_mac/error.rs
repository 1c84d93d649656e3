//! Why a virtual MAC cannot be used.

use std::io;
use std::sync::Arc;

use super::{Text, VirtualMac};

/// Why the interface of a virtual MAC cannot be made or switched on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VirtualMacError {
    /// An interface of that name exists and is not vouchd's.
    #[error("{0} exists already and is not vouchd's: remove it, or set another virtual_mac.name")]
    NameTaken(Arc<str>),
    /// An interface of that name belongs to another daemon.
    #[error("{0} belongs to another vouchd that runs on this host: set another virtual_mac.name")]
    InUse(Arc<str>),
    /// Another macvlan on the same interface has the MAC address.
    #[error("another macvlan on {parent} has the MAC address {mac}: remove it (ip -d link show type macvlan)")]
    MacTaken {
        /// The interface.
        parent: Arc<str>,
        /// The MAC address.
        mac: String,
    },
    /// The parent can have no macvlan.
    #[error("{0} can have no macvlan: it is a port of a bridge or bond; name the bridge or bond as the interface")]
    ParentBusy(Arc<str>),
    /// The kernel has no macvlan.
    #[error("this kernel has no macvlan (CONFIG_MACVLAN): load the module macvlan")]
    NotSupported,
    /// Missing privilege.
    #[error("the kernel does not permit it: vouchd needs CAP_NET_ADMIN")]
    NotPermitted,
    /// Any other error of the kernel.
    #[error("{what}: the kernel answers: {error}")]
    Kernel {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        error: Arc<io::Error>,
    },
}

impl PartialEq for VirtualMacError {
    /// By their texts, which are all that a reader can tell apart.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl VirtualMacError {
    /// The kernel's answer in the terms of the operator.
    pub(super) fn new(virtual_mac: &VirtualMac, what: &'static str, error: io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EEXIST) => Self::NameTaken(Arc::clone(&virtual_mac.name)),
            Some(libc::EADDRINUSE) => {
                let mac = Text(virtual_mac.mac()).to_string();
                Self::MacTaken { parent: Arc::clone(&virtual_mac.parent), mac }
            }
            Some(libc::EBUSY) => Self::ParentBusy(Arc::clone(&virtual_mac.parent)),
            Some(libc::EOPNOTSUPP) => Self::NotSupported,
            Some(libc::EPERM | libc::EACCES) => Self::NotPermitted,
            _ => Self::Kernel { what, error: Arc::new(error) },
        }
    }
}
