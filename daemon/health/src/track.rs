//! What other interfaces cost an instance: which ones match, whether they are up, and the terms that follow.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use vouchd_wire::Time;

use crate::debounce::Debounced;
use crate::influence::{Effect, Term, TermKind, Weight};

/// The most interfaces that a term names.
const NAMED: usize = 4;

/// Whether an interface can carry packets, whatever its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Switched on and with a carrier.
    Up,
    /// Switched on, without a carrier.
    NoCarrier,
    /// Switched off.
    SwitchedOff,
    /// There is no interface of that name.
    Missing,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Carrier::Up => "up",
            Carrier::NoCarrier => "no carrier",
            Carrier::SwitchedOff => "switched off",
            Carrier::Missing => "does not exist",
        })
    }
}

/// Every interface of the host. `None` until the first report of the kernel.
pub type Carriers = Option<BTreeMap<String, Carrier>>;

/// An interface, or a pattern of names, that an instance tracks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    /// A name, or a pattern with `*` (any characters, also none) and `?` (one character).
    pub pattern: String,
    /// Added while no interface that matches is up (negative) or one is (positive). `None`: the instance is in fault while none
    /// is.
    pub weight: Option<Weight>,
}

/// The interfaces that one instance tracks, with the states that count for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tracking {
    tracked: Vec<Tracked>,
    /// How long a carrier must be there, or gone, before that counts.
    delay: Duration,
    /// The matching interfaces. `None` until the first report of the kernel.
    links: Option<BTreeMap<String, Debounced<Carrier>>>,
}

impl Tracking {
    /// Nothing is known of the interfaces yet.
    pub fn new(tracked: Vec<Tracked>, delay: Duration) -> Self {
        Tracking { tracked, delay, links: None }
    }

    /// The same with other settings, after a reload. Changes that do not count yet go on to wait.
    pub fn with(self, tracked: Vec<Tracked>, delay: Duration) -> Self {
        Tracking { tracked, delay, links: self.links }
    }

    /// Takes the states of all interfaces. An interface that has gone counts at once. Every other change counts once it has
    /// lasted, that of an interface that appears too, since a link that has just come up may not stay.
    pub fn update(&mut self, now: Time, carriers: &Carriers) {
        let Some(carriers) = carriers else { return };
        let matching: Vec<_> = carriers.iter().filter(|(name, _)| self.is_tracked(name)).collect();
        let Some(links) = &mut self.links else {
            let known = matching.into_iter().map(|(name, carrier)| (name.clone(), Debounced::new(*carrier)));
            self.links = Some(known.collect());
            return;
        };
        links.retain(|name, _| carriers.contains_key(name));
        for (name, carrier) in matching {
            let link = links.entry(name.clone()).or_insert_with(|| Debounced::new(Carrier::Missing));
            link.set(now, *carrier, self.delay);
        }
    }

    /// Counts the changes that have lasted. Returns whether there was one.
    pub fn settle(&mut self, now: Time) -> bool {
        let mut changed = false;
        for link in self.links.iter_mut().flat_map(BTreeMap::values_mut) {
            changed |= link.settle(now);
        }
        changed
    }

    /// When to call [`settle`](Self::settle) next.
    pub fn deadline(&self) -> Option<Time> {
        self.links.iter().flat_map(BTreeMap::values).filter_map(Debounced::deadline).min()
    }

    /// One term for each name or pattern.
    pub fn terms(&self) -> Vec<Term> {
        self.tracked.iter().map(|tracked| self.term(tracked)).collect()
    }

    fn is_tracked(&self, name: &str) -> bool {
        self.tracked.iter().any(|tracked| matches(&tracked.pattern, name))
    }

    fn term(&self, tracked: &Tracked) -> Term {
        let term =
            |effect, value, why| Term { name: tracked.pattern.clone(), kind: TermKind::Interface, effect, value, why };
        let Some(links) = &self.links else {
            let effect = if tracked.weight.is_some() { Effect::Add } else { Effect::Waiting };
            return term(effect, 0, "not examined yet".to_owned());
        };
        let matching: Vec<_> = links
            .iter()
            .filter(|(name, _)| matches(&tracked.pattern, name))
            .map(|(name, link)| (name.as_str(), *link.counted()))
            .collect();
        let is_up = matching.iter().any(|(_, carrier)| *carrier == Carrier::Up);
        let why = describe(&tracked.pattern, &matching);
        match (is_up, tracked.weight.map(i16::from)) {
            (true, None) => term(Effect::Add, 0, why),
            (false, None) => term(Effect::HardFault, 0, why),
            (true, Some(weight)) => term(Effect::Add, weight.max(0), why),
            (false, Some(weight)) => term(Effect::Add, weight.min(0), why),
        }
    }
}

fn describe(pattern: &str, matching: &[(&str, Carrier)]) -> String {
    if !is_pattern(pattern) {
        return matching.first().map_or(Carrier::Missing, |(_, carrier)| *carrier).to_string();
    }
    if matching.is_empty() {
        return "no interface matches".to_owned();
    }
    let named = matching.iter().take(NAMED).map(|(name, carrier)| format!("{name} {carrier}"));
    let more = matching.len().saturating_sub(NAMED);
    let more = (more > 0).then(|| format!("{more} more"));
    named.chain(more).collect::<Vec<_>>().join(", ")
}

/// Whether it is a pattern, and not a name.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name matches a pattern with `*` and `?`, or is equal to it.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if the rest does not match: after the last `*`, one more character of the name.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p + 1, n + 1));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            Some(_) | None => match retry {
                Some((after, next)) => {
                    (p, n) = (after, next);
                    retry = Some((after, next + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use Carrier::{Missing, NoCarrier, SwitchedOff, Up};

    const DELAY: Duration = Duration::from_millis(500);

    fn at(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }

    fn carriers(list: &[(&str, Carrier)]) -> Carriers {
        Some(list.iter().map(|(name, carrier)| ((*name).to_owned(), *carrier)).collect())
    }

    fn tracked(pattern: &str, weight: i16) -> Tracked {
        Tracked { pattern: pattern.to_owned(), weight: Weight::try_from(weight).ok() }
    }

    fn tracking(pattern: &str, weight: i16, delay: Duration, links: &[(&str, Carrier)]) -> Tracking {
        let mut tracking = Tracking::new(vec![tracked(pattern, weight)], delay);
        tracking.update(at(0), &carriers(links));
        tracking
    }

    fn effect(tracking: &Tracking) -> (Effect, i16, String) {
        let [term] = <[Term; 1]>::try_from(tracking.terms()).unwrap();
        (term.effect, term.value, term.why)
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let cases = [
            ("eth0", "eth0", true),
            ("eth0", "eth01", false),
            ("eth*", "eth", true),
            ("eth*", "veth0", false),
            ("*", "", true),
            ("*.10", "bond0.10", true),
            ("*.10", "bond0.100", false),
            ("e?h0", "eth0", true),
            ("e?h0", "eh0", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "xxaxxbxx", false),
            ("?*", "", false),
            ("ppp[0]", "ppp0", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn interface_counts_by_its_weight() {
        let cases = [
            (0, Up, (Effect::Add, 0)),
            (0, NoCarrier, (Effect::HardFault, 0)),
            (-30, Up, (Effect::Add, 0)),
            (-30, SwitchedOff, (Effect::Add, -30)),
            (30, Up, (Effect::Add, 30)),
            (30, NoCarrier, (Effect::Add, 0)),
        ];
        for (weight, carrier, expected) in cases {
            let (effect, value, why) = effect(&tracking("eth1", weight, Duration::ZERO, &[("eth1", carrier)]));
            assert_eq!(((effect, value), why), (expected, carrier.to_string()), "{weight} {carrier}");
        }
    }

    #[test]
    fn missing_interface_is_down() {
        let missing = tracking("eth1", 0, Duration::ZERO, &[("eth0", Up)]);
        assert_eq!(effect(&missing), (Effect::HardFault, 0, Missing.to_string()));
        let missing = tracking("ppp*", -30, Duration::ZERO, &[("eth0", Up)]);
        assert_eq!(effect(&missing), (Effect::Add, -30, "no interface matches".to_owned()));
    }

    #[test]
    fn one_interface_of_a_pattern_is_enough() {
        let mut tracking =
            tracking("ppp*", 0, Duration::ZERO, &[("ppp0", NoCarrier), ("ppp1", Up), ("eth0", NoCarrier)]);
        assert_eq!(effect(&tracking), (Effect::Add, 0, "ppp0 no carrier, ppp1 up".to_owned()));
        tracking.update(at(1), &carriers(&[("ppp0", NoCarrier), ("eth0", Up)]));
        assert_eq!(effect(&tracking), (Effect::HardFault, 0, "ppp0 no carrier".to_owned()));
        tracking.update(at(2), &carriers(&[("ppp0", NoCarrier), ("ppp7", Up)]));
        assert_eq!(effect(&tracking).0, Effect::Add);
    }

    #[test]
    fn instance_waits_until_the_interfaces_are_known_unless_they_have_a_weight() {
        let of = |weight| Tracking::new(vec![tracked("eth1", weight)], DELAY);
        assert_eq!(effect(&of(0)).0, Effect::Waiting);
        assert_eq!(effect(&of(-30)), (Effect::Add, 0, "not examined yet".to_owned()));
        let mut waiting = of(0);
        waiting.update(at(0), &None);
        assert_eq!(effect(&waiting).0, Effect::Waiting);
    }

    #[test]
    fn carrier_that_flaps_counts_after_the_delay_and_an_interface_that_goes_at_once() {
        let mut tracking = tracking("eth1", 0, DELAY, &[("eth1", Up)]);
        tracking.update(at(1000), &carriers(&[("eth1", NoCarrier)]));
        assert_eq!((effect(&tracking).0, tracking.deadline()), (Effect::Add, Some(at(1500))));
        tracking.update(at(1400), &carriers(&[("eth1", Up)]));
        assert_eq!((effect(&tracking).0, tracking.deadline()), (Effect::Add, None));
        tracking.update(at(2000), &carriers(&[]));
        assert_eq!(effect(&tracking).0, Effect::HardFault, "gone");
        tracking.update(at(2100), &carriers(&[("eth1", Up)]));
        assert_eq!(effect(&tracking).0, Effect::HardFault, "just created");
        assert!(!tracking.settle(at(2599)));
        assert!(tracking.settle(at(2600)));
        assert_eq!(effect(&tracking).0, Effect::Add);
    }

    #[test]
    fn reload_forgets_no_flap() {
        let mut tracking = tracking("eth1", 0, DELAY, &[("eth1", Up)]);
        tracking.update(at(1000), &carriers(&[("eth1", NoCarrier)]));
        let mut tracking = tracking.with(vec![tracked("eth?", -30)], DELAY);
        tracking.update(at(1100), &carriers(&[("eth1", NoCarrier)]));
        assert_eq!((effect(&tracking).1, tracking.deadline()), (0, Some(at(1500))));
        tracking.settle(at(1500));
        assert_eq!(effect(&tracking).1, -30);
    }
}
