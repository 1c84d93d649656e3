//! `vouchd explain`: why an instance is in its state, its priority term by term, and who would win.

use std::time::SystemTime;

use vouchd_health::{Effect, TermKind};

use super::ago::when;
use super::answers;
use super::judge::copied;
use super::peers;
use vouchd_console::table::indented;
use vouchd_ipc::status::{Active, Check, Instance, Status};

/// In the order of an operator's questions: which state, since when, why, with which priority, against which router, and
/// what would change it.
pub(crate) fn explanation(instance: &Instance, status: &Status, now: SystemTime) -> String {
    let Instance { interface, virtual_router_id, state, reason, since, priority, .. } = instance;
    let name = instance.title(&status.instances);
    let since = when(since, now);
    let mut out = indented(
        &format!("{name} is {state} on {interface} (virtual router {virtual_router_id}) since {since}: {reason}"),
        0,
    );
    let mut line = |text: &str| out += &indented(text, 2);
    line(&format!("base priority {}", priority.base));
    for term in &priority.terms {
        line(&term.to_string());
    }
    if let Some(lowered) = instance.group.as_ref().and_then(|group| group.lowers.as_ref()) {
        line(&format!("-{} for the group, because of {}: {}", lowered.by, lowered.member, lowered.reason));
    }
    match priority.effective {
        Some(255) => line("= 255: it owns the addresses, so checks don't change its priority"),
        Some(effective) => {
            let last_resort = priority.terms.iter().any(|term| term.effect == Effect::LastResort);
            let note = if last_resort { " (the last resort: it serves only if no other router can)" } else { "" };
            line(&format!("= effective priority {effective}{note}"));
        }
        None => line("= takes no part in elections"),
    }
    line(&election(instance));
    if let Some(group) = &instance.group {
        line(&format!("All members of the group {} are active, or none: {}.", group.name, group.members.join(", ")));
    }
    match instance.pair.as_deref() {
        Some("instant") => line("One of two routers: hand-over is instant when the active one resigns."),
        Some(off) => line(&format!("One of two routers, as configured, but instant hand-over is {off}.")),
        None => {}
    }
    peers::lines(instance, true, now).iter().for_each(|peer| line(peer));
    for term in priority.terms.iter().filter(|term| term.effect != Effect::Add || term.value != 0) {
        let is_it = |check: &&Check| term.kind == TermKind::Check && check.name == term.name;
        if let Some(check) = status.checks.iter().find(is_it) {
            line(&format!("check {} is {} since {}", check.name, check.verdict, when(&check.since, now)));
        }
    }
    for address in &instance.addresses {
        if let Some(error) = &address.error {
            line(&format!("{}: {error}", address.address));
        }
        for copy in &address.copies {
            line(&copied(copy, instance));
        }
    }
    answers::all(instance, now).iter().for_each(|answers| line(answers));
    if let Some(error) = &instance.advertisements.send_error {
        line(&format!("it can't send advertisements: {error}"));
    }
    out
}

/// Who would win, and what it takes to change that.
fn election(instance: &Instance) -> String {
    match (instance.state.as_str(), instance.priority.effective, &instance.active) {
        ("active", Some(255), _) => "No router wins against the owner of the addresses.".to_owned(),
        ("active", Some(own), _) => {
            let this = instance.source.as_deref().map_or_else(String::new, |own| format!(" (this one has {own})"));
            format!(
                "A router with a priority over {own} takes over if it preempts; of two active ones with {own} the higher \
                 address wins{this}. Backups are silent, so it is not known which of them would take over."
            )
        }
        ("backup", Some(own), Some(active)) => against(own, active, instance),
        (_, Some(_), None) => "No active router has been heard: it takes over when its down interval ends.".to_owned(),
        (_, None, _) => obstacle(instance),
        (_, Some(_), Some(_)) => String::new(),
    }
}

/// A backup that knows of an active router.
fn against(own: u8, active: &Active, instance: &Instance) -> String {
    let Active { address, priority, .. } = active;
    if own > *priority && instance.preempt {
        return format!(
            "{own} against {priority}: it wins against {address}, and takes over when its down interval ends."
        );
    }
    if own > *priority {
        return format!(
            "{own} against {priority}: it would win against {address}, but preempt = false: it takes over when that \
             router fails or yields."
        );
    }
    if own < *priority {
        return format!(
            "{own} against {priority}: {address} wins; this router takes over when that one fails or yields."
        );
    }
    match higher(instance.source.as_deref(), address) {
        // RFC 9568 section 6.4.2: with equal priorities a backup stays backup. The address decides only between active routers.
        Some(true) => format!(
            "{own} against {priority}: the higher address wins, which is {} (this router), but only between two active \
             routers: a backup leaves an equal one active.",
            instance.source.as_deref().unwrap_or_default()
        ),
        Some(false) | None => format!("{own} against {priority}: the higher address wins, which is {address}."),
    }
}

/// Whether `own` is the higher address of the two.
fn higher(own: Option<&str>, other: &str) -> Option<bool> {
    let [own, other] = [own?, other].map(|text| text.parse::<std::net::IpAddr>().ok());
    Some(own? > other?)
}

/// What has to change before an instance in the state initialize takes part.
fn obstacle(instance: &Instance) -> String {
    let interface = &instance.interface;
    match instance.cause.as_str() {
        "link_down" => format!("It takes part again, as a backup first, when {interface} can carry packets."),
        "health_fault" => {
            "It takes part again, as a backup first, when the check or interface that failed recovers.".to_owned()
        }
        "health_waiting" => "It takes part when these checks have had their first result.".to_owned(),
        "held" => "It takes part again, as a backup first, when that member of its group can.".to_owned(),
        "startup_delay" => "It takes part when that time is over.".to_owned(),
        "addresses_failed" => "It tries again, after longer and longer pauses.".to_owned(),
        "shut_down" => "vouchd is ending.".to_owned(),
        _ => String::new(),
    }
}
