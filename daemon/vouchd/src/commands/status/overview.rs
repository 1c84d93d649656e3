//! `vouchd status`: the status on a page that fits a terminal.

use std::fmt::Write as _;
use std::time::SystemTime;

use super::ago::{ago, when};
use super::answers;
use super::judge::{Level, Problem, copied, used_plugins};
use super::peers;
use vouchd_console::plugin_table;
use vouchd_console::table::{Table, first_line, indented};
use vouchd_ipc::status::{Address, Check, Checker, Instance, Plugin, Routing, Status, VirtualMac};

pub(crate) fn overview(status: &Status, problems: &[Problem], all: bool, now: SystemTime) -> String {
    let Status { name, version, pid, since, config, instances, checks, .. } = status;
    let mut out = indented(&format!("{name}: vouchd {version}, pid {pid}, since {}", when(since, now)), 0);
    out += &summary(problems);
    if let Some(error) = &config.error {
        out += "\nThe configuration on disk can't be used; the one loaded before stays in use:\n";
        for line in error.lines() {
            // A line of the file and the carets below it must stay aligned.
            out += &if line.starts_with(' ') { first_line(line) } else { indented(line, 0) };
        }
    }
    out += &checker(&status.checker, now);
    out.push('\n');
    if instances.is_empty() {
        out += "no instance is configured\n";
    } else {
        out += &instance_table(instances, all, now);
    }
    if !checks.is_empty() {
        out.push('\n');
        out += &check_table(checks);
    }
    let plugins: Vec<_> = status.plugins.iter().collect();
    let used: Vec<_> = used_plugins(status).map(|plugin| &plugin.name).collect();
    let shown = |plugin: &&&Plugin| all || plugin.error.is_some() || used.contains(&&plugin.name);
    let (shown, hidden): (Vec<_>, Vec<_>) = plugins.iter().partition(shown);
    if !shown.is_empty() {
        out.push('\n');
        out += &plugin_table(shown);
    }
    if !hidden.is_empty() {
        let (count, are) =
            (hidden.len(), if hidden.len() == 1 { " that no check uses is" } else { "s that no check uses are" });
        let _ = writeln!(out, "\n{count} plugin{are} not shown (--all)");
    }
    out + &legend(instances)
}

/// The meaning of the signs that were used.
fn legend(instances: &[Instance]) -> String {
    let has = |is: fn(&Address) -> bool| instances.iter().flat_map(|instance| &instance.addresses).any(is);
    let mut lines = String::new();
    if has(|address| address.installed) {
        lines += "* on the interface, added by vouchd\n";
    }
    if has(|address| address.host && !address.installed) {
        lines += "+ on the interface, not added by vouchd\n";
    }
    if lines.is_empty() { lines } else { format!("\n{lines}") }
}

fn summary(problems: &[Problem]) -> String {
    if problems.is_empty() {
        return "all is well\n".to_owned();
    }
    let lines = problems.iter().map(|Problem { level, subject, text }| {
        let word = match level {
            Level::Fault => "FAULT",
            Level::Well | Level::Degraded => "degraded",
        };
        indented(&format!("{word}: {subject}: {text}"), 0)
    });
    lines.collect()
}

fn checker(checker: &Checker, now: SystemTime) -> String {
    let Checker { pid, restarts, error, lost_at } = checker;
    let error = error.as_deref().unwrap_or("not started yet");
    let last = lost_at.as_ref().map_or_else(String::new, |at| format!(", last {}", ago(at, now)));
    let text = match (pid, restarts) {
        (Some(_), 0) => return String::new(),
        (Some(_), 1) => format!("the checker was restarted once{last}: {error}"),
        (Some(_), restarts) => format!("the checker was restarted {restarts} times{last}: {error}"),
        (None, _) => format!("the checker is NOT running{last}: {error}"),
    };
    indented(&text, 0)
}

fn instance_table(instances: &[Instance], all: bool, now: SystemTime) -> String {
    let mut table = Table::new(["INSTANCE", "INTERFACE", "VRID", "STATE", "PRIORITY", "SINCE"]);
    for instance in instances {
        let priority = match (instance.priority.effective, instance.priority.base) {
            (Some(effective), base) if effective == base => base.to_string(),
            (Some(effective), base) => format!("{effective} of {base}"),
            (None, base) => format!("- of {base}"),
        };
        table.row([
            instance.title(instances),
            instance.interface.clone(),
            instance.virtual_router_id.to_string(),
            instance.state.clone(),
            priority,
            ago(&instance.since, now),
        ]);
        table.note(&instance.reason);
        if let (false, Some(active)) = (instance.state == "active", &instance.active) {
            table.note(&format!("active router: {} with priority {}", active.address, active.priority));
        }
        let sign = |it: &Address| match (it.installed, it.host) {
            (true, _) => "*",
            (false, true) => "+",
            (false, false) => "",
        };
        let addresses = instance.addresses.iter().map(|it| format!("{}{}", it.address, sign(it)));
        let addresses: Vec<_> = addresses.collect();
        table.note(&format!("addresses: {}", if addresses.is_empty() { "-".to_owned() } else { addresses.join(" ") }));
        for address in &instance.addresses {
            if let Some(error) = &address.error {
                table.note(&format!("{} FAILED: {error}", address.address));
            }
            for copy in &address.copies {
                table.note(&copied(copy, instance));
            }
            answers::conflict(instance, address, now).iter().for_each(|conflict| table.note(conflict));
        }
        if let Some(VirtualMac { name, mac, state, error, .. }) = &instance.virtual_mac {
            let problem = error.as_ref().map_or_else(String::new, |error| format!(" FAILED: {error}"));
            table.note(&format!("virtual MAC: {mac} on {name} ({state}){problem}"));
        }
        for (kind, items) in [("routes", &instance.routes), ("rules", &instance.rules)] {
            if items.is_empty() {
                continue;
            }
            let installed = items.iter().filter(|item| item.installed).count();
            table.note(&format!("{kind}: {installed} of {} installed", items.len()));
            for Routing { text, error, .. } in items {
                if let Some(error) = error {
                    table.note(&format!("{text} FAILED: {error}"));
                }
            }
        }
        peers::lines(instance, all, now).iter().for_each(|line| table.note(line));
    }
    table.to_string()
}

fn check_table(checks: &[Check]) -> String {
    let mut table = Table::new(["CHECK", "VERDICT", "PLUGIN", "RUNS", "LAST", "MESSAGE"]);
    for check in checks {
        let last = check.last_run.as_ref();
        table.row([
            check.name.clone(),
            check.verdict.clone(),
            check.plugin.clone(),
            check.runs.to_string(),
            last.map_or("-".to_owned(), |run| format!("{:.1} ms", run.duration * 1000.0)),
            check.message.clone(),
        ]);
    }
    table.to_string()
}
