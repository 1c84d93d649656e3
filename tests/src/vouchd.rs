//! The daemon under test, used only as an operator uses it: its executable, its files, its status.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;

use crate::command::Output;
use crate::host::{Process, children};
use crate::pair::{Plan, Probe, Timing, VRID};
use crate::site::{INTERFACE, Node, Site, VIP};
use crate::wait::until;

/// The instance of a [`Plan`].
pub const INSTANCE: &str = "web_server_group";

/// The check of a [`Plan`].
pub const CHECK: &str = "nginx";

/// The executable: `VOUCHD_BIN`, or where the workspace builds it.
pub fn binary() -> PathBuf {
    std::env::var_os("VOUCHD_BIN").map_or_else(|| target().join("debug/vouchd"), PathBuf::from)
}

/// The executable of the checker. It lies beside `vouchd`.
pub fn checker_binary() -> PathBuf {
    binary().with_file_name("vouchd-checker")
}

/// The directory of the built-in plugins: `VOUCHD_PLUGINS`, or where the workspace builds them.
pub fn builtin_plugins() -> PathBuf {
    std::env::var_os("VOUCHD_PLUGINS").map_or_else(|| target().join("plugins"), PathBuf::from)
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("target")
}

/// The files of one daemon.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
    plugin_dir: PathBuf,
    cache_dir: PathBuf,
}

impl Files {
    /// Makes the directories. The plugin directory is empty.
    ///
    /// # Errors
    /// If they cannot be made, or the built-in plugins cannot be copied.
    pub fn new(site: &Site, node: Node) -> anyhow::Result<Self> {
        let files = Self::without_builtins(site, node)?;
        // Copies, since the build directory may be closed to the checker's user.
        for entry in fs::read_dir(builtin_plugins())?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "wasm") {
                fs::copy(entry.path(), files.builtin_plugin_dir().join(entry.file_name()))?;
            }
        }
        Ok(files)
    }

    /// The same without the built-in plugins, which take some seconds to compile.
    ///
    /// # Errors
    /// If the directories cannot be made.
    pub fn without_builtins(site: &Site, node: Node) -> anyhow::Result<Self> {
        let dir = site.dir(&format!("vouchd-{}", node.name()))?;
        let files = Self { plugin_dir: dir.join("plugins"), cache_dir: dir.with_file_name("cache"), dir };
        for dir in [files.plugin_dir(), files.dir.join("conf.d"), files.builtin_plugin_dir()] {
            fs::create_dir_all(dir)?;
        }
        // The daemons of a site share it, so that each plugin is compiled once. The checker's user writes to it.
        let cache = site.dir("cache")?;
        fs::set_permissions(&cache, fs::Permissions::from_mode(0o1777))?;
        Ok(files)
    }

    /// The same with another plugin directory, which the test makes.
    pub fn with_plugin_dir(self, plugin_dir: PathBuf) -> Self {
        Self { plugin_dir, ..self }
    }

    /// The same with another directory for compiled plugins.
    pub fn with_cache_dir(self, cache_dir: PathBuf) -> Self {
        Self { cache_dir, ..self }
    }

    /// The main configuration file.
    pub fn config(&self) -> PathBuf {
        self.dir.join("vouchd.toml")
    }

    /// A file of this name in `conf.d`.
    pub fn drop_in(&self, name: &str) -> PathBuf {
        self.dir.join("conf.d").join(name)
    }

    /// The directory of the operator's plugins.
    pub fn plugin_dir(&self) -> PathBuf {
        self.plugin_dir.clone()
    }

    /// The directory of the built-in plugins.
    pub fn builtin_plugin_dir(&self) -> PathBuf {
        self.dir.join("builtin")
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// Writes the main file: a `[daemon]` table that names these files, then `rest`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_config(&self, name: &str, rest: &str) -> anyhow::Result<()> {
        let cache = &self.cache_dir;
        let text = format!(
            "[daemon]\nname = {name:?}\nplugin_dir = {:?}\nbuiltin_plugin_dir = {:?}\ncache_dir = {cache:?}\n\
             control = {:?}\n\n{rest}",
            self.plugin_dir(),
            self.builtin_plugin_dir(),
            self.control(),
        );
        Ok(fs::write(self.config(), text)?)
    }
}

/// Starts `vouchd run` with a configuration file, its log named after `what`, and does not wait for anything. `environment`
/// has variables: `NAME=VALUE`.
///
/// # Errors
/// If it does not start, or ends at once.
pub fn spawn(site: &Site, node: Node, what: &str, config: &Path, environment: &[String]) -> anyhow::Result<Process> {
    let binary = binary();
    let arguments = environment.iter().map(OsStr::new).chain([
        binary.as_os_str(),
        OsStr::new("run"),
        OsStr::new("-c"),
        config.as_os_str(),
    ]);
    site.host(node).daemon(what, Path::new("/usr/bin/env"), arguments)
}

/// A running daemon.
#[derive(Debug)]
pub struct Vouchd {
    /// Its process: the router.
    pub process: Process,
    /// Its files.
    pub files: Files,
}

impl Vouchd {
    /// Starts it by a plan.
    ///
    /// # Errors
    /// If it ends, or does not answer within 10 s.
    pub fn start(site: &Site, node: Node, plan: &Plan) -> anyhow::Result<Self> {
        let files = Files::new(site, node)?;
        Self::start_with(site, node, files, &config(node, plan))
    }

    /// Starts it with these checks and instances.
    ///
    /// # Errors
    /// If it ends, or does not answer within 10 s.
    pub fn start_with(site: &Site, node: Node, files: Files, rest: &str) -> anyhow::Result<Self> {
        Self::start_in(site, node, files, rest, &[])
    }

    /// The same with variables in its environment: `NAME=VALUE`.
    ///
    /// # Errors
    /// If it ends, or does not answer within 10 s.
    pub fn start_in(site: &Site, node: Node, files: Files, rest: &str, environment: &[String]) -> anyhow::Result<Self> {
        files.write_config(node.name(), rest)?;
        let process = spawn(site, node, "vouchd", &files.config(), environment)?;
        let mut vouchd = Self { process, files };
        until(&format!("vouchd on {} to answer", node.name()), Duration::from_secs(10), || {
            !vouchd.process.is_running() || vouchd.status().is_ok()
        })?;
        if !vouchd.process.is_running() {
            bail!("vouchd on {} ended:\n{}", node.name(), vouchd.process.log());
        }
        Ok(vouchd)
    }

    /// Runs a command that asks this daemon, as `status` or `explain`.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub fn command(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Output::of(Command::new(binary()).args(arguments).arg("--control").arg(self.files.control()))
    }

    /// The document of `vouchd status --json`.
    ///
    /// # Errors
    /// If the daemon does not answer.
    pub fn status(&self) -> anyhow::Result<Value> {
        let output = self.command(&["status", "--json"])?;
        // The exit status tells how well the daemon is. There is no document only if it could not be asked.
        if output.stdout.is_empty() {
            bail!("status: exit status {:?}: {}", output.code, output.stderr);
        }
        serde_json::from_str(&output.stdout).context("status is not JSON")
    }

    fn named(&self, list: &str, name: &str) -> anyhow::Result<Value> {
        let status = self.status()?;
        status[list]
            .as_array()
            .into_iter()
            .flatten()
            .find(|entry| entry["name"] == name)
            .cloned()
            .with_context(|| format!("no {list} entry {name} in {status}"))
    }

    /// The status of an instance.
    ///
    /// # Errors
    /// If the daemon does not answer, or has no such instance.
    pub fn instance(&self, name: &str) -> anyhow::Result<Value> {
        self.named("instances", name)
    }

    /// The status of a check.
    ///
    /// # Errors
    /// If the daemon does not answer, or has no such check.
    pub fn check(&self, name: &str) -> anyhow::Result<Value> {
        self.named("checks", name)
    }

    /// The status of a plugin.
    ///
    /// # Errors
    /// If the daemon does not answer, or has no such plugin.
    pub fn plugin(&self, name: &str) -> anyhow::Result<Value> {
        self.named("plugins", name)
    }

    /// Waits until an instance is in a state: `initialize`, `backup` or `active`.
    ///
    /// # Errors
    /// If that takes longer than `within`; the error has the last status.
    pub fn wait_state(&self, instance: &str, state: &str, within: Duration) -> anyhow::Result<()> {
        until(&format!("{instance} to be {state}"), within, || {
            self.instance(instance).is_ok_and(|instance| instance["state"] == state)
        })
        .with_context(|| format!("status: {:?}", self.instance(instance)))
    }

    /// The process id of the checker, which runs the plugins.
    ///
    /// # Errors
    /// If there is none within 2 s.
    pub fn checker(&self) -> anyhow::Result<i32> {
        crate::wait::eventually("a checker process", Duration::from_secs(2), || {
            children(self.process.pid()).into_iter().find(|pid| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split(|&byte| byte == 0).any(|word| word == b"serve"))
            })
        })
    }

    /// Waits for a process that compiles a plugin, and returns its id.
    ///
    /// # Errors
    /// If there is none within 30 s.
    pub fn compiler(&self) -> anyhow::Result<Pid> {
        crate::wait::eventually("a process that compiles", Duration::from_secs(30), || {
            let compiles = |pid: &i32| {
                fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.split(|&byte| byte == 0).nth(1) == Some(b"compile"))
            };
            children(self.checker().ok()?).into_iter().find(compiles).map(Pid::from_raw)
        })
    }

    /// Stops it as `systemctl stop vouchd` does.
    ///
    /// # Errors
    /// If it does not end within 5 s.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(Duration::from_secs(5))
    }
}

/// The plan as checks and instances of a vouchd configuration.
pub fn config(node: Node, plan: &Plan) -> String {
    let mut text = String::new();
    if let Some(check) = &plan.check {
        let (plugin, params, allow) = match check.probe {
            Probe::Process => ("process", r#"name = "nginx""#, r#"process = ["nginx"]"#),
            Probe::Http => ("http", r#"url = "http://127.0.0.1/", status = 200"#, r#"http = ["http://127.0.0.1/"]"#),
        };
        let _ = write!(
            text,
            "[check.{CHECK}]\nplugin = \"{plugin}\"\nparams = {{ {params} }}\nallow = {{ {allow} }}\n\
             interval = \"{}ms\"\nrise = {}\nfall = {}\n",
            check.interval.as_millis(),
            check.rise,
            check.fall
        );
        if let Some(interval) = check.fast_interval {
            let _ = writeln!(text, "fast_interval = \"{}ms\"", interval.as_millis());
        }
        if let Some(weight) = check.weight {
            let _ = writeln!(text, "weight = {weight}");
        }
        text.push('\n');
    }
    let _ = write!(
        text,
        "[instance.{INSTANCE}]\ninterface = \"{INTERFACE}\"\nvirtual_router_id = {VRID}\n\
         priority = {}\npreempt = {}\naddresses = [\"{VIP}\"]\n",
        plan.priority, plan.preempt
    );
    match plan.timing {
        Timing::V2 => text.push_str("version = 2\nadvert_interval = \"1s\"\n"),
        Timing::V3 { interval } => {
            let _ = writeln!(text, "version = 3\nadvert_interval = \"{}ms\"", interval.as_millis());
        }
    }
    if let Some(password) = plan.password {
        let _ = writeln!(text, "auth = {{ type = \"pass\", password = \"{password}\" }}");
    }
    if plan.unicast {
        let _ = writeln!(
            text,
            "unicast = {{ source = \"{}\", peers = [\"{}\"] }}",
            node.address(),
            crate::pair::peer(node).address()
        );
    }
    if let Some(routers) = plan.routers {
        let _ = writeln!(text, "routers = {routers}");
    }
    if plan.check.is_some() {
        let _ = writeln!(text, "checks = [\"{CHECK}\"]");
    }
    text
}
