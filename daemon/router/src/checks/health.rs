//! The health of an instance, from the statuses of its checks and of the interfaces that it tracks.

use std::collections::BTreeMap;

use vouchd_config::Instance;
use vouchd_health::{CheckStatus, Effect, Fitness, Influence, Term, TermKind, Tracked, Tracking, Weight, fitness};
use vouchd_vrrp::Health;
use vouchd_wire::Priority;

use super::check::CheckState;

/// The checks of an instance, and the interfaces that it tracks.
pub(super) struct InstanceChecks {
    base: u8,
    uses: Vec<(String, Influence)>,
    pub(super) tracking: Tracking,
    pub(super) router: (String, u8),
    /// The health that was reported to the protocol last.
    pub(super) reported: Option<Health>,
}

impl InstanceChecks {
    /// `before`: the same virtual router under the previous configuration.
    pub(super) fn new(instance: &Instance, before: Option<InstanceChecks>) -> Self {
        let tracked = instance.track.iter().map(|track| Tracked {
            pattern: track.interface.clone(),
            weight: track.weight.and_then(|weight| Weight::try_from(weight).ok()),
        });
        let (tracking, reported) = before.map_or_else(Default::default, |known| (known.tracking, known.reported));
        InstanceChecks {
            router: virtual_router(instance),
            base: instance.priority.get(),
            uses: instance.checks.iter().map(|used| (used.check.clone(), used.influence)).collect(),
            tracking: tracking.with(tracked.collect(), instance.link_delay),
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
            self.tracking.terms(),
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
        Fitness::Waiting { priority, terms } => {
            let waiting = terms.iter().filter(|term| term.effect == Effect::Waiting);
            let waiting: Vec<_> = waiting.map(|term| format!("{} ({})", waits_for(term), term.why)).collect();
            Health::Waiting {
                reason: format!("waits for the first result of {}", waiting.join(", ")),
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

fn waits_for(term: &Term) -> String {
    match term.kind {
        TermKind::Check => term.name.clone(),
        TermKind::Interface => term.subject(),
    }
}
