//! The control socket: a client writes one line, the router answers with one JSON document and closes.
//!
//! Its thread asks the others for their part; nobody waits for it, and a client that dawdles is dropped.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tracing::debug;
use vouchd_net::{Notifier, Time};

use super::log::{Line, Log, Subject};
use super::{protocol, supervisor};
use crate::status;

/// The only request there is so far.
pub const STATUS: &str = "status";

/// How long a client may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the other threads may take to answer: less than the client waits, so that it hears which of them hangs.
const ANSWER: Duration = Duration::from_millis(600);

/// What `status` says beside what the protocol and the health thread know.
pub struct Daemon {
    pub name: String,
    pub since: String,
    /// Set by the main thread when it loads a configuration.
    pub config: Arc<Mutex<status::ConfigState>>,
}

/// The socket file; removed when dropped.
pub struct Control {
    path: PathBuf,
}

impl Control {
    /// Binds the socket and starts its thread. A socket file left by a daemon that is gone is replaced.
    ///
    /// # Errors
    /// When a daemon already answers there, or the path can't be bound.
    pub fn start(
        path: &Path,
        daemon: Daemon,
        protocol: Notifier<protocol::Command>,
        health: Notifier<supervisor::Command>,
    ) -> anyhow::Result<Self> {
        if UnixStream::connect(path).is_ok() {
            anyhow::bail!("{}: another vouchd answers there; stop it, or set daemon.control", path.display());
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("replacing {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
        }
        let listener = UnixListener::bind(path).with_context(|| format!("binding {}", path.display()))?;
        // Reading the status needs no root, but is not for everybody either: the group may.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660)).context("permissions of the control socket")?;
        let mut server = Server { daemon, protocol, health, log: Log::default() };
        thread::Builder::new().name("control".to_owned()).spawn(move || server.serve(&listener))?;
        Ok(Control { path: path.to_owned() })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The file of a socket that nobody listens on harms nobody.
        let _ = fs::remove_file(&self.path);
    }
}

struct Server {
    daemon: Daemon,
    protocol: Notifier<protocol::Command>,
    health: Notifier<supervisor::Command>,
    log: Log,
}

impl Server {
    fn serve(&mut self, listener: &UnixListener) {
        for client in listener.incoming() {
            let answered = client.map_err(anyhow::Error::from).and_then(|client| self.answer(client));
            if let Err(error) = answered {
                debug!("control: {error:#}");
            }
        }
    }

    fn answer(&mut self, mut client: UnixStream) -> anyhow::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        client.set_write_timeout(Some(PATIENCE))?;
        let mut request = String::new();
        BufReader::new((&client).take(256)).read_line(&mut request)?;
        match request.trim_end() {
            STATUS => {
                match self.status() {
                    Ok(status) => serde_json::to_writer(&client, &status)?,
                    Err(error) => {
                        serde_json::to_writer(&client, &serde_json::json!({ "error": format!("{error:#}") }))?
                    }
                }
                client.write_all(b"\n")?;
            }
            other => {
                let text = format!("control: unknown request {other:?}, expected {STATUS:?}");
                self.log.say(Time::now(), "unknown request", Line::warn(Subject::Daemon, text));
            }
        }
        Ok(())
    }

    fn status(&self) -> anyhow::Result<status::Status> {
        let (to_protocol, from_protocol) = mpsc::channel();
        let (to_health, from_health) = mpsc::channel();
        self.protocol.send(protocol::Command::Snapshot(to_protocol))?;
        self.health.send(supervisor::Command::Snapshot(to_health))?;
        let deadline = Instant::now() + ANSWER;
        let mut protocol = from_protocol.recv_timeout(ANSWER).context("the protocol thread does not answer")?;
        let left = deadline.saturating_duration_since(Instant::now());
        let health = from_health.recv_timeout(left).context("the health thread does not answer")?;
        for instance in &mut protocol.instances {
            instance.priority.terms = health.terms.get(&instance.name).cloned().unwrap_or_default();
        }
        let config = match self.daemon.config.lock() {
            Ok(config) => config.clone(),
            Err(poisoned) => poisoned.into_inner().clone(),
        };
        Ok(status::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            name: self.daemon.name.clone(),
            pid: std::process::id(),
            since: self.daemon.since.clone(),
            config: config.at(Instant::now()),
            checker: health.checker,
            instances: protocol.instances,
            interfaces: protocol.interfaces,
            checks: health.checks,
            plugins: health.plugins,
        })
    }
}
