//! `vouchd status` and `vouchd explain`: the router's status document, for people.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use vouchd_health::Effect;

use crate::router::control::ask_status;
use crate::status::{Check, Instance, Plugin, Status};
use crate::table::Table;

/// Which daemon to ask.
#[derive(Debug, Args)]
pub struct Target {
    /// The control socket [default: the configuration's, or /run/vouchd/control.sock]
    #[arg(long, value_name = "SOCKET")]
    control: Option<PathBuf>,
    /// The configuration that names the control socket
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Target {
    pub fn status(&self) -> anyhow::Result<Status> {
        ask_status(&self.socket()?)
    }

    /// The configuration that was named.
    pub fn config_file(&self) -> Option<&std::path::Path> {
        self.config.as_deref()
    }

    fn socket(&self) -> anyhow::Result<PathBuf> {
        match (&self.control, &self.config) {
            (Some(control), _) => Ok(control.clone()),
            (None, Some(config)) => Ok(super::config::load(config)?.daemon.control),
            // A configuration that is broken at the moment must not hide the daemon that runs.
            (None, None) => Ok(super::config::load(Path::new(super::config::DEFAULT_FILE))
                .map_or_else(|_| PathBuf::from(vouchd_config::DEFAULT_CONTROL), |config| config.daemon.control)),
        }
    }
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The whole document as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Only this instance
    instance: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let status = args.target.status()?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        print!("{}", overview(&status));
    }
    Ok(ExitCode::SUCCESS)
}

pub fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let status = args.target.status()?;
    let chosen: Vec<_> = status
        .instances
        .iter()
        .filter(|instance| args.instance.as_ref().is_none_or(|name| *name == instance.name))
        .collect();
    if let (true, Some(name)) = (chosen.is_empty(), &args.instance) {
        let known: Vec<_> = status.instances.iter().map(|instance| instance.name.as_str()).collect();
        anyhow::bail!("no instance {name}: expected one of {}", known.join(", "));
    }
    let paragraphs: Vec<_> = chosen.into_iter().map(|instance| explanation(instance, &status)).collect();
    print!("{}", paragraphs.join("\n"));
    Ok(ExitCode::SUCCESS)
}

fn overview(status: &Status) -> String {
    let mut out = String::new();
    let Status { name, version, pid, since, config, checker, instances, checks, plugins, .. } = status;
    // Writing to a String can't fail.
    let _ = writeln!(out, "{name}: vouchd {version}, pid {pid}, since {since}");
    if let Some(error) = &config.error {
        let _ = writeln!(out, "\nThe configuration on disk can't be used; what was loaded before goes on:\n{error}");
    }
    match checker.pid {
        Some(_) if checker.restarts == 0 => {}
        Some(_) => {
            let error = checker.error.as_deref().unwrap_or_default();
            let _ = writeln!(out, "checker started again {} times, last because: {error}", checker.restarts);
        }
        None => {
            let _ = writeln!(out, "checker is NOT running: {}", checker.error.as_deref().unwrap_or("not started yet"));
        }
    }
    out.push('\n');
    out += &instance_table(instances);
    if !checks.is_empty() {
        out.push('\n');
        out += &check_table(checks);
    }
    if !plugins.is_empty() {
        out.push('\n');
        out += &plugin_table(plugins);
    }
    out
}

fn instance_table(instances: &[Instance]) -> String {
    let mut table = Table::new(["INSTANCE", "STATE", "PRIORITY", "ACTIVE ROUTER", "ADDRESSES", "REASON"]);
    for instance in instances {
        let effective = instance.priority.effective.map_or("-".to_owned(), |priority| priority.to_string());
        let active = instance.active.as_ref().map_or("-".to_owned(), |it| format!("{} ({})", it.address, it.priority));
        let addresses: Vec<_> = instance
            .addresses
            .iter()
            .map(|address| match (&address.error, address.installed) {
                (Some(error), _) => format!("{} FAILED: {error}", address.address),
                (None, true) => format!("{}*", address.address),
                (None, false) => address.address.clone(),
            })
            .collect();
        table.row([
            instance.name.clone(),
            instance.state.clone(),
            format!("{effective} of {}", instance.priority.base),
            active,
            addresses.join(" "),
            instance.reason.clone(),
        ]);
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

pub fn plugin_table(plugins: &[Plugin]) -> String {
    let mut table = Table::new(["PLUGIN", "KIND", "SHA256", "SOURCE", "ERROR"]);
    for plugin in plugins {
        let sha256 = plugin.sha256.as_deref().and_then(|hash| hash.get(..12)).unwrap_or("-");
        table.row([
            plugin.name.clone(),
            plugin.kind.clone().unwrap_or_else(|| "-".to_owned()),
            sha256.to_owned(),
            plugin.source.clone(),
            plugin.error.clone().unwrap_or_default(),
        ]);
    }
    table.to_string()
}

/// Why this state and this priority, and who would win.
fn explanation(instance: &Instance, status: &Status) -> String {
    let mut out = String::new();
    let Instance { name, state, reason, since, priority, .. } = instance;
    let _ = writeln!(out, "{name} is {state} since {since}: {reason}");
    let _ = writeln!(out, "  base priority {}", priority.base);
    for term in &priority.terms {
        let _ = writeln!(out, "  {term}");
    }
    match priority.effective {
        Some(255) => out += "  = 255: it owns the addresses, so checks don't change its priority\n",
        Some(effective) => {
            let last_resort = priority.terms.iter().any(|term| term.effect == Effect::LastResort);
            let note = if last_resort { " (the last resort: it serves only where nobody else can)" } else { "" };
            let _ = writeln!(out, "  = effective priority {effective}{note}");
        }
        None => out += "  = takes no part in elections\n",
    }
    out += &election(instance);
    for term in priority.terms.iter().filter(|term| term.effect != Effect::Add || term.value != 0) {
        if let Some(check) = status.checks.iter().find(|check| check.name == term.check) {
            let _ = writeln!(out, "  check {} is {} since {}", check.name, check.verdict, check.since);
        }
    }
    out
}

fn election(instance: &Instance) -> String {
    let effective = instance.priority.effective;
    match (instance.state.as_str(), effective, &instance.active) {
        ("active", Some(own), _) => {
            format!("  A router wins against it with a priority over {own}, or with {own} and a higher address.\n")
        }
        ("backup", Some(own), Some(active)) if own > active.priority && instance.preempt => {
            format!("  It wins against {} ({}) and takes over.\n", active.address, active.priority)
        }
        ("backup", Some(own), Some(active)) if own > active.priority => format!(
            "  It would win against {} ({}), but preempt = false: it takes over when that router fails or yields.\n",
            active.address, active.priority
        ),
        ("backup", Some(own), Some(active)) => {
            format!("  With {own} it does not win against {} ({}).\n", active.address, active.priority)
        }
        (_, Some(_), None) => "  No active router has been heard.\n".to_owned(),
        (_, Some(_), Some(_)) | (_, None, _) => String::new(),
    }
}

/// For `plugin list`, where the daemon may be down.
pub fn status_if_running(target: &Target) -> Option<Status> {
    target.status().context("asking the daemon").ok()
}
