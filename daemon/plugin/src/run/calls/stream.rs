//! The contract's interface `stream`: connections that a plugin holds open during a run.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::Resource;

use crate::contract::ProbeError;
use crate::contract::stream::{self, Connection as Handle};
use crate::probes;
use crate::probes::stream::Connection;
use crate::run::state::RunState;

impl RunState {
    /// Passes a new connection to the plugin.
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

    /// Uses a connection, and updates its record.
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

/// The table's entry of a connection: the contract's type stands for the handle only.
fn entry(handle: &Resource<Handle>) -> Resource<Connection> {
    Resource::new_own(handle.rep())
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
