//! vouchd: a VRRP daemon whose health checks are sandboxed WebAssembly plugins.
//!
//! This executable is the router (`vouchd run`, crate `vouchd_router`) and the commands that an operator uses ([`commands`],
//! [`demo`]). It can run no WebAssembly: the engine is in `vouchd-checker`, which the router starts without privileges, and
//! to which `vouchd plugin` hands over.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a reader that has gone makes these panic: vouchd_console::output does not"
)]
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

Two or more machines share a virtual address. vouchd lets a machine hold it only while its checks vouch for the service \
there, and moves it to the best of the others when they don't.";

const HELP: &str = "\
Examples:
  vouchd config check            whether /etc/vouchd/vouchd.toml is right
  vouchd run                     the daemon in the foreground, as systemd starts it
  vouchd status                  whether all is well, in words and as exit status
  vouchd explain web             why the instance web is in its state, and who would win
  vouchd plugin test check.wasm  what a plugin says, run as the daemon would

Exit status: 0 done, 1 failed, 2 wrong usage or configuration. That of `vouchd status` says how well all is: 0 well,
1 degraded, 2 a fault, or the daemon can't be asked.";

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
    /// Looks at configuration files
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Shows what the running daemon is and does, and whether all is well
    ///
    /// Exit status: 0 if all is well; 1 if something is degraded (a check that does not pass, a lowered priority, no
    /// checker, a configuration on disk that can't be used, …); 2 for a fault (an instance can't take part, two routers are
    /// active, an address is not where it should be, …) and if the daemon can't be asked. The same with --json.
    Status(commands::status::StatusArgs),
    /// Says why an instance is in its state, its priority term by term, and who would win
    Explain(commands::status::ExplainArgs),
    /// Works with plugins: new, build, list, inspect, test
    #[command(disable_help_flag = true)]
    Plugin(commands::plugin::PluginArgs),
    /// Two routers and a service in namespaces of their own: kills the service and shows the failover
    Demo(demo::DemoArgs),
}

fn main() -> ExitCode {
    // Usage errors end here, with exit status 2.
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run { config } => vouchd_router::run(&config),
        Command::Config(command) => commands::config::run(&command),
        Command::Status(args) => Ok(commands::status::status(&args)),
        Command::Explain(args) => commands::status::explain(&args),
        Command::Plugin(args) => commands::plugin::hand_over(&args),
        Command::Demo(args) => demo::run(args),
    };
    done.unwrap_or_else(|error| {
        complain_about(&error);
        ExitCode::FAILURE
    })
}
