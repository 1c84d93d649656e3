//! What is allowed and probably not meant.

use std::collections::BTreeMap;
use std::path::Path;

use vouchd_wire::Priority;

use crate::errors::Problem;
use crate::model::{Check, Daemon, Instance};
use crate::reader::Problems;
use crate::{CheckPlaces, InstancePlaces};

/// A configuration with nothing in it.
pub(super) fn empty_configuration(main: &Path, checks: &[Check], instances: &[Instance], problems: &mut Problems) {
    if checks.is_empty() && instances.is_empty() {
        problems.warnings.push(Problem {
            place: None,
            subject: main.display().to_string(),
            message: "there is no [instance.NAME] in any of the files, so vouchd does nothing".to_owned(),
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
            let message = "no instance lists this check: it runs and is shown, and decides nothing";
            problems.warn(at.named.clone(), format!("check.{}", check.name), message);
        }
    }
}

/// Files that checks look at in the directory of the control socket, which systemd empties when the daemon stops.
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
                    "systemd empties {} whenever vouchd stops, also for a restart: put a file that has to last into \
                     /var/lib/vouchd",
                    runtime.display()
                );
                problems.warn(given.value.clone(), given.subject.clone(), message);
            }
        }
    }
}

/// On one interface it is an error.
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
                    "instance {} on {} has this address, too: a host answers for it on both networks",
                    other.name, other.interface
                );
                problems.warn(place.clone(), format!("instance.{}: {}", instance.name, address.ip), message);
            }
        }
    }
}

/// Weights that can't change who wins, on an assumption about the other routers: that their priority is the default or less.
/// The configuration of one router says nothing more of the others, so this is a note.
pub(super) fn weights(instances: &[Instance], at: &BTreeMap<String, InstancePlaces>) -> Vec<Problem> {
    let default = i32::from(Priority::DEFAULT.get());
    let note = |instance: &Instance| {
        let base = i32::from(instance.priority.get());
        let weights = || instance.checks.iter().filter_map(|used| Some(i32::from(i16::from(used.influence.weight?))));
        let least = base + weights().filter(|weight| *weight < 0).sum::<i32>();
        // An owner's weights are warned of already.
        if base == i32::from(Priority::OWNER.get()) || least <= default || weights().next().is_none() {
            return None;
        }
        Some(Problem {
            place: Some(at.get(&instance.name)?.checks.clone()?),
            subject: format!("instance.{}.checks", instance.name),
            message: format!(
                "even with all its weighted checks failing this router has {least}: against routers with the default \
                 priority of {default} or less no weight changes who wins. If the others have more than {least}, all is \
                 well; if not, make the weights larger, or leave one out, so that its failure is a hard fault"
            ),
        })
    };
    instances.iter().filter_map(note).collect()
}
