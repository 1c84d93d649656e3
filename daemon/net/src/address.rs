//! What the protocol thread tells the [`AddressKeeper`](crate::AddressKeeper), and what it hears back.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Time;

/// By which name the daemon knows a virtual router (`[instance.NAME]`); the keeper only hands it back in reports.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceKey(Arc<str>);

impl InstanceKey {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InstanceKey {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A virtual address on its interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The interface's name.
    pub interface: Arc<str>,
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the prefix, 0..=32; 32 unless the operator wants the kernel to add a route for the subnet.
    pub prefix: u8,
}

impl fmt::Display for VirtualAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on {}", self.address, self.prefix, self.interface)
    }
}

/// How much longer than its lease an address may stay because of the time between giving a command and the kernel's
/// clock starting. Without it, a lease of whole seconds would always lose one of them to a few microseconds.
const SLACK: Duration = Duration::from_millis(100);

/// How long an address stays installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// A lease: the kernel itself drops the address in the last whole second before this time (at most 0.1 s after it,
    /// and up to 0.2 s of the kernel's own), unless it is renewed by another Install.
    /// The kernel's timer stands still while the machine is suspended.
    Until(Time),
    /// Until it is removed. The command is not carried out after `start_before`.
    Forever {
        /// Issuing time plus how long the decision to install may be relied on.
        start_before: Time,
    },
}

impl Lifetime {
    /// The lifetime to give the kernel now, in seconds; `u32::MAX` means forever. Never 0, which the kernel refuses.
    pub(crate) fn seconds(self, now: Time) -> Result<u32, Late> {
        match self {
            Self::Until(end) => {
                let left = (end + SLACK).saturating_since(now).as_secs();
                match u32::try_from(left).unwrap_or(u32::MAX - 1) {
                    0 => Err(Late { by: now.saturating_since(end) }),
                    seconds => Ok(seconds),
                }
            }
            Self::Forever { start_before } => Late::check(start_before, now).map(|()| u32::MAX),
        }
    }
}

/// A command was not carried out since its time was over: acting on it would be acting on stale knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("found too late, {by:?} after its time")]
pub struct Late {
    /// How long after its end the command was found; zero when less than a whole second of a lease was left.
    pub by: Duration,
}

impl Late {
    pub(crate) fn check(not_after: Time, now: Time) -> Result<(), Late> {
        if now > not_after { Err(Late { by: now.saturating_since(not_after) }) } else { Ok(()) }
    }
}

/// An order to the keeper. Orders are carried out one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressCommand {
    /// Adds the addresses, or renews their lifetime. Idempotent.
    Install {
        /// Whose addresses.
        instance: InstanceKey,
        /// All of them.
        addresses: Arc<[VirtualAddress]>,
        /// Issuing time plus lease, or forever.
        lifetime: Lifetime,
    },
    /// Removes the addresses. One that is gone already is a success. Carried out however late.
    Remove {
        /// Whose addresses.
        instance: InstanceKey,
        /// All of them.
        addresses: Arc<[VirtualAddress]>,
    },
    /// Sends gratuitous ARP for those of the addresses that are installed at that time.
    Announce {
        /// Whose addresses.
        instance: InstanceKey,
        /// All of them.
        addresses: Arc<[VirtualAddress]>,
        /// Frames per address, back to back.
        repeat: u32,
        /// Until when this may be carried out: issuing time plus lease.
        not_after: Time,
    },
}

/// Which of the commands a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// [`AddressCommand::Install`]
    Install,
    /// [`AddressCommand::Announce`]
    Announce,
}

/// What became of a command. Each command ends with exactly one of `Installed`, `Removed`, `Announced` and `Late`;
/// failures of single addresses come before it, and the other addresses are served all the same. Only an Install that
/// became late half-way has an `Installed` for the first half before its `Late`.
#[derive(Debug)]
pub enum Report {
    /// The Install is done.
    Installed {
        /// Whose addresses.
        instance: InstanceKey,
        /// Those that were not there before.
        new: Vec<VirtualAddress>,
        /// Those that somebody else had put there, now ours: they got our lifetime and our mark.
        taken_over: Vec<VirtualAddress>,
        /// Those that failed, each told by an `InstallFailed`, or that were not tried any more.
        failed: usize,
    },
    /// One address could not be installed or renewed.
    InstallFailed {
        /// Whose address.
        instance: InstanceKey,
        /// Which.
        address: VirtualAddress,
        /// Why.
        error: AddressError,
    },
    /// The Remove is done.
    Removed {
        /// Whose addresses.
        instance: InstanceKey,
        /// Those that failed; each was told by a `RemoveFailed`.
        failed: usize,
    },
    /// One address could not be removed and is possibly still there.
    RemoveFailed {
        /// Whose address.
        instance: InstanceKey,
        /// Which.
        address: VirtualAddress,
        /// Why.
        error: AddressError,
    },
    /// The Announce is done.
    Announced {
        /// Whose addresses.
        instance: InstanceKey,
        /// Frames sent, over all addresses.
        frames: u32,
    },
    /// One address could not be announced.
    AnnounceFailed {
        /// Whose address.
        instance: InstanceKey,
        /// Which.
        address: VirtualAddress,
        /// Why.
        error: AddressError,
    },
    /// The time for the command was over, and what was left of it is not carried out. An address that was installed
    /// too late, since the kernel took its time, is removed again.
    Late {
        /// Whose command.
        instance: InstanceKey,
        /// Which command.
        command: CommandKind,
        /// How late.
        late: Late,
    },
}

/// Why the kernel did not do what was asked for an address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The interface is not there (any more).
    #[error("interface {0} does not exist")]
    NoInterface(Arc<str>),
    /// The process may not.
    #[error("the kernel does not permit it: vouchd needs {capability}")]
    NotPermitted {
        /// What is missing.
        capability: &'static str,
    },
    /// An address is announced only while this host holds it.
    #[error("it is not installed, so it is not announced")]
    NotInstalled,
    /// Anything else that the kernel answers.
    #[error("the kernel answers: {0}")]
    Kernel(#[source] io::Error),
}

/// The keeper did not accept a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommandRefused {
    /// The keeper is behind: it waits for the kernel.
    #[error("{capacity} address commands are waiting already: the kernel does not answer")]
    QueueFull {
        /// How many commands fit.
        capacity: usize,
    },
    /// The keeper's thread has ended.
    #[error("the thread that keeps the addresses has ended")]
    Stopped,
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Time = Time::from_nanos(1_000_000_000_000);

    #[test]
    fn a_lease_never_ends_more_than_the_slack_after_its_end() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(3));
        for (elapsed_ms, expected) in
            [(0, Ok(3)), (99, Ok(3)), (101, Ok(2)), (1_100, Ok(2)), (1_101, Ok(1)), (2_100, Ok(1))]
        {
            assert_eq!(lifetime.seconds(START + Duration::from_millis(elapsed_ms)), expected, "after {elapsed_ms} ms");
        }
    }

    #[test]
    fn a_lease_with_less_than_a_second_left_is_late() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(3));
        assert_eq!(lifetime.seconds(START + Duration::from_millis(2_101)), Err(Late { by: Duration::ZERO }));
        assert_eq!(
            lifetime.seconds(START + Duration::from_secs(10)),
            Err(Late { by: Duration::from_secs(7) }),
            "a stopped process finds its old command"
        );
    }

    #[test]
    fn an_unlimited_lifetime_still_may_not_start_late() {
        let lifetime = Lifetime::Forever { start_before: START };
        assert_eq!(lifetime.seconds(START), Ok(u32::MAX));
        assert_eq!(lifetime.seconds(START + Duration::from_millis(1)), Err(Late { by: Duration::from_millis(1) }));
    }

    #[test]
    fn a_lease_beyond_the_kernels_range_does_not_become_forever() {
        let lifetime = Lifetime::Until(START + Duration::from_secs(u64::from(u32::MAX) * 2));
        assert_eq!(lifetime.seconds(START), Ok(u32::MAX - 1));
    }
}
