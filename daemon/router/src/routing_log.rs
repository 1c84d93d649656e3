//! Log lines about changes of routes and rules.

use vouchd_net::{InstanceKey, RoutingChange};

use crate::address_log::in_words;
use crate::log::{Line, Subject};
use vouchd_vrrp::limit::LeftOut;

/// The lines about changes of an instance's routes and rules, each with its reason and its state for [`Log::state`]. Those
/// that are added or removed together share a line.
///
/// [`Log::state`]: crate::log::Log::state
pub(crate) fn lines(subject: &Subject, changes: &[RoutingChange]) -> Vec<(&'static str, &'static str, Line)> {
    let added = list(changes, |change| match change {
        RoutingChange::Added(item) => Some(item.to_string()),
        _ => None,
    });
    let removed = list(changes, |change| match change {
        RoutingChange::Removed(item) => Some(item.to_string()),
        _ => None,
    });
    let mut lines = Vec::new();
    if let Some(added) = added {
        lines.push(("routing", "installed", Line::info(subject, format!("installed {added}"))));
    }
    if let Some(removed) = removed {
        lines.push(("routing", "removed", Line::info(subject, format!("removed {removed}"))));
    }
    for change in changes {
        let line = match change {
            RoutingChange::Added(_) | RoutingChange::Removed(_) => continue,
            RoutingChange::PutBack(item) => {
                ("routing put back", "", Line::warn(subject, format!("{item} was gone, and is installed again")))
            }
            RoutingChange::InstallFailed(item, error) => {
                ("routing failed", "", Line::error(subject, format!("could not install {item}: {error}")))
            }
            RoutingChange::RemoveFailed(item, error) => {
                ("routing failed", "", Line::error(subject, format!("could not remove {item}: {error}; trying again")))
            }
        };
        lines.push(line);
    }
    lines
}

/// Logs the changes of an instance that a reload has removed.
pub(crate) fn log_of_removed(key: &InstanceKey, changes: &[RoutingChange]) {
    for (_, _, line) in lines(&Subject::virtual_router(key), changes) {
        line.write(LeftOut::default());
    }
}

fn list(changes: &[RoutingChange], of: impl Fn(&RoutingChange) -> Option<String>) -> Option<String> {
    in_words(&changes.iter().filter_map(of).collect::<Vec<_>>())
}
