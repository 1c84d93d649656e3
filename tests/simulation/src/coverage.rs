//! Which inputs the simulated routers got in which stage of the state machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use vouchd_vrrp::Stage;

macro_rules! inputs {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The kinds of input that the state machine tells apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// The name in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

inputs! {
    /// The link is up, with the same address.
    LinkUp = "link up",
    /// The link is up, with another address.
    Address = "another address",
    /// The link is down.
    LinkDown = "link down",
    /// Fit, with a higher priority than now.
    Raised = "fit, higher",
    /// Fit, with the same priority.
    Fit = "fit, same",
    /// Fit, with a lower priority.
    Lowered = "fit, lower",
    /// A check has no result yet.
    Waiting = "waiting",
    /// A hard fault.
    Fault = "fault",
    /// An advertisement of higher priority.
    Better = "better router",
    /// One of equal priority and higher address.
    EqualHigher = "equal, higher address",
    /// One of equal priority and lower address.
    EqualLower = "equal, lower address",
    /// One of lower priority.
    Worse = "worse router",
    /// Priority 0 from the router that was active.
    Resigned = "priority 0 of the active",
    /// Priority 0 from another one.
    OtherResigned = "priority 0 of another",
    /// A packet to discard.
    Stray = "discarded packet",
    /// A packet of another virtual router with the same addresses.
    Overheard = "overheard packet",
    /// The timer, before anything is due.
    Early = "timer, early",
    /// The timer, on time.
    Due = "timer, due",
    /// Any input, so late that others may have acted.
    Late = "late by a down interval",
    /// The kernel has the addresses.
    Installed = "addresses installed",
    /// The kernel refused them.
    Refused = "addresses refused",
    /// Shutdown.
    Shutdown = "shutdown",
    /// The wall clock, without HMAC.
    /// An order of its group.
    Group = "order of its group",
    /// A reload without a change.
    ReloadNothing = "reload, no change",
    /// A reload with another priority.
    ReloadPriority = "reload, priority",
    /// A reload that makes it the owner.
    ReloadOwner = "reload, owner",
    /// A reload with another interval.
    ReloadInterval = "reload, interval",
    /// A reload with another Preempt_Mode.
    ReloadPreempt = "reload, preempt",
    /// A reload with other addresses.
    ReloadAddresses = "reload, addresses",
    /// A reload that makes it one of a pair, or no longer.
    ReloadPair = "reload, pair",
    /// A reload with other delays.
    ReloadDelays = "reload, delays",
    /// A reload with another number of adverts in Active_Down_Interval.
    ReloadAdverts = "reload, adverts",
}

/// How often each pair was tried.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    tried: BTreeMap<(Stage, Kind), u64>,
}

impl Coverage {
    pub(crate) fn note(&mut self, stage: Stage, kind: Kind) {
        *self.tried.entry((stage, kind)).or_default() += 1;
    }

    /// Adds what another run tried.
    pub fn add(&mut self, other: &Self) {
        for (pair, count) in &other.tried {
            *self.tried.entry(*pair).or_default() += count;
        }
    }

    /// How often a pair was tried.
    pub fn count(&self, stage: Stage, kind: Kind) -> u64 {
        self.tried.get(&(stage, kind)).copied().unwrap_or(0)
    }

    /// The pairs that can occur and were not tried.
    pub fn untried(&self) -> Vec<(Stage, Kind)> {
        pairs().filter(|(stage, kind)| impossible(*stage, *kind).is_none() && self.count(*stage, *kind) == 0).collect()
    }

    /// The pairs that were tried although they are listed as impossible.
    pub fn surprising(&self) -> Vec<(Stage, Kind)> {
        pairs().filter(|(stage, kind)| impossible(*stage, *kind).is_some() && self.count(*stage, *kind) > 0).collect()
    }

    /// A table with a row for each input and a column for each stage. `-`: can't occur.
    pub fn table(&self) -> String {
        let mut table = format!("{:26}", "");
        for stage in Stage::ALL {
            let _ = write!(table, "{:>13}", stage.name());
        }
        for kind in Kind::ALL {
            let _ = write!(table, "\n{:26}", kind.name());
            for stage in Stage::ALL {
                let cell = match (self.count(stage, kind), impossible(stage, kind)) {
                    (0, Some(_)) => "-".to_owned(),
                    (count, _) => count.to_string(),
                };
                let _ = write!(table, "{cell:>13}");
            }
        }
        table.push('\n');
        for kind in Kind::ALL {
            for stage in Stage::ALL {
                if let Some(reason) = impossible(stage, kind) {
                    let _ = write!(table, "\n{} in {}: {reason}", kind.name(), stage.name());
                }
            }
        }
        table
    }
}

fn pairs() -> impl Iterator<Item = (Stage, Kind)> {
    Stage::ALL.into_iter().flat_map(|stage| Kind::ALL.into_iter().map(move |kind| (stage, kind)))
}

/// Why a pair can't occur.
fn impossible(stage: Stage, kind: Kind) -> Option<&'static str> {
    match (stage, kind) {
        (Stage::Steady | Stage::Electing | Stage::Yielding, Kind::Resigned) => {
            Some("an active router knows of no other active one")
        }
        (Stage::Starting | Stage::LinkDown, Kind::Address | Kind::EqualLower) => {
            Some("without a link a router has no address to compare with")
        }
        (Stage::OwnerTrial, Kind::Raised | Kind::Better) => Some("nothing is higher than the priority of an owner"),
        (Stage::ShutDown, Kind::EqualLower) => Some("its link was reported down before"),
        (
            Stage::Starting
            | Stage::LinkDown
            | Stage::Waiting
            | Stage::Fault
            | Stage::ShutDown
            | Stage::Refused
            | Stage::Startup
            | Stage::OwnerTrial,
            Kind::Late,
        ) => Some("Initialize does not act on what it knows of others"),
        _ => None,
    }
}
