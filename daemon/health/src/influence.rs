//! What the standings of an instance's checks do to it.

use serde::{Deserialize, Serialize};

use crate::counter::Standing;
use crate::report::Verdict;

/// What a failing (negative) or passing (positive) check adds to the priority: -253..=253, not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct Weight(i16);

/// A weight out of range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidWeight(pub i16);

impl std::fmt::Display for InvalidWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "weight {}: expected -253 to 253, and not 0 (leave it out for a hard fault)", self.0)
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

/// What an error of the check does: it is never a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The effective priority is 1 while it lasts: never before a router whose checks work, yet never dark.
    #[default]
    LastResort,
    /// As if the check had failed.
    Fail,
    /// As if the last verdict still held; without one, like `LastResort`.
    Hold,
}

/// What the operator decided that a check costs an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Influence {
    /// None: a failure is a hard fault.
    pub weight: Option<Weight>,
    /// Added on `warn`. Zero or negative.
    pub warn_weight: i16,
    /// The range in which the plugin's own number counts. None: not at all.
    pub adjust: Option<(i16, i16)>,
    pub on_error: OnError,
}

/// One check's part in an instance's priority.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    pub check: String,
    /// Added to the base priority.
    pub value: i16,
    /// In words: the verdict and what made it count.
    pub why: String,
}

/// What an instance is fit for.
#[derive(Debug, Clone, PartialEq)]
pub enum Fitness {
    /// The first result of these checks, each of which could be a hard fault, is not there yet.
    Waiting { checks: Vec<String> },
    /// May take part in elections with this priority.
    Fit { priority: u8, terms: Vec<Term> },
    /// Must not be active.
    Fault { reason: String, terms: Vec<Term> },
}

/// The priority of a router that owns the address (RFC 9568 section 5.2.4): checks don't change it.
const OWNER: u8 = 255;

enum Effect {
    Waiting,
    Add(i32),
    LastResort,
    HardFault,
}

/// The fitness of an instance with base priority `base` (1..=255): a pure function of its checks' standings.
///
/// `clamp(base + sum of the terms, 1, 254)`; an owner (255) keeps its 255. A hard fault beats everything, then an error
/// that makes the router the last resort (priority 1).
pub fn fitness<'a>(base: u8, checks: impl IntoIterator<Item = (&'a str, &'a Standing, &'a Influence)>) -> Fitness {
    let mut terms = Vec::new();
    let mut waiting = Vec::new();
    let mut fault: Option<String> = None;
    let mut last_resort = false;
    let mut sum = i32::from(base);
    for (name, standing, influence) in checks {
        let why = describe(standing);
        let value = match effect(standing, influence) {
            Effect::Waiting => {
                waiting.push(name.to_owned());
                0
            }
            Effect::Add(n) => n,
            Effect::LastResort => {
                last_resort = true;
                0
            }
            Effect::HardFault => {
                fault.get_or_insert_with(|| format!("check {name}: {why}"));
                0
            }
        };
        sum += value;
        // Two terms of -253..=253 each (weight and adjust), so it fits.
        terms.push(Term { check: name.to_owned(), value: value as i16, why });
    }
    if let Some(reason) = fault {
        return Fitness::Fault { reason, terms };
    }
    if !waiting.is_empty() {
        return Fitness::Waiting { checks: waiting };
    }
    let priority = match (base, last_resort) {
        (OWNER, _) => OWNER,
        (_, true) => 1,
        (_, false) => sum.clamp(1, 254) as u8,
    };
    Fitness::Fit { priority, terms }
}

fn effect(standing: &Standing, influence: &Influence) -> Effect {
    match standing {
        // A weighted check counts as passing nothing and costing nothing until it is known.
        Standing::Waiting if influence.weight.is_some() => Effect::Add(0),
        Standing::Waiting => Effect::Waiting,
        Standing::Verdict { verdict, adjust, .. } => verdict_effect(*verdict, *adjust, influence),
        Standing::Error { last, .. } => match (influence.on_error, last) {
            (OnError::LastResort, _) | (OnError::Hold, None) => Effect::LastResort,
            (OnError::Fail, _) => verdict_effect(Verdict::Fail, None, influence),
            (OnError::Hold, Some((verdict, adjust))) => verdict_effect(*verdict, *adjust, influence),
        },
    }
}

fn verdict_effect(verdict: Verdict, adjust: Option<i16>, influence: &Influence) -> Effect {
    let weight = influence.weight.map_or(0, |w| i32::from(w.0));
    let warn = i32::from(influence.warn_weight);
    let own = match (adjust, influence.adjust) {
        (Some(wish), Some((low, high))) => i32::from(wish.clamp(low, high)),
        (Some(_), None) | (None, _) => 0,
    };
    match verdict {
        Verdict::Pass => Effect::Add(weight.max(0) + own),
        Verdict::Warn => Effect::Add(weight.max(0) + warn + own),
        Verdict::Fail if influence.weight.is_none() => Effect::HardFault,
        Verdict::Fail => Effect::Add(weight.min(0) + own),
        Verdict::Fault => Effect::HardFault,
    }
}

fn describe(standing: &Standing) -> String {
    match standing {
        Standing::Waiting => "no result yet".to_owned(),
        Standing::Verdict { verdict, message, .. } if message.is_empty() => verdict.to_string(),
        Standing::Verdict { verdict, message, .. } => format!("{verdict}: {message}"),
        Standing::Error { reason, .. } => format!("error: {reason}"),
    }
}
