//! `vouchd demo`: two routers with a web server each, in their own namespaces. Kills the web server of the active router,
//! and shows the failover as a timeline.
//!
//! The demo's process is the client, and its network namespace is the network between the nodes. Each node is a
//! `vouchd demo node`, the first process of a PID namespace, which starts a web server and an ordinary `vouchd run`. When
//! the demo ends for any reason, the kernel kills both nodes, and with them all files and interfaces of the demo.

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
use vouchd_router::CheckerProgram;

/// Arguments of `vouchd demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
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

/// The commands with which the demo starts itself inside its namespaces. Not for users.
#[derive(Debug, Subcommand)]
enum Part {
    /// First process of a node.
    #[command(hide = true)]
    Node(node_init::NodeArgs),
    /// The web server of a node.
    #[command(hide = true)]
    Service(service::ServiceArgs),
}

/// Runs the demo, which takes about 15 seconds. Exit status 0 if both failovers happened in time.
///
/// Call this before the process starts a thread, since only a single-threaded process can enter a user namespace.
///
/// # Errors
/// When the plugin is missing, its parameters are invalid, or the system does not allow the namespaces. The text says what
/// to do.
pub(crate) fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    match args.part {
        None => {
            // Each node needs it. Its version is not checked here: that takes a thread.
            CheckerProgram::find()?;
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
