//! `vouchd demo node`: the first process of a node's PID namespace. Mounts what the node needs, starts the web server and the
//! daemon on orders from stdin, reports on stdout, and reaps dead processes.

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, bail};
use clap::Args;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::topology::{CHECK, INTERFACE, NodeId, SERVICE, VIRTUAL};

const HOME: &str = "/run/vouchd";
/// Interval between attempts to reap dead processes, in milliseconds.
const REAP_INTERVAL: u16 = 20;

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[arg(long)]
    node: NodeId,
    #[arg(long)]
    plugin: PathBuf,
    /// Lines of `[check.web]`
    #[arg(long)]
    check: String,
}

/// An order to a node: one line on its stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    StartService,
    KillService,
    StartDaemon,
}

impl Order {
    const ALL: [Self; 3] = [Self::StartService, Self::KillService, Self::StartDaemon];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::StartService => "start-service",
            Self::KillService => "kill-service",
            Self::StartDaemon => "start-daemon",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|order| order.word() == word)
    }
}

/// Runs the node until its stdin is closed.
pub(crate) fn run(args: &NodeArgs) -> anyhow::Result<ExitCode> {
    let mut node = Node { id: args.node, service: None, daemon: None };
    prepare(args)?;
    let mut stdin = io::stdin().lock();
    let mut pending = Vec::new();
    loop {
        let mut waiting = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        let ready = match poll(&mut waiting, REAP_INTERVAL) {
            Ok(ready) => ready,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error).context("waiting for orders"),
        };
        if ready > 0 {
            let buffer = stdin.fill_buf()?;
            if buffer.is_empty() {
                return Ok(ExitCode::SUCCESS);
            }
            pending.extend_from_slice(buffer);
            let length = buffer.len();
            stdin.consume(length);
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = pending.drain(..=end).collect();
                node.obey(String::from_utf8_lossy(&line).trim_end())?;
            }
        }
        node.reap()?;
    }
}

/// Mounts the node's view of processes and its directories, which vanish with the node.
fn prepare(args: &NodeArgs) -> anyhow::Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("making mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, none)
        .context("mounting /proc for a node; a container that hides parts of /proc forbids it")?;
    // Must come before the mount on /run, which may hide the file.
    let plugin = fs::read(&args.plugin).with_context(|| format!("reading {}", args.plugin.display()))?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some("mode=0755"))
        .context("mounting /run for a node")?;
    nix::unistd::sethostname(args.node.name()).context("naming the node")?;

    let home = Path::new(HOME);
    for directory in ["plugins", "plugins.d", "cache"] {
        fs::create_dir_all(home.join(directory))?;
    }
    // The checker, which fills the cache, runs as another user.
    fs::set_permissions(home.join("cache"), Permissions::from_mode(0o777))?;
    let name = args.plugin.file_name().context("a plugin without a name")?;
    fs::write(home.join("plugins").join(name), plugin)?;
    fs::write(home.join("vouchd.toml"), config(args.node, &args.check))?;
    Ok(())
}

/// The configuration of the daemon on a node. `check` holds the lines of `[check.web]` about the plugin.
pub(crate) fn config(node: NodeId, check: &str) -> String {
    let priority = node.priority();
    format!(
        r#"[daemon]
name = "{node}"
control = "{HOME}/control.sock"
plugin_dir = "{HOME}/plugins.d"
builtin_plugin_dir = "{HOME}/plugins"
cache_dir = "{HOME}/cache"

[check.{CHECK}]
{check}interval = "1s"
rise = 2
fall = 2
weight = -40

[instance.demo]
interface = "{INTERFACE}"
virtual_router_id = 55
priority = {priority}
version = 3
advert_interval = "1s"
addresses = ["{VIRTUAL}"]
checks = ["{CHECK}"]
"#
    )
}

struct Node {
    id: NodeId,
    service: Option<Pid>,
    daemon: Option<Pid>,
}

impl Node {
    fn obey(&mut self, word: &str) -> anyhow::Result<()> {
        match Order::from_word(word) {
            Some(Order::StartService) => self.start_service(),
            Some(Order::KillService) => self.kill_service(),
            Some(Order::StartDaemon) => self.start_daemon(),
            None => bail!("unknown order `{word}`"),
        }
    }

    fn start_service(&mut self) -> anyhow::Result<()> {
        let mut service = itself()
            .args(["demo", "service", "--node", self.id.name()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting the web server")?;
        let stdout = service.stdout.take().context("the web server's stdout")?;
        let mut line = String::new();
        BufReader::new(stdout.take(64)).read_line(&mut line)?;
        if line.trim_end() != "listening" {
            bail!("the web server did not start");
        }
        let pid = Pid::from_raw(service.id().cast_signed());
        self.service = Some(pid);
        say(&format!("web server {SERVICE} started (pid {pid})"))
    }

    fn kill_service(&mut self) -> anyhow::Result<()> {
        let pid = self.service.take().context("no web server to kill")?;
        kill(pid, Signal::SIGKILL).context("killing the web server")?;
        waitpid(pid, None).context("reaping the web server")?;
        say(&format!("web server {SERVICE} (pid {pid}) is dead"))
    }

    fn start_daemon(&mut self) -> anyhow::Result<()> {
        let daemon = itself()
            .args(["run", "-c"])
            .arg(Path::new(HOME).join("vouchd.toml"))
            .env_clear()
            .env("VOUCHD_LOG_FORMAT", "json")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("starting vouchd")?;
        let pid = Pid::from_raw(daemon.id().cast_signed());
        self.daemon = Some(pid);
        say(&format!("vouchd started (pid {pid})"))
    }

    /// Reaps all dead processes, including orphans of this PID namespace.
    fn reap(&mut self) -> anyhow::Result<()> {
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(status) if status.pid() == self.daemon => bail!("vouchd ended: {status:?}"),
                Ok(status) if status.pid() == self.service => {
                    bail!("the web server ended by itself: {status:?}")
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error).context("reaping"),
            }
        }
    }
}

/// A command that starts this program again.
pub(crate) fn itself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("vouchd");
    command
}

fn say(what: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{what}").context("writing to the demo")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::checked::Checked;

    #[test]
    fn configuration_of_each_node_is_valid() {
        for node in NodeId::ALL {
            let check = Checked::built_in(PathBuf::new()).keys;
            let files = vec![(PathBuf::from("vouchd.toml"), config(node, &check))];
            let resolved = vouchd_config::resolve(files).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
            assert_eq!(resolved.daemon.name.as_deref(), Some(node.name()));
            resolved.check_plugins(&["process".to_owned()]).unwrap();
        }
    }
}
