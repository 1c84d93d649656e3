//! The health of an instance, from the statuses of its checks.

use std::collections::BTreeMap;

use vouchd_config::Instance;
use vouchd_health::{CheckStatus, Effect, Fitness, Influence, Term, fitness};
use vouchd_vrrp::Health;
use vouchd_wire::Priority;

use super::check::CheckState;

/// The checks of an instance.
pub(super) struct InstanceChecks {
    base: u8,
    uses: Vec<(String, Influence)>,
    pub(super) router: (String, u8),
    /// The health that was reported to the protocol last.
    pub(super) reported: Option<Health>,
}

impl InstanceChecks {
    pub(super) fn new(instance: &Instance, reported: Option<Health>) -> Self {
        InstanceChecks {
            router: virtual_router(instance),
            base: instance.priority.get(),
            uses: instance.checks.iter().map(|used| (used.check.clone(), used.influence)).collect(),
            reported,
        }
    }

    pub(super) fn fitness(&self, checks: &BTreeMap<String, CheckState>) -> Fitness {
        fitness(
            self.base,
            self.uses.iter().filter_map(|(name, influence)| {
                let check = checks.get(name)?;
                Some((name.as_str(), check.counter.status(), influence))
            }),
        )
    }

    /// The health to report to the protocol. While a weighted check has no result, its effect is unknown: a reload that adds or
    /// renames such a check does not raise the priority until then.
    pub(super) fn health(&self, checks: &BTreeMap<String, CheckState>) -> Health {
        let unknown: Vec<_> = self.unknown(checks).collect();
        let known = match (&self.reported, unknown.is_empty()) {
            (None, _) | (_, true) => Priority::HIGHEST,
            (Some(Health::Fit { priority, .. } | Health::Waiting { priority, .. }), false) => *priority,
            (Some(Health::Fault { .. }), false) => Priority::LOWEST,
        };
        let mut health = health(self.fitness(checks));
        if let Health::Fit { priority, reason } | Health::Waiting { priority, reason } = &mut health
            && *priority != Priority::OWNER
            && *priority > known
        {
            *priority = known;
            *reason = format!("no higher than before until the first result of {}; {reason}", unknown.join(", "));
        }
        health
    }

    /// The weighted checks that have no result yet.
    pub(super) fn unknown<'a>(&'a self, checks: &'a BTreeMap<String, CheckState>) -> impl Iterator<Item = &'a str> {
        let is_waiting = |name: &String| {
            checks.get(name).is_some_and(|check| matches!(check.counter.status(), CheckStatus::Waiting { .. }))
        };
        let weighted = self.uses.iter().filter(|(_, influence)| influence.weight.is_some());
        weighted.filter(move |(name, _)| is_waiting(name)).map(|(name, _)| name.as_str())
    }

    pub(super) fn terms(&self, checks: &BTreeMap<String, CheckState>) -> Vec<Term> {
        match self.fitness(checks) {
            Fitness::Fit { terms, .. } | Fitness::Fault { terms, .. } | Fitness::Waiting { terms, .. } => terms,
        }
    }
}

/// What identifies a virtual router, whatever its name.
pub(super) fn virtual_router(instance: &Instance) -> (String, u8) {
    (instance.interface.clone(), instance.vrid.get())
}

fn health(fitness: Fitness) -> Health {
    match fitness {
        Fitness::Waiting { checks, priority, terms } => {
            let why = |check: &String| {
                let term = terms.iter().find(|term| term.check == *check);
                format!("{check} ({})", term.map_or("", |term| &term.why))
            };
            let checks: Vec<_> = checks.iter().map(why).collect();
            Health::Waiting {
                reason: format!("waits for the first result of {}", checks.join(", ")),
                priority: Priority::new(priority),
            }
        }
        Fitness::Fit { priority, terms } => {
            let reasons: Vec<_> = terms
                .iter()
                .filter(|term| term.effect != Effect::Add || term.value != 0)
                .map(Term::to_string)
                .collect();
            Health::Fit {
                priority: Priority::new(priority),
                reason: if reasons.is_empty() { "all checks pass".to_owned() } else { reasons.join("; ") },
            }
        }
        Fitness::Fault { reason, .. } => Health::Fault { reason },
    }
}
