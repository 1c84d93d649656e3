//! `track` of an instance or a group, and the virtual MAC.

use toml::de::DeValue;
use vouchd_printable::is_unprintable;
use vouchd_wire::Priority;

use super::interface_name;
use super::uses::useless_weight;
use crate::model::{Track, VirtualMac};
use crate::reader::{Problems, Value};

const TRACKED: &str = "the name of an interface, or a pattern with * and ?, of at most 15 characters";

/// Reads a list of interfaces: `"eth1"`, or `{ interface = "ppp*", weight = -20 }`.
///
/// Warns of a weight that has no effect at `priority`.
pub(in crate::resolve) fn track(value: &Value<'_>, priority: Option<Priority>, problems: &mut Problems) -> Vec<Track> {
    let items = value.list("a list of interfaces, like [\"eth1\"]", problems).unwrap_or_default();
    let mut tracked: Vec<Track> = Vec::new();
    for item in items {
        let Some(track) = one(&item, problems) else { continue };
        if tracked.iter().any(|other| other.interface == track.interface) {
            item.error("this interface is listed twice; remove one", problems);
        } else {
            if let Some(why) = priority.and_then(|priority| useless_weight(priority, track.weight)) {
                item.warn(why, problems);
            }
            tracked.push(track);
        }
    }
    tracked
}

fn one(item: &Value<'_>, problems: &mut Problems) -> Option<Track> {
    let DeValue::Table(_) = item.get() else {
        return Some(Track { interface: pattern(item, problems)?, weight: None });
    };
    let mut table = item.table(TRACKED, problems)?;
    let interface = table.require("interface", TRACKED, problems);
    let interface = interface.and_then(|value| pattern(&value, problems));
    let note = ", and not 0: leave weight out to make it a hard fault that the interface is down";
    let weight = table.take("weight").and_then(|value| {
        let weight = value.integer(-253..=253, note, problems)?;
        if weight == 0 {
            value.error(format!("expected a whole number from -253 to 253{note}"), problems);
        }
        i16::try_from(weight).ok()
    });
    table.finish(problems);
    Some(Track { interface: interface?, weight })
}

fn pattern(value: &Value<'_>, problems: &mut Problems) -> Option<String> {
    let text = value.string(TRACKED, problems)?;
    let valid = (1..=15).contains(&text.len())
        && !matches!(text, "." | "..")
        && !text.chars().any(|c| matches!(c, '/' | ':') || c.is_whitespace() || is_unprintable(c));
    if !valid {
        value.error(format!("expected {TRACKED}"), problems);
    }
    valid.then(|| text.to_owned())
}

/// Reads `virtual_mac`: true, false, or `{ name = "vrrp55" }`.
pub(super) fn virtual_mac(value: &Value<'_>, problems: &mut Problems) -> Option<VirtualMac> {
    match value.get() {
        DeValue::Table(_) => {
            let mut table = value.table("true, or a table like { name = \"vrrp55\" }", problems)?;
            let name = table.take("name").and_then(|value| interface_name(&value, problems));
            table.finish(problems);
            Some(VirtualMac { name })
        }
        _ => value.boolean(problems)?.then_some(VirtualMac { name: None }),
    }
}
