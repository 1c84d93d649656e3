//! `[group.NAME]`

use std::collections::BTreeMap;

use super::Known;
use super::instance::{Placed, check_uses, track};
use crate::hints::nearest;
use crate::model::{Check, Group};
use crate::reader::{Problems, Table, Value};
use crate::source::Place;

/// Reads the groups, and adds the checks and tracked interfaces of each to its instances.
pub(super) fn groups(
    tables: Vec<(String, Table<'_>)>,
    placed: &mut [Placed],
    names: &[String],
    checks: &[Check],
    known: &Known<'_>,
    problems: &mut Problems,
) -> Vec<Group> {
    let mut members: BTreeMap<String, Place> = BTreeMap::new();
    let mut groups = Vec::new();
    for (name, mut table) in tables {
        let listed = table.require("instances", "the names of at least two instances", problems);
        let instances = listed.map(|value| instances(&value, names, known, &mut members, problems)).unwrap_or_default();
        let tracked = table.take("track").map(|value| track(&value, None, problems)).unwrap_or_default();
        let uses = table.take("checks");
        let mut reported = false;
        for member in placed.iter_mut().filter(|placed| instances.contains(&placed.instance.name)) {
            let instance = &mut member.instance;
            // One error is enough for all members.
            let mut again = Problems::default();
            let problems = if std::mem::replace(&mut reported, true) { &mut again } else { &mut *problems };
            for used in uses.iter().flat_map(|v| check_uses(v, instance.priority, checks, known, problems)) {
                if !instance.checks.iter().any(|own| own.check == used.check) {
                    instance.checks.push(used);
                }
            }
            for tracked in &tracked {
                if !instance.track.iter().any(|own| own.interface == tracked.interface) {
                    instance.track.push(tracked.clone());
                }
            }
        }
        let place = table.place();
        let path = table.path().to_owned();
        table.finish(problems);
        let mut priorities: Vec<u8> = placed
            .iter()
            .filter(|placed| instances.contains(&placed.instance.name))
            .map(|placed| placed.instance.priority.get())
            .collect();
        priorities.dedup();
        if priorities.len() > 1 {
            let message = "its instances have different priorities, so who is active depends on what happened before; \
                           expected the same priority in all";
            problems.warn(place, path, message);
        }
        groups.push(Group { name, instances });
    }
    groups
}

fn instances(
    value: &Value<'_>,
    names: &[String],
    known: &Known<'_>,
    members: &mut BTreeMap<String, Place>,
    problems: &mut Problems,
) -> Vec<String> {
    let Some(items) = value.list("a list of names of instances, like [\"inside\", \"outside\"]", problems) else {
        return Vec::new();
    };
    if items.len() < 2 {
        value.error("expected at least two instances: a group of one changes nothing", problems);
    }
    let mut listed = Vec::new();
    for item in items {
        let Some(name) = item.string("the name of an instance", problems) else { continue };
        if !names.iter().any(|known| known == name) {
            if known.all_read {
                let meant = nearest(name, names.iter().map(String::as_str));
                let meant = meant.map(|name| format!(" (did you mean {name:?}?)")).unwrap_or_default();
                item.error(format!("there is no such instance{meant}"), problems);
            }
        } else if let Some(first) = members.get(name) {
            item.error(format!("this instance is in a group already, at {first}; expected it in one group"), problems);
        } else {
            members.insert(name.to_owned(), item.place());
            listed.push(name.to_owned());
        }
    }
    listed
}
