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

    /// As [`Lifetime::seconds`], for an address that has to come back: at least a second until the very end, since a
    /// lease of one second is never whole any more when something happens in it.
    pub(crate) fn seconds_left(self, now: Time) -> Result<u32, Late> {
        match self {
            Self::Until(end) => Late::check(end, now).map(|()| self.seconds(now).unwrap_or(1)),
            Self::Forever { .. } => self.seconds(now),
        }
    }

    /// Whether an address to which the kernel gave `seconds` no later than at `start` stays longer than it may.
    pub(crate) fn is_exceeded(self, start: Time, seconds: u32) -> bool {
        match self {
            // The kernel knows no lease of less than a second.
            Self::Until(end) if seconds <= 1 => start > end + SLACK,
            Self::Until(end) => start + Duration::from_secs(u64::from(seconds)) > end + SLACK,
            Self::Forever { .. } => false,
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

/// What one instance wants on its interface, whether it may have it now or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose claim.
    pub instance: InstanceKey,
    /// Its addresses, all on one interface.
    pub addresses: Arc<[VirtualAddress]>,
    /// It owns them (priority 255): what the host has of them anyway is announced and never touched.
    pub owner: bool,
    /// Copies that are not vouchd's are taken over: removed while the instance is not active, replaced while it is.
    pub adopt: bool,
    /// Until when the instance holds them; `None` while it is not active.
    pub lifetime: Option<Lifetime>,
}

/// An order to the keeper. Orders are carried out one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AddressCommand {
    /// These are all claims, in place of those before. What the old and the new ones have in common stays on its
    /// interface untouched; what nobody claims any more goes, also from interfaces that no claim names.
    Configure(Vec<Claim>),
    /// The instance is active: its addresses are added, or their lifetime is renewed. Idempotent.
    Install {
        /// Whose addresses.
        instance: InstanceKey,
        /// Issuing time plus lease, or forever.
        lifetime: Lifetime,
    },
    /// The instance is not active any more: its addresses go. Carried out however late.
    Remove {
        /// Whose addresses.
        instance: InstanceKey,
    },
    /// Sends gratuitous ARP for those addresses of an active instance that are on the interface at that time.
    Announce {
        /// Whose addresses.
        instance: InstanceKey,
        /// Frames per address, back to back.
        repeat: u32,
        /// Until when this may be carried out: issuing time plus lease.
        not_after: Time,
    },
    /// Sends one ARP request for each of those addresses, to hear who else answers for them. Nothing is reported; the
    /// [`ArpWatcher`](crate::ArpWatcher) hears the answers.
    Ask {
        /// Whose addresses.
        instance: InstanceKey,
        /// Who asks: the interface's own address, or 0.0.0.0. Never a virtual one, which would be an announcement.
        sender: Ipv4Addr,
        /// As for an announcement.
        not_after: Time,
    },
}

impl AddressCommand {
    /// Whether it must not get lost: later orders build on it.
    pub(crate) fn is_essential(&self) -> bool {
        match self {
            Self::Configure(_) | Self::Remove { .. } => true,
            Self::Install { .. } | Self::Announce { .. } | Self::Ask { .. } => false,
        }
    }
}

/// Which of the commands a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandKind {
    /// [`AddressCommand::Install`]
    Install,
    /// [`AddressCommand::Announce`]
    Announce,
}

/// Whether an address is on its interface, and because of whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is not there.
    Absent,
    /// vouchd put it there.
    Ours,
    /// The host has it in the same form (or the instance owns it): used as it is, never touched.
    Host,
}

/// A copy of a virtual address that is not vouchd's: while the instance is not active, this host answers for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCopy {
    /// Where and in which form it is.
    pub at: VirtualAddress,
    /// It is the interface's own address: its primary one, or the only one of its subnet.
    pub own: bool,
}

/// What is known of one address of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct AddressState {
    /// The address in its configured form.
    pub address: VirtualAddress,
    /// Whether it is there.
    pub presence: Presence,
    /// Why it is not there, not renewed, or not gone; until that has healed.
    pub error: Option<AddressError>,
    /// All copies that are not vouchd's, in any form.
    pub copies: Vec<HostCopy>,
}

/// Something that happened to an address, for the log.
#[derive(Debug, Clone, PartialEq)]
pub enum AddressChange {
    /// The instance became active, or was given the address by a reload.
    Added(VirtualAddress),
    /// It went while the instance was active, by nobody's order; it is back, and was announced.
    PutBack(VirtualAddress),
    /// It was not vouchd's and is now.
    Adopted(VirtualAddress),
    /// Removed by order.
    Removed(VirtualAddress),
    /// It was not vouchd's, and was removed because the instance adopts its addresses.
    CopyRemoved(VirtualAddress),
    /// It went by nobody's order: its lease ended, somebody deleted it, or the interface went.
    Lost(VirtualAddress),
    /// The kernel refused to add or renew it.
    InstallFailed(VirtualAddress, AddressError),
    /// The kernel refused to remove it.
    RemoveFailed(VirtualAddress, AddressError),
    /// `promote_secondaries` was 0 on its interface and is 1 now: else the host's addresses of the same subnet would go
    /// with it.
    Promoting(VirtualAddress),
    /// `promote_secondaries` is 0 on its interface and can't be set.
    NotPromoting(VirtualAddress, AddressError),
}

/// What became of a command, or of the kernel's news.
#[derive(Debug)]
pub enum Report {
    /// All that is known of an instance's addresses. Comes after each Configure, after the first Install since then or
    /// since a Remove, after a Remove, and whenever something of it changes; not after an Install that changed nothing.
    Addresses {
        /// Whose addresses.
        instance: InstanceKey,
        /// Whether the instance was active at that time, by the orders so far.
        active: bool,
        /// One for each of them, in order.
        states: Vec<AddressState>,
        /// What happened since the last report.
        changes: Vec<AddressChange>,
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
    /// The time for the command was over: it is not carried out.
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
#[derive(Debug, Clone, thiserror::Error)]
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
    /// Never touched by a router that does not own it.
    #[error("{0} is this host's own address: for that, priority = 255")]
    OwnAddress(VirtualAddress),
    /// Anything else that the kernel answers.
    #[error("the kernel answers: {0}")]
    Kernel(Arc<io::Error>),
}

impl PartialEq for AddressError {
    /// By what they say: that is what a reader can tell apart.
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
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
