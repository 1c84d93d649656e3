//! The state in more detail than the RFC's three: what the router is doing in it.

use super::backup::Awaiting;
use super::{Phase, Router};
use crate::status::Why;

/// Declares [`Stage`], the list of all stages and their names from one table.
macro_rules! stages {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What a router is doing in its state: the unit in which simulations count what they have tried.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Stage {
            $($(#[$doc])* $variant,)*
        }

        impl Stage {
            /// Every stage.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

stages! {
    /// Initialize: the link is not known yet.
    Starting = "starting",
    /// Initialize: the link is down.
    LinkDown = "link down",
    /// Initialize: a check has no result yet.
    Waiting = "waiting",
    /// Initialize: a check forbids the addresses.
    Fault = "fault",
    /// Initialize: the kernel refused the addresses.
    Refused = "refused",
    /// Initialize: `startup_delay` is not over.
    Startup = "startup",
    /// Initialize, for good.
    ShutDown = "shut down",
    /// Initialize: an owner waits for the kernel.
    OwnerTrial = "owner trial",
    /// Backup: Active_Down_Timer runs.
    Listening = "listening",
    /// Backup: the active router resigned, and Skew_Time runs.
    Skewing = "skewing",
    /// Backup: a worse router is active, and Active_Down_Timer runs on.
    Preempting = "preempting",
    /// Backup: a worse router is active, and `preempt_delay` runs.
    Delaying = "delaying",
    /// Backup: a worse router took over from the one that this router followed, and Active_Down_Timer runs on.
    Claiming = "claiming",
    /// Backup: it waits for the kernel before it becomes active.
    Trial = "trial",
    /// Active.
    Steady = "steady",
    /// Active: an election that it called is running.
    Electing = "electing",
    /// Active: its priority fell, and it calls an election from time to time.
    Yielding = "yielding",
}

impl Router {
    /// What the router is doing in its state.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Initialize if self.is_in_trial() => Stage::OwnerTrial,
            Phase::Initialize => match self.why {
                Why::LinkDown(_) => Stage::LinkDown,
                Why::HealthWaiting(_) => Stage::Waiting,
                Why::HealthFault(_) => Stage::Fault,
                Why::AddressesFailed(_) => Stage::Refused,
                Why::StartupDelay(_) => Stage::Startup,
                Why::ShutDown => Stage::ShutDown,
                _ => Stage::Starting,
            },
            Phase::Backup(_) if self.is_in_trial() => Stage::Trial,
            Phase::Backup(backup) if backup.delayed.is_some() => Stage::Delaying,
            Phase::Backup(backup) => match backup.awaiting {
                Awaiting::Silence | Awaiting::Ownership => Stage::Listening,
                Awaiting::Resigned { .. } => Stage::Skewing,
                Awaiting::Preemption { .. } => Stage::Preempting,
                Awaiting::Claim { .. } => Stage::Claiming,
            },
            Phase::Active(active) if active.electing => Stage::Electing,
            Phase::Active(active) if active.yielding.is_some() => Stage::Yielding,
            Phase::Active(_) => Stage::Steady,
        }
    }
}
