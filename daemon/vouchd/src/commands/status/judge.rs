//! The list of problems, from which the exit status, the summary and `--json` are made.

use std::process::ExitCode;
use std::time::SystemTime;

use serde::Serialize;
use vouchd_health::Effect;

use super::answers::{self, SETTLING};
use vouchd_ipc::status::{Address, Check, Checker, Copy, Instance, Peer, Plugin, Routing, Status};

/// How bad a problem is. Decides the exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// Exit status 0.
    Well,
    /// Exit status 1: the router serves, or could serve, but not as configured.
    Degraded,
    /// Exit status 2: the router cannot serve, or an address is not where it should be.
    Fault,
}

impl From<Level> for ExitCode {
    fn from(level: Level) -> Self {
        ExitCode::from(match level {
            Level::Well => 0,
            Level::Degraded => 1,
            Level::Fault => 2,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    pub(crate) level: Level,
    /// `instance web`, `check site`, `plugin mine`, `checker`, `configuration`.
    pub(crate) subject: String,
    pub(crate) text: String,
}

pub(crate) fn level(problems: &[Problem]) -> Level {
    problems.iter().map(|problem| problem.level).max().unwrap_or(Level::Well)
}

/// All problems, the worst first.
pub(crate) fn problems(status: &Status, now: SystemTime) -> Vec<Problem> {
    let mut problems = Vec::new();
    for instance in &status.instances {
        problems.extend(of_instance(instance, now).into_iter().map(|(level, text)| Problem {
            level,
            subject: format!("instance {}", instance.title(&status.instances)),
            text,
        }));
    }
    let degraded = |subject: String, text: String| Problem { level: Level::Degraded, subject, text };
    if let Some(error) = &status.config.error {
        let first = error.lines().next().unwrap_or_default();
        problems.push(degraded("configuration".to_owned(), format!("the files on disk can't be used: {first}")));
    }
    if let Checker { pid: None, error, .. } = &status.checker {
        let why = error.as_deref().unwrap_or("it has not been started yet");
        problems.push(degraded("checker".to_owned(), format!("it is not running: {why}")));
    }
    problems.extend(status.checks.iter().filter(|check| check.verdict != "pass").map(|check| {
        let Check { name, verdict, message, .. } = check;
        degraded(format!("check {name}"), format!("{verdict}: {message}"))
    }));
    problems.extend(
        used_plugins(status)
            .filter_map(|plugin| Some(degraded(format!("plugin {}", plugin.name), plugin.error.clone()?))),
    );
    problems.sort_by_key(|problem| std::cmp::Reverse(problem.level));
    problems
}

/// Routes and rules never keep an instance from serving.
fn of_routing(instance: &Instance, now: SystemTime) -> Vec<(Level, String)> {
    let since = humantime::parse_rfc3339_weak(&instance.since).ok();
    let settled = since.is_none_or(|since| now.duration_since(since).is_ok_and(|time| time > SETTLING));
    let is_active = instance.state == "active";
    let kinds = [("route", &instance.routes), ("rule", &instance.rules)];
    let all = kinds.into_iter().flat_map(|(kind, items)| items.iter().map(move |item| (kind, item)));
    all.filter_map(|(kind, Routing { text, installed, error })| {
        let problem = match (is_active, installed, error) {
            (true, false, Some(error)) => format!("{kind} {text} is not installed: {error}"),
            (true, false, None) if settled => format!("{kind} {text} is not installed"),
            (true, true, Some(error)) => format!("{kind} {text}: {error}"),
            (false, true, Some(error)) => format!("{kind} {text} is still installed: {error}"),
            (false, true, None) if settled => format!("{kind} {text} is still installed"),
            (true | false, _, _) => return None,
        };
        Some((Level::Degraded, problem))
    })
    .collect()
}

/// The plugins that a check names.
pub(crate) fn used_plugins(status: &Status) -> impl Iterator<Item = &Plugin> {
    let is_used = |plugin: &&Plugin| status.checks.iter().any(|check| check.plugin == plugin.name);
    status.plugins.iter().filter(is_used)
}

fn of_instance(instance: &Instance, now: SystemTime) -> Vec<(Level, String)> {
    let mut found = Vec::new();
    let is_active = instance.state == "active";
    if instance.state == "initialize" {
        let level = match instance.cause.as_str() {
            // It has not decided yet, or is about to end.
            "starting" | "startup_delay" | "health_waiting" | "shut_down" => Level::Degraded,
            _ => Level::Fault,
        };
        found.push((level, format!("takes no part: {}", instance.reason)));
    }
    if let Some(off) = instance.pair.as_deref().filter(|pair| *pair != "instant") {
        found.push((Level::Degraded, format!("instant hand-over is {off}, but routers = 2 or one peer is configured")));
    }
    found.extend(instance.peers.iter().filter_map(|peer| of_peer(peer, is_active)));
    found.extend(of_addresses(instance, now));
    found.extend(of_routing(instance, now));
    // An error of the virtual MAC is the instance's reason already.
    let warning = instance.virtual_mac.as_ref().and_then(|virtual_mac| virtual_mac.warning.as_ref());
    found.extend(warning.map(|warning| (Level::Degraded, format!("its virtual MAC: {warning}"))));
    if let Some(error) = &instance.accept_error {
        found.push((Level::Degraded, format!("it accepts packets to its addresses although accept is false: {error}")));
    }
    if let (true, Some(error)) = (is_active, &instance.advertisements.send_error) {
        found.push((Level::Fault, format!("it can't send advertisements: {error}")));
    }
    found.extend(of_priority(instance));
    found
}

fn of_peer(peer: &Peer, is_active: bool) -> Option<(Level, String)> {
    let claim = peer.claim.as_ref()?;
    // Another virtual router with this one's id holds other addresses.
    let level = if is_active && !peer.other_addresses { Level::Fault } else { Level::Degraded };
    Some((level, claim.clone()))
}

fn of_addresses(instance: &Instance, now: SystemTime) -> Vec<(Level, String)> {
    let since = humantime::parse_rfc3339_weak(&instance.since).ok();
    let settled = since.is_none_or(|since| now.duration_since(since).is_ok_and(|time| time > SETTLING));
    let mut found = Vec::new();
    let is_active = instance.state == "active";
    for known @ Address { address, installed, host, error, copies, .. } in &instance.addresses {
        let level = if known.conflict.as_ref().is_some_and(answers::lasts) { Level::Fault } else { Level::Degraded };
        found.extend(answers::conflict(instance, known, now).map(|conflict| (level, conflict)));
        for copy in copies {
            // On a backup, two hosts then answer for the address.
            let level = if is_active { Level::Degraded } else { Level::Fault };
            found.push((level, copied(copy, instance)));
        }
        if *host && error.is_none() {
            continue;
        }
        match (instance.state.as_str(), installed, error) {
            // Addresses on other interfaces follow the instance and do not decide its state.
            ("active", false, Some(error)) if known.interface.is_some() => {
                found.push((Level::Degraded, format!("does not hold {address}: {error}")));
            }
            ("active", false, Some(error)) => found.push((Level::Fault, format!("does not hold {address}: {error}"))),
            ("active", false, None) if settled => found.push((Level::Fault, format!("does not hold {address}"))),
            // The kernel will remove it when its lease ends.
            ("active", true, Some(error)) => found.push((Level::Fault, format!("can't renew {address}: {error}"))),
            (_, true, Some(error)) => found.push((Level::Fault, format!("still holds {address}: {error}"))),
            (state, true, None) if state != "active" && settled => {
                found.push((Level::Fault, format!("still holds {address}")));
            }
            (_, _, Some(error)) => found.push((Level::Degraded, format!("{address}: {error}"))),
            (_, _, None) => {}
        }
    }
    found
}

/// Reports a virtual address that is on an interface of this host, but was not added by vouchd.
pub(crate) fn copied(copy: &Copy, instance: &Instance) -> String {
    let is_active = instance.state == "active";
    let Copy { interface, address, own } = copy;
    if *own {
        return format!(
            "{address} is this host's own address on {interface}: to make this router its owner, set priority = 255"
        );
    }
    let effect =
        if is_active { "it stays when vouchd gives the address up" } else { "this host answers for it while a backup" };
    if instance.virtual_mac.is_some() && *interface == instance.interface {
        return format!(
            "{address} is on {interface} and not vouchd's: {interface} answers for it, too, with its own MAC address; remove it"
        );
    }
    // Addresses on other interfaces are never adopted.
    let remedy = if *interface == instance.interface { "remove it, or set adopt = true" } else { "remove it" };
    format!("{address} is on {interface} and not vouchd's: {effect}; {remedy}")
}

fn of_priority(instance: &Instance) -> Option<(Level, String)> {
    let effective = instance.priority.effective?;
    let terms = &instance.priority.terms;
    let last_resort = terms.iter().find(|term| term.effect == Effect::LastResort);
    let text = match last_resort {
        Some(term) if effective == 1 => format!("serves only as the last resort: {}: {}", term.subject(), term.why),
        _ if effective < instance.priority.base => {
            format!("its priority is {effective} instead of {}", instance.priority.base)
        }
        Some(_) | None => return None,
    };
    Some((Level::Degraded, text))
}
