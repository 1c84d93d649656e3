//! vouchd-checker: the program that runs plugins.
//!
//! | part | started by |
//! |---|---|
//! | [`serve`] | `vouchd run`: the checker process, which runs the checks without any privilege |
//! | `compile` | any process that loads a plugin: compiles it within limits |
//! | [`commands`] | `vouchd plugin`: the commands for plugin authors; `vouchd config check`: describes plugin files |
//!
//! [`serve`] and [`commands`] both use [`plugins`]: the plugin files and how they are loaded.
//!
//! The WebAssembly engine is in this executable, and not in `vouchd`, which has the privileges.

#![warn(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "these panic when the reader is gone; vouchd_console::output does not"
)]
#![warn(unreachable_pub)]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

mod commands;
mod plugins;
mod privileges;
mod serve;

use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use vouchd_console::{logging, output::complain_about};
use vouchd_plugin::{CompileJob, compile_as_child};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Runs the plugins of vouchd
///
/// It is started by vouchd: use `vouchd run`, `vouchd plugin` and `vouchd config check`.
#[derive(Debug, Parser)]
#[command(name = "vouchd-checker", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates, builds, lists, inspects and tests plugins
    #[command(subcommand)]
    Plugin(commands::PluginCommand),
    /// Started by `vouchd run`: runs the checks
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        uid: u32,
        #[arg(long)]
        gid: u32,
        #[arg(long)]
        router_version: String,
    },
    /// Started by any process that loads a plugin: compiles it, from standard input to standard output
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
    /// Started by `vouchd config check`: describes plugin files as JSON
    #[command(hide = true)]
    Describe(commands::DescribeArgs),
}

fn main() -> ExitCode {
    // Usage errors end here, with exit status 2.
    let cli = Cli::parse();
    // Started through a descriptor, it would be named after the descriptor's number in ps and top.
    let name = if matches!(cli.command, Command::Plugin(_)) { c"vouchd" } else { c"vouchd-checker" };
    // Never refused: the name is short enough.
    let _ = nix::sys::prctl::set_name(name);
    let done = match cli.command {
        Command::Plugin(command) => commands::run(command),
        Command::Serve { uid, gid, router_version } => run_checks(uid, gid, &router_version),
        Command::Compile { parent, max_memory, memory, cpu } => compile(CompileJob { parent, max_memory, memory, cpu }),
        Command::Describe(args) => commands::describe(&args),
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

fn run_checks(uid: u32, gid: u32, router_version: &str) -> anyhow::Result<ExitCode> {
    // Before anything else, since every thread would have to give up its privileges itself.
    let warning = privileges::become_checker(uid, gid)?;
    let _log = logging::start();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    ensure!(
        router_version == VERSION,
        "the router has version {router_version}, but this vouchd-checker has version {VERSION}; restart vouchd"
    );
    serve::main()?;
    Ok(ExitCode::SUCCESS)
}
