//! `checks` of an instance.

use toml::de::DeValue;
use vouchd_wire::Priority;

use super::super::Known;
use super::super::check::influence;
use crate::hints::nearest;
use crate::model::{Check, CheckUse};
use crate::reader::{Problems, Value};

pub(in crate::resolve) fn check_uses(
    value: &Value<'_>,
    priority: Priority,
    checks: &[Check],
    known: &Known<'_>,
    problems: &mut Problems,
) -> Vec<CheckUse> {
    const EXPECTED: &str = "the name of a check, or a table like { name = \"site\", weight = -20 }";
    let mut uses: Vec<CheckUse> = Vec::new();
    let items = value.list("a list of checks, like [\"nginx\"]", problems).unwrap_or_default();
    for item in items {
        let (named, mut overrides) = match item.get() {
            DeValue::Table(_) => {
                let Some(mut table) = item.table(EXPECTED, problems) else { continue };
                let named = table.require("name", "the name of a check", problems);
                (named, Some(table))
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => (Some(item.clone()), None),
        };
        let name = named.as_ref().and_then(|v| v.string(EXPECTED, problems));
        let check = name.and_then(|name| checks.iter().find(|c| c.name == name));
        let inherited = check.map(|c| c.influence).unwrap_or_default();
        let influence = match &mut overrides {
            Some(table) => influence(table, inherited, problems),
            None => inherited,
        };
        if let Some(table) = overrides {
            table.finish(problems);
        }
        let (Some(named), Some(name)) = (named, name) else { continue };
        if !known.checks.contains(&name) {
            if known.all_read {
                named.error(unknown_check(name, &known.checks), problems);
            }
        } else if uses.iter().any(|u| u.check == name) {
            named.error("this check is listed twice; remove one", problems);
        } else {
            if let Some(why) = useless_weight(priority, influence.weight.map(i16::from)) {
                named.warn(why, problems);
            }
            uses.push(CheckUse { check: name.to_owned(), influence });
        }
    }
    uses
}

fn unknown_check(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there is no such check; expected a [check.{name}] in one of the files");
    }
    let meant = nearest(name, known.iter().copied());
    let meant = meant.map(|check| format!(" (did you mean {check:?}?)")).unwrap_or_default();
    format!("there is no such check{meant}; expected one of: {}", known.join(", "))
}

/// Why a weight can never change the effective priority, which is clamped to 1..=254. `None` if it can.
pub(super) fn useless_weight(priority: Priority, weight: Option<i16>) -> Option<&'static str> {
    let weight = weight?;
    match priority.get() {
        255 => Some("its weight has no effect: this instance owns its addresses (priority = 255)"),
        254 if weight > 0 => Some("its weight has no effect: priority = 254 can't be raised"),
        1 if weight < 0 => Some("its weight has no effect: priority = 1 can't be lowered"),
        _ => None,
    }
}
