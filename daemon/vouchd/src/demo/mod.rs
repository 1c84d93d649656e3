//! `vouchd demo`: two routers and a web server on each, in namespaces of their own; the server that answers is
//! killed, and the failover is shown as a timeline.
//!
//! Processes: the demo itself is the client, and its network namespace is the network between the nodes. Each node is a
//! `vouchd demo node`, first process of a PID namespace, with a web server and an ordinary `vouchd run` under it.
//! When the demo ends, for whatever reason, the kernel kills both nodes, and all that was made goes with them: no file
//! and no interface outlives it.

mod checked;
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

use self::checked::Checked;
use vouchd_console::arguments::key_value;

/// Arguments of `vouchd demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Directory with process.wasm [default: `plugins` beside the program or one level above it, then
    /// /usr/lib/vouchd/plugins]
    #[arg(long, value_name = "DIR")]
    plugins: Option<PathBuf>,
    /// Your plugin, which decides the failover instead of process.wasm. The web server on each node listens on port 80 and
    /// is called demo-web
    #[arg(long, value_name = "FILE.wasm", conflicts_with = "plugins")]
    plugin: Option<PathBuf>,
    /// A parameter for the plugin, such as address=127.0.0.1:80
    #[arg(short, long = "param", value_name = "KEY=VALUE", value_parser = key_value, requires = "plugin")]
    params: Vec<(String, String)>,
    /// What the plugin may reach, as in the configuration: '{ tcp = ["127.0.0.1:80"] }' [default: nothing]
    #[arg(long, value_name = "TOML", requires = "plugin")]
    allow: Option<String>,
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
/// The plugin is missing, its parameters make no sense, or the system does not allow the namespaces; the text says what to do.
pub fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    match args.part {
        None => {
            let checked = match &args.plugin {
                Some(file) => Checked::own(file, &args.params, args.allow.as_deref())?,
                None => Checked::built_in(plugins::find(args.plugins.as_deref())?),
            };
            story::play(&checked)
        }
        Some(Part::Node(args)) => node_init::run(&args),
        Some(Part::Service(args)) => service::run(&args),
    }
}
