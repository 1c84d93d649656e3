//! The probes of a single call: process, TCP, HTTP, files, DNS and network.

use std::sync::Arc;
use std::time::Instant;

use crate::contract::{ProbeError, dns, files, http, network, process, tcp};
use crate::probes;
use crate::probes::changes::Changes;
use crate::run::state::RunState;

/// Processes that are watched between two runs of a check: each takes a descriptor.
const MAX_WATCHED_PROCESSES: usize = 64;

impl RunState {
    /// Makes a probe that looks at the host itself, below `place`, and may block.
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
        let found = self.blocking(place, move || look(&grants, changes.as_deref())).await;
        self.note(what, started, found.as_ref().map(words));
        found
    }

    pub(super) async fn find_processes(&mut self, query: process::Query) -> Result<Vec<process::Info>, ProbeError> {
        self.admit()?;
        let started = Instant::now();
        let what = describe(&query);
        let (shared, grants) = (Arc::clone(&self.shared), self.grants.clone());
        let bound = self.probe_bytes;
        let place = query.pid_file.clone().unwrap_or_else(|| "/proc".to_owned());
        let found = self.blocking(&place, move || shared.processes.find(&grants, &query, bound)).await;
        self.note(what, started, found.as_ref().map(|(infos, _)| format!("{} found", infos.len())));
        let (infos, handles) = found?;
        let room = MAX_WATCHED_PROCESSES.saturating_sub(self.watch.processes.len());
        self.watch.processes.extend(handles.into_iter().take(room));
        Ok(infos)
    }

    pub(super) async fn probe_tcp(
        &mut self,
        request: probes::tcp::Request,
        timeout_ms: u32,
    ) -> Result<tcp::Reply, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(timeout_ms));
        let what = format!("tcp {}", request.addr);
        let reply = match self.may_connect() {
            Ok(()) => match probes::tcp::probe(&self.grants, &request, self.probe_bytes, time).await {
                // Nothing was sent yet.
                Err(error) if self.shared.http.makes_room(Some(&error)).await => {
                    probes::tcp::probe(&self.grants, &request, self.probe_bytes, time).await
                }
                reply => reply,
            },
            Err(denied) => Err(denied),
        };
        let answer = reply.as_ref().map(|r| match r.data.len() {
            0 => "connected".to_owned(),
            n => format!("connected, {n} bytes"),
        });
        self.note(what, started, answer);
        reply
    }

    pub(super) async fn fetch_http(&mut self, request: http::Request) -> Result<http::Response, ProbeError> {
        self.admit()?;
        let (started, time) = (Instant::now(), self.time(request.timeout_ms));
        let what = format!("http {} {}", request.method, request.url);
        let response = match self.may_connect() {
            Ok(()) => self.shared.http.fetch(&self.check, &self.grants, request, self.probe_bytes, time).await,
            Err(denied) => Err(denied),
        };
        self.note(what, started, response.as_ref().map(|r| r.status.to_string()));
        response
    }
}

impl process::Host for RunState {
    async fn find(&mut self, query: process::Query) -> Result<Vec<process::Info>, ProbeError> {
        self.find_processes(query).await
    }
}

impl tcp::Host for RunState {
    async fn probe(
        &mut self,
        addr: String,
        send: Vec<u8>,
        until: Option<Vec<u8>>,
        max_bytes: u32,
        timeout_ms: u32,
    ) -> Result<tcp::Reply, ProbeError> {
        self.probe_tcp(probes::tcp::Request { addr, send, until, max_bytes }, timeout_ms).await
    }
}

impl http::Host for RunState {
    async fn fetch(&mut self, request: http::Request) -> Result<http::Response, ProbeError> {
        self.fetch_http(request).await
    }
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

fn describe(query: &process::Query) -> String {
    let mut words = vec!["process".to_owned()];
    words.extend(query.name.clone());
    words.extend(query.cmdline.as_ref().map(|c| format!("cmdline {c:?}")));
    words.extend(query.pid_file.as_ref().map(|p| format!("pid file {p}")));
    words.extend(query.user.as_ref().map(|u| format!("of {u}")));
    words.join(" ")
}

fn bytes(count: usize) -> String {
    format!("{count} bytes")
}
