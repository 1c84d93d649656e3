//! Warnings and notes about what is allowed but probably not intended.

use std::collections::BTreeMap;
use std::path::Path;

use vouchd_wire::{Priority, TTL};

use crate::errors::Problem;
use crate::model::{Check, Daemon, HmacMode, Instance};
use crate::reader::Problems;
use crate::source::Place;
use crate::{CheckPlaces, InstancePlaces};

/// Warns of a configuration without checks and instances.
pub(super) fn empty_configuration(main: &Path, checks: &[Check], instances: &[Instance], problems: &mut Problems) {
    if checks.is_empty() && instances.is_empty() {
        problems.warnings.push(Problem {
            place: None,
            subject: main.display().to_string(),
            message: "no file has an [instance.NAME], so vouchd does nothing".to_owned(),
        });
    }
}

pub(super) fn unused_checks(
    checks: &[Check],
    instances: &[Instance],
    checks_at: &BTreeMap<String, CheckPlaces>,
    problems: &mut Problems,
) {
    for check in checks {
        let used = instances.iter().any(|i| i.checks.iter().any(|u| u.check == check.name));
        if let Some(at) = checks_at.get(&check.name).filter(|_| !used) {
            let message = "no instance lists this check: it runs and appears in status, but has no effect";
            problems.warn(at.named.clone(), format!("check.{}", check.name), message);
        }
    }
}

/// Warns of files that checks look at in the directory of the control socket, which systemd empties when the daemon stops.
pub(super) fn files_in_runtime_dir(
    checks: &[Check],
    daemon: &Daemon,
    checks_at: &BTreeMap<String, CheckPlaces>,
    problems: &mut Problems,
) {
    let Some(runtime) = daemon.control.parent().filter(|it| it.starts_with("/run/") && *it != Path::new("/run/"))
    else {
        return;
    };
    for check in checks.iter().filter(|check| check.plugin == "file") {
        let Some(at) = checks_at.get(&check.name) else { continue };
        for ((_, path), given) in check.params.iter().zip(&at.given).filter(|((key, _), _)| key == "path") {
            if Path::new(path).starts_with(runtime) {
                let message = format!(
                    "systemd empties {} whenever vouchd stops, even for a restart: put a file that has to persist into \
                     /var/lib/vouchd",
                    runtime.display()
                );
                problems.warn(given.value.clone(), given.subject.clone(), message);
            }
        }
    }
}

/// Warns of an address that two instances share on different interfaces. On one interface it is an error.
pub(super) fn same_address_elsewhere(
    instances: &[Instance],
    at: &BTreeMap<String, InstancePlaces>,
    problems: &mut Problems,
) {
    for (n, instance) in instances.iter().enumerate() {
        let Some(places) = at.get(&instance.name) else { continue };
        for (address, place) in instance.addresses.iter().zip(&places.addresses) {
            let has_it = |other: &&Instance| {
                other.interface != instance.interface && other.addresses.iter().any(|a| a.ip == address.ip)
            };
            if let Some(other) = instances[..n].iter().find(has_it) {
                let message = format!(
                    "instance {} on {} also has this address: this host would answer for it on both networks",
                    other.name, other.interface
                );
                problems.warn(place.clone(), format!("instance.{}: {}", instance.name, address.ip), message);
            }
        }
    }
}

/// Notes weights that can't change who wins, assuming that the other routers have at most the default priority. The
/// configuration of one router does not say more about the others, so this is no warning.
pub(super) fn weights(instances: &[Instance], at: &BTreeMap<String, InstancePlaces>) -> Vec<Problem> {
    let default = i32::from(Priority::DEFAULT.get());
    let note = |instance: &Instance| {
        let base = i32::from(instance.priority.get());
        let weights = || instance.checks.iter().filter_map(|used| Some(i32::from(i16::from(used.influence.weight?))));
        let least = base + weights().filter(|weight| *weight < 0).sum::<i32>();
        // An owner's weights already give a warning.
        if base == i32::from(Priority::OWNER.get()) || least <= default || weights().next().is_none() {
            return None;
        }
        Some(Problem {
            place: Some(at.get(&instance.name)?.checks.clone()?),
            subject: format!("instance.{}.checks", instance.name),
            message: format!(
                "this router keeps priority {least} even if all its weighted checks fail, so against routers with the default \
                 priority of {default} or less no weight changes who wins. If the others have more than {least}, ignore \
                 this note; if not, use larger weights, or leave a weight out to make that check's failure a hard fault"
            ),
        })
    };
    instances.iter().filter_map(note).collect()
}

/// Notes HMAC that is being rolled out and protects nothing yet, and routed peers without HMAC.
pub(super) fn authentication(instances: &[Instance], at: &BTreeMap<String, InstancePlaces>) -> Vec<Problem> {
    let note = |instance: &Instance| {
        let at = at.get(&instance.name)?;
        let problem = |place: Option<&Place>, key: &str, message: String| {
            Some(Problem { place: Some(place?.clone()), subject: format!("instance.{}.{key}", instance.name), message })
        };
        if let Some(hmac) = &instance.hmac {
            let next = match hmac.mode {
                HmacMode::Require => return None,
                HmacMode::ReceiveOnly => "\"accept\", once every router has at least \"receive\"",
                HmacMode::SendOnly | HmacMode::AcceptEither => "\"require\", once every router sends a trailer",
            };
            let message = format!(
                "this mode is for a roll-out: packets without a trailer are accepted, so HMAC protects nothing yet. The next \
                 mode is {next}; `vouchd status --json` shows for each peer what its advertisements prove"
            );
            return problem(at.auth.as_ref(), "auth", message);
        }
        let peers = instance.unicast.iter().flat_map(|unicast| &unicast.peers).zip(&at.peers);
        let (_, place) = peers.into_iter().find(|(peer, _)| peer.hop_limit < TTL)?;
        let message =
            "with a hop_limit below 255, machines of other networks can send packets in this peer's name; HMAC \
                       (`auth`) prevents it"
                .to_owned();
        problem(Some(place), "unicast.peers", message)
    };
    instances.iter().filter_map(note).collect()
}
