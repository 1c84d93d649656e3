//! The control socket: a client writes one line, the router answers with one JSON document and closes.
//!
//! | document | means |
//! |---|---|
//! | a [`status::Status`] | the answer |
//! | `{"error": "…"}` | the reason why there is no answer |
//!
//! One thread serves all clients ([`clients`]) and waits for none of them. It asks the threads that have the answer once for
//! all clients that wait (a [`Round`]), and gives them less time than a client waits, so that a client learns which thread
//! hangs.

mod clients;
mod round;

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::debug;
use vouchd_net::Notifier;

use self::clients::Clients;
use self::round::Round;
use crate::{protocol, supervisor};
use vouchd_ipc::control::STATUS;
use vouchd_ipc::status;

/// Clients accepted before the present ones are served again. Fewer than one user may have, so that each is served before it
/// can be the oldest.
const ACCEPT: usize = clients::PER_USER / 2;

/// The pause before the next client is accepted when there is no descriptor for one.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The parts of the status that neither the protocol thread nor the health thread has.
pub(crate) struct Daemon {
    /// The router's name.
    pub(crate) name: String,
    /// When the daemon started.
    pub(crate) since: String,
    /// Set by the main thread when it loads a configuration.
    pub(crate) config: Arc<Mutex<status::ConfigState>>,
}

/// The control socket. Dropping it removes the file, so the daemon's lock has to outlive it.
pub(crate) struct Control {
    path: PathBuf,
    listener: Option<UnixListener>,
}

impl Control {
    /// Binds the socket, and replaces a file that a dead daemon has left. Clients may connect; they are answered after
    /// [`Control::serve`].
    ///
    /// # Errors
    /// If another process listens there, or the path can't be bound.
    pub(crate) fn bind(path: &Path) -> anyhow::Result<Self> {
        // A daemon of an earlier version holds no lock.
        anyhow::ensure!(
            !is_served(path),
            "{}: another vouchd answers there; stop it, or set daemon.control to another path",
            path.display()
        );
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("replacing {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(path).with_context(|| format!("binding {}", path.display()))?;
        listener.set_nonblocking(true)?;
        let control = Control { path: path.to_owned(), listener: Some(listener) };
        // The group may read the status; others may not.
        fs::set_permissions(path, fs::Permissions::from_mode(0o660))
            .with_context(|| format!("setting the permissions of {}", path.display()))?;
        Ok(control)
    }

    /// Starts the thread that answers.
    ///
    /// # Errors
    /// If the thread can't be started.
    pub(crate) fn serve(
        &mut self,
        daemon: Daemon,
        protocol: Notifier<protocol::Command>,
        health: Notifier<supervisor::Command>,
    ) -> anyhow::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let (clients, round, accept_at) = (Clients::default(), Round::new(), Instant::now());
        let mut server = Server { listener, daemon, protocol, health, clients, round, accept_at };
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            loop {
                server.turn();
            }
        })?;
        Ok(())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // If the file stays, the next daemon replaces it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Whether a process listens there. A full queue counts without waiting for a place.
fn is_served(path: &Path) -> bool {
    let connected = Socket::new(Domain::UNIX, Type::STREAM, None).and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    });
    match connected {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

struct Server {
    listener: UnixListener,
    daemon: Daemon,
    protocol: Notifier<protocol::Command>,
    health: Notifier<supervisor::Command>,
    clients: Clients,
    round: Round,
    /// When the next client may be accepted.
    accept_at: Instant,
}

impl Server {
    /// Waits for something to do, and does it.
    fn turn(&mut self) {
        let now = Instant::now();
        let accepts = now >= self.accept_at;
        let mut deadlines = vec![self.clients.deadline(), self.round.deadline(self.clients.are_asking())];
        let mut fds = Vec::new();
        if accepts {
            fds.push(PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        } else {
            deadlines.push(Some(self.accept_at));
        }
        fds.extend(self.round.descriptors().map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)));
        fds.extend(self.clients.descriptors());
        let timeout = deadlines.into_iter().flatten().min().map_or(PollTimeout::NONE, |deadline| {
            // Rounded up, so as not to wake before the deadline.
            let left = deadline.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                debug!("control: poll: {error}");
                thread::sleep(EXHAUSTED);
            }
        }
        drop(fds);
        let now = Instant::now();
        if accepts {
            self.accept(now);
        }
        for (client, request) in self.clients.serve(now) {
            if request != STATUS {
                debug!("control: unknown request {request:?}");
                let error = format!("unknown request {request:?}, expected {STATUS:?}");
                self.clients.answer(now, client, &document(&json!({ "error": error })));
            }
        }
        self.answer_waiting(now);
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPT {
            match self.listener.accept() {
                Ok((client, _)) => self.clients.add(now, client),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    debug!("control: could not accept a client: {error}");
                    if !self.clients.drop_idle() {
                        self.accept_at = now + EXHAUSTED;
                    }
                    return;
                }
            }
        }
    }

    /// Asks the other threads for the clients that wait, and answers those.
    fn answer_waiting(&mut self, now: Instant) {
        if self.clients.are_asking() && self.round.may_start(now) {
            self.clients.mark_waiting();
            self.round.start(now, &self.protocol, &self.health);
        }
        if let Some(answer) = self.round.take(now) {
            let document = match answer {
                Ok((protocol, health)) => document(&self.status(protocol, health)),
                Err(error) => document(&json!({ "error": error })),
            };
            self.clients.answer_waiting(now, &document);
        }
    }

    fn status(&self, mut protocol: protocol::Snapshot, health: supervisor::Snapshot) -> status::Status {
        for instance in &mut protocol.instances {
            instance.priority.terms = health.terms.get(&instance.name).cloned().unwrap_or_default();
        }
        let config = self.daemon.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
        status::Status {
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
        }
    }
}

fn document(value: &impl serde::Serialize) -> Arc<[u8]> {
    let mut bytes = serde_json::to_vec(value).unwrap_or_else(|error| {
        // No document has keys that JSON can't have.
        json!({ "error": error.to_string() }).to_string().into_bytes()
    });
    bytes.push(b'\n');
    bytes.into()
}
