//! `vouchd status` and `vouchd explain`: the router's status document, for people and for scripts.
//!
//! [`Target`] fetches it, [`judge`] lists its problems, [`overview`] and [`explain`](mod@explain) put it into words.

mod ago;
mod answers;
mod explain;
mod judge;
mod overview;
mod peers;

use std::process::ExitCode;
use std::time::SystemTime;

use self::judge::{Level, Problem};
use anyhow::bail;
use clap::Args;
use serde::Serialize;
use vouchd_console::output::{complain_about, print, print_json};
use vouchd_console::target::Target;
use vouchd_ipc::status::Status;

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Prints the whole status as JSON
    #[arg(long)]
    json: bool,
    /// Also shows plugins that no check uses, and every router that was heard
    #[arg(long, conflicts_with = "json")]
    all: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Explains only this instance
    instance: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// The document as `--json` prints it.
#[derive(Serialize)]
struct Judged<'a> {
    level: Level,
    problems: &'a [Problem],
    #[serde(flatten)]
    status: &'a Status,
}

/// Prints the status. Exit status 0, 1 or 2 by [`Level`].
///
/// Also 2 when the daemon cannot be asked, or the status cannot be printed: with any other exit status, a script relies on
/// what it has read.
pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    report(args)
        .unwrap_or_else(|error| {
            complain_about(&error);
            Level::Fault
        })
        .into()
}

fn report(args: &StatusArgs) -> anyhow::Result<Level> {
    let status = args.target.status()?;
    let now = SystemTime::now();
    let problems = judge::problems(&status, now);
    let level = judge::level(&problems);
    if args.json {
        print_json(&Judged { level, problems: &problems, status: &status })?;
    } else {
        print(overview::overview(&status, &problems, args.all, now))?;
    }
    Ok(level)
}

/// Explains one instance or all.
///
/// # Errors
/// When the daemon cannot be asked, or has no instance of that name.
pub(crate) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let status = args.target.status()?;
    let chosen: Vec<_> = status
        .instances
        .iter()
        .filter(|instance| args.instance.as_ref().is_none_or(|name| *name == instance.name))
        .collect();
    match &args.instance {
        _ if status.instances.is_empty() => bail!("no instance is configured, so there is nothing to explain"),
        Some(name) if chosen.is_empty() => {
            let known: Vec<_> = status.instances.iter().map(|instance| instance.name.as_str()).collect();
            bail!("no instance {name}: expected one of {}", known.join(", "));
        }
        Some(_) | None => {}
    }
    let now = SystemTime::now();
    let paragraphs: Vec<_> = chosen.into_iter().map(|instance| explain::explanation(instance, &status, now)).collect();
    print(paragraphs.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
