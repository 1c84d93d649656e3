//! vouchd: a VRRP daemon whose health checks are sandboxed WebAssembly plugins.
//!
//! The binary is four programs: the commands that a person types ([`commands`], [`demo`]), the router ([`router`]), the
//! checker ([`checker`]), which the router starts from the same file, and what compiles one plugin for the checker.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a reader that has gone makes these panic: crate::output does not"
)]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

mod cache;
mod checker;
mod commands;
mod demo;
#[cfg(test)]
mod documented;
mod logging;
mod output;
mod pipe;
mod privileges;
mod router;
mod status;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use self::output::complain_about;
use clap::{Parser, Subcommand};
use vouchd_plugin::{CompileJob, compile_as_child};

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
        #[arg(short, long, value_name = "FILE", default_value = commands::config::DEFAULT_FILE)]
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
    /// Works with plugins
    #[command(subcommand)]
    Plugin(commands::plugin::PluginCommand),
    /// Two routers and a service in namespaces of their own: kills the service and shows the failover
    Demo(demo::DemoArgs),
    /// Started by `run`: runs the plugins
    #[command(hide = true)]
    Checker {
        #[arg(long)]
        uid: u32,
        #[arg(long)]
        gid: u32,
    },
    /// Started by whatever loads a plugin: compiles it, from standard input to standard output
    #[command(hide = true)]
    Compile {
        #[arg(long)]
        parent: u32,
        #[arg(long)]
        max_memory: u64,
        #[arg(long)]
        memory: u64,
        #[arg(long)]
        cpu: u64,
    },
}

fn main() -> ExitCode {
    // Usage errors end here, with exit status 2.
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Run { config } => router::run(&config),
        Command::Config(command) => commands::config::run(&command),
        Command::Status(args) => Ok(commands::status::status(&args)),
        Command::Explain(args) => commands::status::explain(&args),
        Command::Plugin(command) => commands::plugin::run(command),
        Command::Demo(args) => demo::run(args),
        Command::Checker { uid, gid } => run_checker(uid, gid),
        Command::Compile { parent, max_memory, memory, cpu } => compile(CompileJob { parent, max_memory, memory, cpu }),
    };
    done.unwrap_or_else(|error| {
        complain_about(&error);
        ExitCode::FAILURE
    })
}

fn compile(job: CompileJob) -> anyhow::Result<ExitCode> {
    nix::sys::prctl::set_name(c"vouchd-compile")?;
    Ok(ExitCode::from(compile_as_child(job)?))
}

fn run_checker(uid: u32, gid: u32) -> anyhow::Result<ExitCode> {
    // Before anything else, threads above all.
    let warning = privileges::become_checker(uid, gid)?;
    // Started through /proc/self/exe, it would be called "exe" in ps and top.
    nix::sys::prctl::set_name(c"vouchd-checker")?;
    let _log = logging::start();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    checker::main()?;
    Ok(ExitCode::SUCCESS)
}
