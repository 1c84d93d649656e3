//! vouchd: a VRRP daemon whose health checks are sandboxed WebAssembly plugins.
//!
//! This executable is the router (`vouchd run`, crate `vouchd_router`) and the operator's commands ([`commands`], [`demo`]).
//! It cannot run WebAssembly: the engine is in `vouchd-checker`, which the router starts without privileges, and which
//! `vouchd plugin` executes.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these panic when the reader is gone; vouchd_console::output does not"
)]
#![warn(unreachable_pub)]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

mod commands;
mod demo;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vouchd_config::DEFAULT_FILE;
use vouchd_console::output::complain_about;

const PURPOSE: &str = "\
VRRP failover with health checks in sandboxed WebAssembly

Two or more machines share a virtual address. vouchd lets a machine hold it only while its checks pass, and moves it to \
the best of the other machines when they do not.";

const HELP: &str = "\
Examples:
  vouchd config check            check /etc/vouchd/vouchd.toml for errors
  vouchd run                     run the daemon in the foreground, as systemd does
  vouchd status                  show whether all is well, also as exit status
  vouchd explain web             explain the state of the instance web, and who would win
  vouchd plugin test check.wasm  run a plugin as the daemon would, and show its report

Exit status: 0 done, 1 failed, 2 wrong usage or configuration. For `vouchd status`: 0 well, 1 degraded, 2 a fault, or the
daemon cannot be asked.";

#[derive(Debug, Parser)]
#[command(name = "vouchd", version, about, long_about = PURPOSE, after_help = HELP, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon in the foreground
    Run {
        /// The main configuration file; drop-ins are read from conf.d beside it
        #[arg(short, long, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
    },
    /// Checks configuration files
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Shows the state of the running daemon, and whether all is well
    ///
    /// Exit status: 0 if all is well; 1 if something is degraded (a check that does not pass, a lowered priority, no
    /// checker, a configuration on disk that cannot be used, …); 2 for a fault (an instance cannot take part, two routers are
    /// active, an address is not where it should be, …) and if the daemon cannot be asked. --json does not change it.
    Status(commands::status::StatusArgs),
    /// Explains an instance's state and its priority, term by term, and who would win an election
    Explain(commands::status::ExplainArgs),
    /// Creates, builds, lists, inspects and tests plugins
    #[command(disable_help_flag = true)]
    Plugin(commands::plugin::PluginArgs),
    /// Shows a failover between two routers in their own network namespaces
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    // Usage errors end here, with exit status 2.
    let done = match commands::plugin::help_request(std::env::args_os()) {
        Some(args) => commands::plugin::hand_over(&args),
        None => execute(Cli::parse().command),
    };
    done.unwrap_or_else(|error| {
        complain_about(&error);
        ExitCode::FAILURE
    })
}

fn execute(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run { config } => vouchd_router::run(&config),
        Command::Config(command) => commands::config::run(&command),
        Command::Status(args) => Ok(commands::status::status(&args)),
        Command::Explain(args) => commands::status::explain(&args),
        Command::Plugin(args) => commands::plugin::hand_over(&args),
        Command::Demo(args) => demo::run(args),
    }
}
