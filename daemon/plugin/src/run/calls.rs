//! What a plugin calls of files, dns, network, stream and clock: each call within the run's bounds, and kept as a record.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use wasmtime::component::Resource;

use crate::contract::stream::Connection as Handle;
use crate::contract::{ProbeError, clock, dns, files, network, stream};
use crate::probes;
use crate::probes::changes::Changes;
use crate::probes::stream::Connection;
use crate::run::state::RunState;

impl RunState {
    /// A probe that looks at the host itself, at this place, and may block.
    async fn look<T: Send + 'static>(
        &mut self,
        what: String,
        place: &str,
        look: impl FnOnce(&vouchd_config::Grants, Option<&Changes>) -> Result<T, ProbeError> + Clone + Send + 'static,
        words: impl FnOnce(&T) -> String,
    ) -> Result<T, ProbeError> {
        self.admit()?;
        let started = Instant::now();
        let (grants, changes) = (self.grants.clone(), self.changes.clone());
        let found = self.aside(place, move || look(&grants, changes.as_deref())).await;
        self.note(what, started, found.as_ref().map(words));
        found
    }

    /// Hands a new connection to the plugin.
    fn open(
        &mut self,
        what: String,
        started: Instant,
        connected: Result<Connection, ProbeError>,
    ) -> Result<Resource<Handle>, ProbeError> {
        let probe = self.probes.len();
        self.note(what, started, connected.as_ref().map(|_| "connected".to_owned()));
        let mut connection = connected?;
        connection.probe = probe;
        let entry = self.table.push(connection).map_err(|e| ProbeError::Invalid(e.to_string()))?;
        self.open += 1;
        Ok(Resource::new_own(entry.rep()))
    }

    /// Something done with a connection, which its record tells from then on.
    async fn converse<T>(
        &mut self,
        handle: &Resource<Handle>,
        act: impl AsyncFnOnce(&mut Connection) -> Result<T, ProbeError>,
    ) -> Result<T, ProbeError> {
        let connection = self.table.get_mut(&entry(handle)).map_err(|e| ProbeError::Invalid(e.to_string()))?;
        let started = Instant::now();
        let done = act(connection).await;
        if let Some(record) = self.probes.get_mut(connection.probe) {
            record.answer = format!("connected, {} bytes sent, {} received", connection.sent, connection.received);
            if let Err(error) = &done {
                record.answer = format!("{}; then {}", record.answer, error.words());
            }
            record.took += started.elapsed();
        }
        if let Err(error) = &done {
            self.remember_refusal(error);
        }
        done
    }
}

/// The table's entry of a connection: the contract knows its handle only.
fn entry(handle: &Resource<Handle>) -> Resource<Connection> {
    Resource::new_own(handle.rep())
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}

impl files::Host for RunState {
    async fn stat(&mut self, path: String) -> Result<Option<files::Info>, ProbeError> {
        let words = |info: &Option<files::Info>| match info {
            Some(info) => format!("there, {} bytes", info.size),
            None => "no such file".to_owned(),
        };
        let (what, place) = (format!("stat {path}"), path.clone());
        self.look(what, &place, move |grants, changes| probes::files::stat(grants, &path, changes), words).await
    }

    async fn read(&mut self, path: String, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError> {
        let words = |data: &Option<Vec<u8>>| match data {
            Some(data) => bytes(data.len()),
            None => "no such file".to_owned(),
        };
        let (most, bound) = (max_bytes as usize, self.probe_bytes);
        let (what, place) = (format!("read {path}"), path.clone());
        let read = move |grants: &_, changes: Option<&_>| probes::files::read(grants, &path, most, bound, changes);
        self.look(what, &place, read, words).await
    }

    async fn space(&mut self, path: String) -> Result<files::Usage, ProbeError> {
        let words = |space: &files::Usage| format!("{} of {} bytes available", space.available, space.total);
        let (what, place) = (format!("space {path}"), path.clone());
        self.look(what, &place, move |grants, _| probes::files::space(grants, &path), words).await
    }
}

impl dns::Host for RunState {
    async fn resolve(&mut self, name: String, timeout_ms: u32) -> Result<Vec<String>, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(timeout_ms));
        let found = probes::dns::resolve(&self.grants, &name, time).await;
        self.note(format!("dns {name}"), started, found.as_ref().map(|addresses| addresses.join(" ")));
        found
    }
}

impl network::Host for RunState {
    async fn links(&mut self) -> Result<Vec<network::Link>, ProbeError> {
        let words = |links: &Vec<network::Link>| format!("{} found", links.len());
        self.look("links".to_owned(), "", |_, changes| probes::network::links(changes), words).await
    }

    async fn addresses(&mut self) -> Result<Vec<network::Address>, ProbeError> {
        let words = |addresses: &Vec<network::Address>| format!("{} found", addresses.len());
        self.look("addresses".to_owned(), "", |_, changes| probes::network::addresses(changes), words).await
    }
}

impl stream::Host for RunState {
    async fn connect_tcp(&mut self, addr: String, timeout_ms: u32) -> Result<Resource<Handle>, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(timeout_ms));
        let connected = match self.may_connect() {
            Ok(()) => match probes::stream::connect_tcp(&self.grants, &addr, self.probe_bytes, time).await {
                Err(error) if self.shared.http.makes_room(Some(&error)).await => {
                    probes::stream::connect_tcp(&self.grants, &addr, self.probe_bytes, time).await
                }
                connected => connected,
            },
            Err(denied) => Err(denied),
        };
        self.open(format!("stream {addr}"), started, connected)
    }

    async fn connect_unix(&mut self, path: String, timeout_ms: u32) -> Result<Resource<Handle>, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(timeout_ms));
        let connected = match self.may_connect() {
            Ok(()) => {
                let io = self.io();
                match probes::stream::connect_unix(&io, &self.grants, &path, self.probe_bytes, time).await {
                    Err(error) if self.shared.http.makes_room(Some(&error)).await => {
                        probes::stream::connect_unix(&io, &self.grants, &path, self.probe_bytes, time).await
                    }
                    connected => connected,
                }
            }
            Err(denied) => Err(denied),
        };
        self.open(format!("unix {path}"), started, connected)
    }
}

impl stream::HostConnection for RunState {
    async fn send(&mut self, handle: Resource<Handle>, data: Vec<u8>) -> Result<(), ProbeError> {
        let time = self.time(0);
        self.converse(&handle, async |connection| connection.send(&data, time).await).await
    }

    async fn receive(
        &mut self,
        handle: Resource<Handle>,
        until: Option<Vec<u8>>,
        max_bytes: u32,
        timeout_ms: u32,
    ) -> Result<Vec<u8>, ProbeError> {
        let time = self.time(timeout_ms);
        self.converse(&handle, async |connection| connection.receive(until.as_deref(), max_bytes, time).await).await
    }

    async fn start_tls(
        &mut self,
        handle: Resource<Handle>,
        server_name: String,
        verify: bool,
        timeout_ms: u32,
    ) -> Result<stream::Certificate, ProbeError> {
        let time = self.time(timeout_ms);
        let tls = Arc::clone(&self.shared.http.tls);
        self.converse(&handle, async |connection| connection.start_tls(&tls, &server_name, verify, time).await).await
    }

    async fn drop(&mut self, handle: Resource<Handle>) -> wasmtime::Result<()> {
        self.table.delete(entry(&handle))?;
        self.open = self.open.saturating_sub(1);
        Ok(())
    }
}

impl clock::Host for RunState {
    async fn now(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
