//! `vouchd status` and `vouchd explain`: the router's status document, for people and for scripts.
//!
//! [`ask`] gets it, [`judge`] says whether all is well, [`overview`] and [`explain`](mod@explain) put it into words.

mod ago;
mod answers;
mod ask;
mod explain;
mod judge;
mod overview;
mod peers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::bail;
use clap::Args;
use serde::Serialize;
use vouchd_config::Files;

pub use self::ask::Unanswered;
use self::judge::{Level, Problem};
pub use self::overview::plugin_table;
use crate::output::{complain_about, print, print_json};
use crate::status::Status;

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
    /// The daemon's status.
    ///
    /// # Errors
    /// When the configuration that names the socket can't be used, or the daemon can't be asked: an [`Unanswered`] then.
    pub fn status(&self) -> anyhow::Result<Status> {
        let (socket, doubt) = self.socket()?;
        Ok(ask::status(&socket).map_err(|reason| reason.with(doubt))?)
    }

    /// The configuration that was named.
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The socket, and why it may not be the right one.
    fn socket(&self) -> anyhow::Result<(PathBuf, Option<String>)> {
        if let Some(control) = &self.control {
            return Ok((control.clone(), None));
        }
        let file = self.config.as_deref().unwrap_or(Path::new(super::config::DEFAULT_FILE));
        // Its main file alone says which socket. What is wrong with the rest must not hide the daemon that runs.
        let main = vouchd_config::read_main(file);
        let by_its_table = main.text.as_ref().ok().and_then(|text| control_of(&String::from_utf8_lossy(text)));
        let examined = Files::alone(main).examine();
        if examined.daemon_is_known {
            return Ok((examined.config.daemon.control, None));
        }
        if let Some(control) = by_its_table {
            return Ok((control, None));
        }
        if self.config.is_some() {
            examined.finish()?;
        }
        let default = PathBuf::from(vouchd_config::DEFAULT_CONTROL);
        let doubt = match file.try_exists() {
            Ok(false) => None,
            Ok(true) | Err(_) => Some(format!(
                "{} can't be read, so this is the default socket: name another one with --control",
                file.display()
            )),
        };
        Ok((default, doubt))
    }
}

/// `daemon.control` of a file that is no TOML in other places than its table `[daemon]`.
fn control_of(text: &str) -> Option<PathBuf> {
    let after = text.lines().skip_while(|line| line.trim() != "[daemon]").skip(1);
    let table: Vec<_> = after.take_while(|line| !line.trim_start().starts_with('[')).collect();
    let table: toml::Table = toml::from_str(&table.join("\n")).ok()?;
    table.get("control")?.as_str().map(PathBuf::from)
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The whole document as JSON
    #[arg(long)]
    json: bool,
    /// Also the plugins that no check uses, and every router that was heard
    #[arg(long, conflicts_with = "json")]
    all: bool,
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

/// The document as `--json` prints it.
#[derive(Serialize)]
struct Judged<'a> {
    level: Level,
    problems: &'a [Problem],
    #[serde(flatten)]
    status: &'a Status,
}

/// Exit status 0, 1 or 2 by the [`Level`]; 2 also when the daemon can't be asked.
///
/// 2 also when it can't be printed: a script that sees another one relies on what it read.
pub fn status(args: &StatusArgs) -> ExitCode {
    tell(args)
        .unwrap_or_else(|error| {
            complain_about(&error);
            Level::Fault
        })
        .into()
}

fn tell(args: &StatusArgs) -> anyhow::Result<Level> {
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

/// # Errors
/// When the daemon can't be asked, or has no instance of that name.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
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
