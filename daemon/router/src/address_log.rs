//! What happened to addresses, as lines of the log.

use std::fmt::Display;

use vouchd_net::{AddressChange, VirtualAddress};
use vouchd_vrrp::State;
use vouchd_vrrp::limit::LeftOut;

use super::log::{Line, Subject};

/// The lines about what happened to an instance's addresses, each with its reason and kind for the limit. What comes or
/// goes together is one line.
pub fn lines(name: &str, changes: &[AddressChange], state: State) -> Vec<(&'static str, &'static str, Line)> {
    let line = |level: fn(Subject, String) -> Line, text: String| {
        level(Subject::Instance(name.to_owned()), format!("instance {name}: {text}"))
    };
    let together = [
        ("held", "held", list(changes, |change| matches!(change, AddressChange::Added(_))), "holds"),
        ("held", "given up", list(changes, |change| matches!(change, AddressChange::Removed(_))), "gave up"),
    ];
    let mut lines: Vec<_> = together
        .into_iter()
        .filter_map(|(reason, kind, list, verb)| Some((reason, kind, line(Line::info, format!("{verb} {}", list?)))))
        .collect();
    for change in changes {
        let (reason, level, text): (_, fn(Subject, String) -> Line, _) = match change {
            AddressChange::Added(_) | AddressChange::Removed(_) => continue,
            AddressChange::PutBack(address) => ("put back", Line::info, format!("{address} is back, and announced")),
            AddressChange::Adopted(address) => {
                ("adopted", Line::warn, format!("{address} was there already; it is vouchd's now (adopt)"))
            }
            AddressChange::CopyRemoved(address) => {
                ("adopted", Line::warn, format!("removed {address}, which was not vouchd's (adopt)"))
            }
            AddressChange::Lost(address) => match state {
                State::Initialize | State::Backup => ("gone", Line::info, format!("{address} is gone")),
                State::Active => ("gone", Line::warn, format!("{address} is gone, and not by vouchd: putting it back")),
            },
            AddressChange::InstallFailed(address, error) => {
                ("install", Line::error, format!("{address} could not be installed: {error}"))
            }
            AddressChange::RemoveFailed(address, error) => {
                ("remove", Line::error, format!("{address} could not be removed: {error}; its lease ends it"))
            }
            AddressChange::Promoting(address) => {
                ("promote", Line::warn, promoting(address, "was 0 and is 1 now: else"))
            }
            AddressChange::NotPromoting(address, error) => (
                "promote",
                Line::error,
                promoting(address, &format!("is 0 and can't be set ({error}): set it to 1, else")),
            ),
        };
        lines.push((reason, "", line(level, text)));
    }
    lines
}

/// Of an instance that a reload has removed.
pub fn log_left(name: &str, changes: &[AddressChange]) {
    for (_, _, line) in lines(name, changes, State::Initialize) {
        line.write(LeftOut::default());
    }
}

/// What a copy of a virtual address means that vouchd did not make.
pub fn not_ours(copy: &VirtualAddress, state: State) -> impl Display {
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
        "net.ipv4.conf.{interface}.promote_secondaries {what} addresses of this host would go together with {address}"
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
    (!addresses.is_empty()).then(|| addresses.join(", "))
}
