//! What the statuses of an instance's checks do to its priority.

use serde::{Deserialize, Serialize};

use crate::counter::CheckStatus;
use crate::report::Verdict;

/// What a failing (negative) or passing (positive) check adds to the priority: -253..=253, but not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Weight(i16);

/// A weight out of range, with its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidWeight(pub i16);

impl std::fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weight {}: expected -253 to 253, and not 0 (leave it out to make a failure a hard fault)", self.0)
    }
}

impl std::error::Error for InvalidWeight {}

impl TryFrom<i16> for Weight {
    type Error = InvalidWeight;

    fn try_from(value: i16) -> Result<Self, InvalidWeight> {
        if value != 0 && (-253..=253).contains(&value) { Ok(Weight(value)) } else { Err(InvalidWeight(value)) }
    }
}

impl From<Weight> for i16 {
    fn from(weight: Weight) -> i16 {
        weight.0
    }
}

/// What an error of the check does. It never counts as a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The effective priority is 1 during the error: the router yields to every router whose checks work, but serves if no
    /// other one does.
    #[default]
    LastResort,
    /// The error counts as a failure.
    Fail,
    /// The last verdict stays in force; without one, like `LastResort`.
    Hold,
}

/// What a check costs an instance, as configured by the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Influence {
    /// `None`: a failure is a hard fault.
    pub weight: Option<Weight>,
    /// Added on `warn`; -253..=0.
    pub warn_weight: i16,
    /// The range, each end within -253..=253, to which the plugin's `adjust` is clamped. `None`: it is ignored.
    pub adjust: Option<(i16, i16)>,
    /// What an error of the check does.
    pub on_error: OnError,
}

/// How a check affects an instance now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It has no result yet, and the first one could be a hard fault.
    Waiting,
    /// It adds its value (which may be 0) to the priority.
    Add,
    /// It sets the priority to 1.
    LastResort,
    /// It keeps the instance from being active.
    HardFault,
}

/// What a term comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TermKind {
    /// A check.
    Check,
    /// A tracked interface, or a pattern of interfaces.
    Interface,
}

/// The share of one check or tracked interface in an instance's priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// The check's name, the interface's name, or the pattern of names.
    pub name: String,
    /// What it is the name of.
    pub kind: TermKind,
    /// How it affects the instance.
    pub effect: Effect,
    /// Added to the base priority; 0 unless the effect is [`Effect::Add`].
    pub value: i16,
    /// The state of the check or the interface in words.
    pub why: String,
}

impl Term {
    /// Its name with its kind: `check nginx`, `interface eth1`.
    pub fn subject(&self) -> String {
        match self.kind {
            TermKind::Check => format!("check {}", self.name),
            TermKind::Interface => format!("interface {}", self.name),
        }
    }
}

impl std::fmt::Display for Term {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Term { name, kind, effect, value, why } = self;
        let name = match kind {
            TermKind::Check => name,
            TermKind::Interface => &self.subject(),
        };
        match effect {
            Effect::Waiting => write!(f, "{name} has no result yet ({why})"),
            Effect::Add => write!(f, "{name} {value:+} ({why})"),
            Effect::LastResort => write!(f, "{name} makes it the last resort ({why})"),
            Effect::HardFault => write!(f, "{name} is a hard fault ({why})"),
        }
    }
}

/// Whether an instance may be active, and at which priority.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitness {
    /// Terms with [`Effect::Waiting`]: their first result could be a hard fault.
    Waiting {
        /// The priority by the other checks.
        priority: u8,
        /// One for each check and tracked interface.
        terms: Vec<Term>,
    },
    /// The instance may take part in elections.
    Fit {
        /// The effective priority.
        priority: u8,
        /// One for each check and tracked interface.
        terms: Vec<Term>,
    },
    /// The instance must not be active.
    Fault {
        /// Which check or interface is a hard fault, and why.
        reason: String,
        /// One for each check and tracked interface.
        terms: Vec<Term>,
    },
}

/// The priority of a router that owns the address (RFC 9568 section 5.2.4): checks don't change it.
const OWNER: u8 = 255;

/// Computes the fitness of an instance with base priority `base` (1..=255) from the statuses of its checks and the terms of
/// its tracked interfaces.
///
/// The priority is `clamp(base + sum of the terms, 1, 254)`; an owner (255) keeps 255. A hard fault takes precedence over
/// everything else, then an error that makes the router the last resort (priority 1).
pub fn fitness<'a>(
    base: u8,
    checks: impl IntoIterator<Item = (&'a str, &'a CheckStatus, &'a Influence)>,
    interfaces: impl IntoIterator<Item = Term>,
) -> Fitness {
    let checks = checks.into_iter().map(|(name, status, influence)| {
        let (effect, value) = effect(status, influence);
        Term { name: name.to_owned(), kind: TermKind::Check, effect, value, why: describe(status) }
    });
    let terms: Vec<Term> = checks.chain(interfaces).collect();
    let with = |effect| terms.iter().filter(move |term| term.effect == effect);
    if let Some(term) = with(Effect::HardFault).next() {
        let reason = format!("{}: {}", term.subject(), term.why);
        return Fitness::Fault { reason, terms };
    }
    let sum = i32::from(base) + terms.iter().map(|term| i32::from(term.value)).sum::<i32>();
    let last_resort = with(Effect::LastResort).next().is_some();
    let priority = match (base, last_resort) {
        (OWNER, _) => OWNER,
        (_, true) => 1,
        (_, false) => sum.clamp(1, 254) as u8,
    };
    let is_waiting = with(Effect::Waiting).next().is_some();
    if is_waiting { Fitness::Waiting { priority, terms } } else { Fitness::Fit { priority, terms } }
}

fn effect(status: &CheckStatus, influence: &Influence) -> (Effect, i16) {
    match status {
        // A weighted check without a result costs and adds nothing.
        CheckStatus::Waiting { .. } if influence.weight.is_some() => (Effect::Add, 0),
        CheckStatus::Waiting { .. } => (Effect::Waiting, 0),
        CheckStatus::Verdict { verdict, adjust, .. } => verdict_effect(*verdict, *adjust, influence),
        CheckStatus::Error { last, .. } => match (influence.on_error, last) {
            (OnError::LastResort, _) | (OnError::Hold, None) => (Effect::LastResort, 0),
            (OnError::Fail, _) => verdict_effect(Verdict::Fail, None, influence),
            (OnError::Hold, Some((verdict, adjust))) => verdict_effect(*verdict, *adjust, influence),
        },
    }
}

fn verdict_effect(verdict: Verdict, adjust: Option<i16>, influence: &Influence) -> (Effect, i16) {
    let weight = influence.weight.map_or(0, |weight| weight.0);
    // The ranges of weight, warn_weight and adjust (each within -253..=253) keep these sums far from overflow.
    let adjust = match (adjust, influence.adjust) {
        (Some(asked), Some((low, high))) => asked.clamp(low, high),
        (Some(_), None) | (None, _) => 0,
    };
    match verdict {
        Verdict::Pass => (Effect::Add, weight.max(0) + adjust),
        Verdict::Warn => (Effect::Add, weight.max(0) + influence.warn_weight + adjust),
        Verdict::Fail if influence.weight.is_none() => (Effect::HardFault, 0),
        Verdict::Fail => (Effect::Add, weight.min(0) + adjust),
        Verdict::Fault => (Effect::HardFault, 0),
    }
}

fn describe(status: &CheckStatus) -> String {
    match status {
        CheckStatus::Waiting { reason } => reason.clone(),
        CheckStatus::Verdict { verdict, message, .. } if message.is_empty() => verdict.to_string(),
        CheckStatus::Verdict { verdict, message, .. } => format!("{verdict}: {message}"),
        CheckStatus::Error { reason, .. } => format!("error: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(verdict: Verdict) -> CheckStatus {
        CheckStatus::Verdict { verdict, message: String::new(), adjust: None }
    }

    fn waiting() -> CheckStatus {
        CheckStatus::Waiting { reason: "no result yet".to_owned() }
    }

    fn weight(value: i16) -> Influence {
        Influence { weight: Some(Weight::try_from(value).unwrap()), ..Influence::default() }
    }

    fn of(base: u8, checks: &[(CheckStatus, Influence)]) -> Fitness {
        fitness(base, checks.iter().map(|(status, influence)| ("check", status, influence)), [])
    }

    /// The priority, or `None` for a fault; panics if waiting.
    fn priority(base: u8, checks: &[(CheckStatus, Influence)]) -> Option<u8> {
        match of(base, checks) {
            Fitness::Fit { priority, .. } => Some(priority),
            Fitness::Fault { .. } => None,
            Fitness::Waiting { terms, .. } => panic!("waits: {terms:?}"),
        }
    }

    #[test]
    fn verdicts_count_as_documented() {
        use Verdict::{Fail, Fault, Pass, Warn};
        let unset = Influence { warn_weight: -5, ..Influence::default() };
        let negative = Influence { warn_weight: -5, ..weight(-40) };
        let positive = Influence { warn_weight: -5, ..weight(20) };
        let rows = [
            (Pass, unset, Some(100)),
            (Warn, unset, Some(95)),
            (Fail, unset, None),
            (Fault, unset, None),
            (Pass, negative, Some(100)),
            (Warn, negative, Some(95)),
            (Fail, negative, Some(60)),
            (Fault, negative, None),
            (Pass, positive, Some(120)),
            (Warn, positive, Some(115)),
            (Fail, positive, Some(100)),
            (Fault, positive, None),
        ];
        for (seen, influence, expected) in rows {
            assert_eq!(priority(100, &[(verdict(seen), influence)]), expected, "{seen} with {influence:?}");
        }
    }

    #[test]
    fn adjust_counts_only_within_the_operators_range() {
        let wishes = |wish| CheckStatus::Verdict { verdict: Verdict::Pass, message: String::new(), adjust: Some(wish) };
        let allowed = Influence { adjust: Some((-50, 0)), ..Influence::default() };
        assert_eq!(priority(100, &[(wishes(-30), allowed)]), Some(70));
        assert_eq!(priority(100, &[(wishes(-80), allowed)]), Some(50));
        assert_eq!(priority(100, &[(wishes(80), allowed)]), Some(100));
        assert_eq!(priority(100, &[(wishes(-30), Influence::default())]), Some(100));
    }

    #[test]
    fn error_makes_the_router_the_last_resort_unless_on_error_says_otherwise() {
        let error = |last| CheckStatus::Error { reason: "trapped".to_owned(), last };
        let on = |on_error| Influence { on_error, ..weight(-40) };
        let fresh = error(None);
        let failed = error(Some((Verdict::Fail, None)));
        assert_eq!(priority(100, &[(fresh.clone(), on(OnError::LastResort))]), Some(1));
        assert_eq!(priority(100, &[(fresh.clone(), on(OnError::Fail))]), Some(60));
        assert_eq!(priority(100, &[(fresh.clone(), on(OnError::Hold))]), Some(1));
        assert_eq!(priority(100, &[(failed, on(OnError::Hold))]), Some(60));
        let hard = Influence { on_error: OnError::Fail, ..Influence::default() };
        assert_eq!(priority(100, &[(fresh, hard)]), None);
    }

    #[test]
    fn instance_waits_only_for_its_unweighted_checks() {
        let waits = of(100, &[(waiting(), Influence::default())]);
        assert!(matches!(waits, Fitness::Waiting { priority: 100, .. }), "{waits:?}");
        let failing = (verdict(Verdict::Fail), weight(-40));
        let waits = of(100, &[(waiting(), Influence::default()), failing]);
        assert!(matches!(waits, Fitness::Waiting { priority: 60, .. }), "the others count: {waits:?}");
        assert_eq!(priority(100, &[(waiting(), weight(-40))]), Some(100));
    }

    #[test]
    fn hard_fault_takes_precedence_over_a_waiting_check() {
        let checks = [(waiting(), Influence::default()), (verdict(Verdict::Fail), Influence::default())];
        assert_eq!(priority(100, &checks), None);
    }

    #[test]
    fn interfaces_count_beside_the_checks() {
        let term = |effect, value| Term {
            name: "eth1".to_owned(),
            kind: TermKind::Interface,
            effect,
            value,
            why: "no carrier".to_owned(),
        };
        let failing = (verdict(Verdict::Fail), weight(-40));
        let with = |interface| fitness(100, [("web", &failing.0, &failing.1)], [interface]);
        assert!(matches!(with(term(Effect::Add, -30)), Fitness::Fit { priority: 30, .. }));
        assert!(matches!(with(term(Effect::Waiting, 0)), Fitness::Waiting { priority: 60, .. }));
        let Fitness::Fault { reason, .. } = with(term(Effect::HardFault, 0)) else { panic!("no fault") };
        assert_eq!(reason, "interface eth1: no carrier");
        assert_eq!(term(Effect::Add, -30).to_string(), "interface eth1 -30 (no carrier)");
    }

    #[test]
    fn owner_keeps_255_except_in_a_hard_fault() {
        let error = CheckStatus::Error { reason: "trapped".to_owned(), last: None };
        assert_eq!(priority(255, &[(verdict(Verdict::Fail), weight(-40))]), Some(255));
        assert_eq!(priority(255, &[(error, weight(-40))]), Some(255));
        assert_eq!(priority(255, &[(verdict(Verdict::Fail), Influence::default())]), None);
    }

    #[test]
    fn weights_out_of_range_are_rejected() {
        for bad in [0, 254, -254, i16::MAX, i16::MIN] {
            assert_eq!(Weight::try_from(bad), Err(InvalidWeight(bad)));
        }
    }

    proptest::proptest! {
        #[test]
        fn priority_is_the_clamped_sum_in_any_order(base in 1u8..255, weights in proptest::collection::vec((-253i16..=253, proptest::bool::ANY), 0..20)) {
            let checks: Vec<_> = weights
                .into_iter()
                .filter(|(w, _)| *w != 0)
                .map(|(w, passes)| (verdict(if passes { Verdict::Pass } else { Verdict::Fail }), weight(w)))
                .collect();
            let mut reversed = checks.clone();
            reversed.reverse();
            let sum: i32 = checks.iter().map(|(status, influence)| {
                let w = i32::from(i16::from(influence.weight.unwrap()));
                let passes = *status == verdict(Verdict::Pass);
                if passes == (w > 0) { w } else { 0 }
            }).sum();
            let expected = (i32::from(base) + sum).clamp(1, 254) as u8;
            proptest::prop_assert_eq!(priority(base, &checks), Some(expected));
            proptest::prop_assert_eq!(priority(base, &reversed), Some(expected));
        }
    }
}
