//! `routes` and `rules` of an instance: strings in the grammar of ip-route(8) and ip-rule(8).

use vouchd_iproute::{Mistake, Route, Rule};

use crate::reader::{Problems, Value};

/// The most routes or rules of an instance.
const MOST: usize = 10_000;

pub(super) fn routes(value: &Value<'_>, problems: &mut Problems) -> Vec<Route> {
    let example = "10.0.0.0/8 via 192.0.2.254";
    // The kernel keeps one route for each of these.
    let is_same = |a: &Route, b: &Route| a.id() == b.id();
    let twice = "has the same destination, table and metric, and the kernel keeps only one such route; give one of them \
                 another metric, or write one route with several `nexthop`";
    read(value, "routes", example, Route::parse, is_same, twice, problems)
}

pub(super) fn rules(value: &Value<'_>, problems: &mut Problems) -> Vec<Rule> {
    let example = "from 10.0.0.0/8 lookup 100 priority 10";
    read(value, "rules", example, Rule::parse, Rule::eq, "is the same rule; remove one", problems)
}

/// Reads a list of strings. `twice` says of two that are the same what to do.
fn read<T>(
    value: &Value<'_>,
    what: &str,
    example: &str,
    parse: impl Fn(&str) -> Result<T, Mistake>,
    is_same: impl Fn(&T, &T) -> bool,
    twice: &str,
    problems: &mut Problems,
) -> Vec<T> {
    let Some(items) = value.list(&format!("a list of {what}, like [{example:?}]"), problems) else { return Vec::new() };
    if items.len() > MOST {
        value.error(format!("expected at most {MOST} {what}, found {}", items.len()), problems);
        return Vec::new();
    }
    let mut found = Vec::new();
    for item in items {
        let Some(text) = item.string(&format!("a string like {example:?}"), problems) else { continue };
        match parse(text) {
            Ok(new) => {
                if let Some((_, first)) = found.iter().find(|(old, _)| is_same(old, &new)) {
                    item.error(format!("the one at {first} {twice}"), problems);
                } else {
                    found.push((new, item.place()));
                }
            }
            Err(Mistake { span, message }) => problems.error(item.part(span), item.subject(), message),
        }
    }
    found.into_iter().map(|(found, _)| found).collect()
}
