//! A make of router: how to write its configuration, and the command that starts it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use nix::sys::signal::Signal;
use thiserror::Error;
use vouchd_tests::host::{Host, Process};

use crate::plan::Plan;
use crate::template::{fill, mentions};

/// A row does not apply to a router: the reason.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NotApplicable(pub String);

/// Templates that make a router of any [`Plan`]. Both are filled in as [`crate::template`] describes. Beside the settings of
/// the plan, `{config}` is the configuration file, `{dir}` a directory of the router's own, `{log}` and `{pid}` files in it.
#[derive(Debug, Clone)]
pub struct Make {
    /// Its name in tables.
    pub name: String,
    /// The configuration.
    pub template: String,
    /// A shell script that ends with `exec` of the router in the foreground.
    pub command: String,
    /// A shell script that makes a running router read its configuration again; `{process}` is its process id.
    pub reload: String,
}

impl Make {
    /// vouchd, as the workspace has built it or `VOUCHD_BIN` names it.
    pub fn vouchd() -> Self {
        Self {
            name: "vouchd".to_owned(),
            template: include_str!("../routers/vouchd.toml").to_owned(),
            command: format!("exec {} run -c {{config}}\n", vouchd_tests::vouchd::binary().display()),
            reload: "kill -HUP {process}\n".to_owned(),
        }
    }

    /// keepalived, as the distribution has it.
    pub fn keepalived() -> Self {
        Self {
            name: "keepalived".to_owned(),
            template: include_str!("../routers/keepalived.conf").to_owned(),
            command: "exec /usr/sbin/keepalived -nlDP -f {config} -p {pid} -r {dir}/vrrp.pid\n".to_owned(),
            reload: "kill -HUP {process}\n".to_owned(),
        }
    }

    /// FRR's vrrpd, as the distribution has it.
    pub fn frr() -> Self {
        Self {
            name: "FRR".to_owned(),
            template: include_str!("../routers/frr.conf").to_owned(),
            command: include_str!("../routers/frr.sh").to_owned(),
            reload: include_str!("../routers/frr-reload.sh").to_owned(),
        }
    }

    /// A built-in make by its name on a command line.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "vouchd" => Some(Self::vouchd()),
            "keepalived" => Some(Self::keepalived()),
            "frr" => Some(Self::frr()),
            _ => None,
        }
    }

    /// Whether its program is installed; a make from the command line always is.
    pub fn is_installed(&self) -> bool {
        match &*self.name {
            "vouchd" => vouchd_tests::vouchd::binary().exists(),
            "keepalived" => Path::new("/usr/sbin/keepalived").exists(),
            "FRR" => Path::new("/usr/lib/frr/vrrpd").exists(),
            _ => true,
        }
    }

    /// Starts a router on a host. `dir` is for its files.
    ///
    /// # Errors
    /// [`NotApplicable`] if the templates cannot express the plan; otherwise if the router does not start.
    pub fn start(&self, host: &Host, dir: &Path, plan: &Plan) -> anyhow::Result<Router> {
        for setting in plan.needs() {
            if !mentions(&self.template, setting) && !mentions(&self.command, setting) {
                let reason = format!("cannot be configured: no {{{setting}}} in the template");
                return Err(NotApplicable(reason).into());
            }
        }
        fs::create_dir_all(dir)?;
        let mut router = Router { make: self.clone(), plan: plan.clone(), dir: dir.to_owned(), process: None };
        let command = router.configure(plan)?;
        // By the shell's path, which replaces itself with the router.
        let process = host.daemon(&self.name, Path::new("/bin/sh"), ["-c", &command])?;
        router.process = Some(process);
        Ok(router)
    }
}

/// A running router.
#[derive(Debug)]
pub struct Router {
    make: Make,
    plan: Plan,
    dir: std::path::PathBuf,
    process: Option<Process>,
}

impl Router {
    /// Writes the configuration, and returns the command that starts the router.
    fn configure(&self, plan: &Plan) -> anyhow::Result<String> {
        let config = self.dir.join("router.conf");
        let mut values = plan.values();
        let path = |name: &str| vec![self.dir.join(name).display().to_string()];
        values.extend([
            ("config", path("router.conf")),
            ("dir", vec![self.dir.display().to_string()]),
            ("log", path("router.log")),
            ("pid", path("router.pid")),
            ("process", self.process.iter().map(|process| process.pid().to_string()).collect()),
        ]);
        fs::write(&config, fill(&self.make.template, &values)).with_context(|| config.display().to_string())?;
        let script = if self.process.is_some() { &self.make.reload } else { &self.make.command };
        Ok(fill(script, &values))
    }

    /// What it runs with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Its process.
    ///
    /// # Errors
    /// If it was stopped.
    pub fn process(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("the router is stopped")
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log)
    }

    /// Fails if it has ended.
    ///
    /// # Errors
    /// If it has ended; the error has the end of its log.
    pub fn must_run(&mut self) -> anyhow::Result<()> {
        let running = self.process.as_mut().is_some_and(Process::is_running);
        let log = self.log();
        let end: Vec<_> = log.lines().rev().take(3).collect();
        ensure!(running, "the router has ended: {}", end.into_iter().rev().collect::<Vec<_>>().join(" / "));
        Ok(())
    }

    /// Gives it another configuration without a restart.
    ///
    /// # Errors
    /// If the make's script fails.
    pub fn reload(&mut self, plan: Plan) -> anyhow::Result<()> {
        let script = self.configure(&plan)?;
        let output = std::process::Command::new("sh").args(["-c", &script]).output()?;
        ensure!(output.status.success(), "reload: {}", String::from_utf8_lossy(&output.stderr));
        self.plan = plan;
        Ok(())
    }

    /// Stops it as the service manager does.
    ///
    /// # Errors
    /// If it does not end within 10 s.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("the router is stopped")?;
        process.signal(Signal::SIGTERM);
        process.wait(Duration::from_secs(10)).map(drop)
    }
}
