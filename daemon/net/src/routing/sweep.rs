//! Removal of routes and rules that an earlier run of vouchd left behind.

use std::io;

use super::keeper::is_gone;
use crate::netlink::{RequestSocket, RouteOrder};

/// Removes every route and rule with our mark, except those for which `is_kept` says that another running daemon keeps
/// them; it gets [`RouteId`](vouchd_iproute::RouteId) or [`Rule`](vouchd_iproute::Rule) as text. Returns what was removed,
/// for the log. May wait for the kernel.
///
/// # Errors
/// When they cannot be read or one cannot be removed; those before it are removed.
pub fn sweep_routing(is_kept: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut requests = RequestSocket::open()?;
    requests.be_strict();
    let mut removed = Vec::new();
    let mut note = |kind: &str, text: &str, result: io::Result<()>| match result {
        Ok(()) => {
            removed.push(format!("{kind} {text}"));
            Ok(())
        }
        Err(error) if is_gone(&error) => Ok(()),
        Err(error) => Err(error),
    };
    for rule in requests.our_rules()? {
        let text = rule.to_string();
        if !is_kept(&text) {
            note("rule", &text, requests.remove_rule(&rule))?;
        }
    }
    for route in requests.our_routes()? {
        let text = route.id.to_string();
        if !is_kept(&text) {
            note("route", &text, requests.change_route(RouteOrder::Remove, route.removal))?;
        }
    }
    Ok(removed)
}
