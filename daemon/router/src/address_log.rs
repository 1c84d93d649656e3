//! Log lines about changes of addresses.

use std::fmt::Display;

use vouchd_net::{AddressChange, InstanceKey, VirtualAddress};
use vouchd_vrrp::State;
use vouchd_vrrp::limit::LeftOut;

use crate::log::{Line, Subject};

/// The lines about changes of an instance's addresses, each with its reason and its state for [`Log::state`]. Addresses that
/// are added or removed together share a line.
///
/// [`Log::state`]: crate::log::Log::state
pub(crate) fn lines(
    subject: &Subject,
    changes: &[AddressChange],
    state: State,
) -> Vec<(&'static str, &'static str, Line)> {
    let together = [
        ("held", "held", list(changes, |change| matches!(change, AddressChange::Added(_))), "holds"),
        ("held", "given up", list(changes, |change| matches!(change, AddressChange::Removed(_))), "gave up"),
    ];
    let mut lines: Vec<_> = together
        .into_iter()
        .filter_map(|(reason, kind, list, verb)| Some((reason, kind, Line::info(subject, format!("{verb} {}", list?)))))
        .collect();
    for change in changes {
        let (reason, level, text): (_, fn(&Subject, String) -> Line, _) = match change {
            AddressChange::Added(_) | AddressChange::Removed(_) => continue,
            AddressChange::PutBack(address) => ("put back", Line::info, format!("{address} is back, and announced")),
            AddressChange::Adopted(address) => (
                "adopted",
                Line::warn,
                format!("{address} was on the interface already; vouchd manages it from now on (adopt)"),
            ),
            AddressChange::CopyRemoved(address) => {
                ("adopted", Line::warn, format!("removed {address}, which was not vouchd's (adopt)"))
            }
            AddressChange::Lost(address) => match state {
                State::Initialize | State::Backup => ("gone", Line::info, format!("{address} is gone")),
                State::Active => {
                    ("gone", Line::warn, format!("{address} was removed by another program: putting it back"))
                }
            },
            AddressChange::InstallFailed(address, error) => {
                ("install", Line::error, format!("could not install {address}: {error}"))
            }
            AddressChange::RemoveFailed(address, error) => (
                "remove",
                Line::error,
                format!("could not remove {address}: {error}; it is removed when its lease ends"),
            ),
            AddressChange::Promoting(address) => {
                ("promote", Line::warn, promoting(address, "was 0, set to 1: otherwise"))
            }
            AddressChange::NotPromoting(address, error) => (
                "promote",
                Line::error,
                promoting(address, &format!("is 0 and could not be set ({error}): set it to 1, otherwise")),
            ),
        };
        lines.push((reason, "", level(subject, text)));
    }
    lines
}

/// Logs the changes of an instance that a reload has removed.
pub(crate) fn log_of_removed(key: &InstanceKey, changes: &[AddressChange]) {
    for (_, _, line) in lines(&Subject::virtual_router(key), changes, State::Initialize) {
        line.write(LeftOut::default());
    }
}

/// Describes a copy of a virtual address that vouchd did not install, and its effect.
pub(crate) fn not_ours(copy: &VirtualAddress, state: State) -> impl Display {
    let VirtualAddress { interface, address, prefix } = copy;
    let effect = match state {
        State::Active => "it stays when vouchd gives the address up",
        State::Backup | State::Initialize => "this host answers for it while a backup",
    };
    format!("{address}/{prefix} is on {interface} and not vouchd's: {effect}")
}

fn promoting(address: &VirtualAddress, what: &str) -> String {
    let interface = &address.interface;
    format!(
        "net.ipv4.conf.{interface}.promote_secondaries {what} addresses of this host would be removed together with {address}"
    )
}

fn list(changes: &[AddressChange], wanted: impl Fn(&AddressChange) -> bool) -> Option<String> {
    let addresses: Vec<_> = changes
        .iter()
        .filter(|change| wanted(change))
        .filter_map(|change| match change {
            AddressChange::Added(address) | AddressChange::Removed(address) => Some(address.to_string()),
            _ => None,
        })
        .collect();
    in_words(&addresses)
}

/// The texts on one line; a long list is cut. `None` if there are none.
pub(crate) fn in_words(texts: &[String]) -> Option<String> {
    const MOST: usize = 20;
    let shown = texts.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(MOST) {
        _ if texts.is_empty() => None,
        0 => Some(shown),
        more => Some(format!("{shown} and {more} more")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_list_is_cut() {
        let texts: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
        assert_eq!(in_words(&[]), None);
        assert_eq!(in_words(&texts[..2]).as_deref(), Some("0, 1"));
        assert!(
            in_words(&texts).is_some_and(|words| words.starts_with("0, 1, ") && words.ends_with("19 and 1980 more"))
        );
    }
}
