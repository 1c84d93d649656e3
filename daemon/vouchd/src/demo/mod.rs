//! `vouchd demo`: two routers and a web server on each, in namespaces of their own; the server that answers is
//! killed, and the failover is shown as a timeline.
//!
//! Processes: the demo itself is the client, and its network namespace is the network between the nodes. Each node is a
//! `vouchd demo node`, first process of a PID namespace, with a web server and an ordinary `vouchd run` under it.
//! When the demo ends, for whatever reason, the kernel kills both nodes, and all that was made goes with them: no file
//! and no interface outlives it.

mod client;
mod namespaces;
mod netlink;
mod node;
mod node_init;
mod plugins;
mod service;
mod story;
mod timeline;
mod topology;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// Arguments of `vouchd demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Directory that holds process.wasm [default: `plugins` next to the program or one above it, then
    /// /usr/lib/vouchd/plugins]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What the demo starts itself as, inside its namespaces; not for users.
#[derive(Debug, Subcommand)]
enum Part {
    /// First process of a node.
    #[command(hide = true)]
    Node(node_init::NodeArgs),
    /// The web server of a node.
    #[command(hide = true)]
    Service(service::ServiceArgs),
}

/// Runs the demo; takes about 15 seconds. Success means that both failovers happened within their bound.
///
/// Must be called before the process has started a thread, since only a single-threaded process can enter a user
/// namespace.
///
/// # Errors
/// The plugin is missing, or the system does not allow the namespaces; the text says what to do.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    match args.part {
        None => story::play(&plugins::find(args.plugins.as_deref())?),
        Some(Part::Node(args)) => node_init::run(&args),
        Some(Part::Service(args)) => service::run(&args),
    }
}
