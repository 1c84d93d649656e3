//! nginx as a reverse proxy in front of the two web servers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::host::{Host, Process};
use crate::site::{Node, Site};
use crate::wait::until;

/// What nginx answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The web servers' answers, in turn.
    Proxied,
    /// Status 500.
    Failure,
}

/// nginx on a host. It may be stopped.
#[derive(Debug)]
pub struct Nginx<'s> {
    host: &'s Host,
    config: PathBuf,
    dir: PathBuf,
    process: Option<Process>,
}

impl<'s> Nginx<'s> {
    /// Starts nginx and waits until it answers.
    ///
    /// # Errors
    /// If it does not within 5 s.
    pub fn start_on(site: &'s Site, node: Node) -> anyhow::Result<Self> {
        let dir = site.dir(&format!("nginx-{}", node.name()))?;
        let config = dir.join("nginx.conf");
        let mut nginx = Self { host: site.host(node), config, dir, process: None };
        nginx.start()?;
        Ok(nginx)
    }

    /// Starts it, answering [`Answer::Proxied`], and waits until it answers.
    ///
    /// # Errors
    /// If it does not answer within 5 s.
    pub fn start(&mut self) -> anyhow::Result<()> {
        fs::write(&self.config, config(&self.dir, Answer::Proxied))?;
        let args: [&Path; 2] = [Path::new("-c"), &self.config];
        self.process = Some(self.host.daemon("nginx", Path::new("/usr/sbin/nginx"), args)?);
        until(&format!("nginx on {} to answer", self.host.name), Duration::from_secs(5), || {
            self.host.sh("curl -sf -o /dev/null -m 1 http://127.0.0.1/").is_ok()
        })
    }

    /// Stops it as `systemctl stop nginx` does, by SIGQUIT: it finishes the requests in flight.
    ///
    /// # Errors
    /// If it does not end within 5 s.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.end(|process| process.signal(Signal::SIGQUIT))
    }

    /// Kills all its processes (SIGKILL).
    ///
    /// # Errors
    /// If it does not end within 5 s.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.end(|process| process.signal_all(Signal::SIGKILL))
    }

    fn end(&mut self, how: impl FnOnce(&Process)) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            how(&process);
            process.wait(Duration::from_secs(5))?;
        }
        Ok(())
    }

    /// Changes what it answers, by a reload.
    ///
    /// # Errors
    /// If the configuration cannot be written.
    pub fn answer_with(&self, answer: Answer) -> anyhow::Result<()> {
        fs::write(&self.config, config(&self.dir, answer))?;
        if let Some(process) = &self.process {
            process.signal(Signal::SIGHUP);
        }
        Ok(())
    }
}

fn config(dir: &Path, answer: Answer) -> String {
    let dir = dir.display();
    let location = match answer {
        Answer::Proxied => {
            "proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; \
             proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_pass http://WebServer;"
        }
        Answer::Failure => "return 500;",
    };
    format!(
        "daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log {dir}/access.log;
    upstream WebServer {{
        server {web01} weight=1 max_fails=2 fail_timeout=5s;
        server {web02} weight=1 max_fails=2 fail_timeout=5s;
    }}
    server {{
        listen 80;
        location / {{ {location} }}
    }}
}}
",
        web01 = Node::Web01.address(),
        web02 = Node::Web02.address(),
    )
}
