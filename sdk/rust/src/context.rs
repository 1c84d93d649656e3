//! The context of a run: parameters, time budget, and the services of the daemon.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::error::{ProbeError, Result};
use crate::params::{ParamError, from_pairs};
use crate::probes::{
    Address, Connection, FileInfo, HttpRequest, HttpResponse, Link, Process, ProcessQuery, Space, TcpReply, TcpRequest,
};

/// The level of a line in the daemon's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author of the plugin.
    Debug,
    /// Normal operation.
    Info,
    /// Something that the operator should look at.
    Warn,
    /// Something that keeps the check from working.
    Error,
}

/// The services behind a [`Context`]: the daemon, or a [`FakeHost`](crate::testing::FakeHost) in tests. Each method is described
/// at the method of [`Context`] with the same name.
#[expect(missing_docs, reason = "documented on Context")]
pub trait Host {
    fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError>;
    fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError>;
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError>;
    fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError>;
    fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError>;
    fn space(&self, path: &str) -> Result<Space, ProbeError>;
    fn resolve(&self, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError>;
    fn links(&self) -> Result<Vec<Link>, ProbeError>;
    fn addresses(&self) -> Result<Vec<Address>, ProbeError>;
    fn connect_tcp(&self, address: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError>;
    fn connect_unix(&self, path: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError>;
    fn now(&self) -> SystemTime;
    fn log(&self, level: Level, message: &str);
    fn recall(&self) -> Vec<u8>;
    fn remember(&self, data: &[u8]);
}

/// In a plugin the type is known at compile time, so that the module imports only what it uses.
#[cfg(target_family = "wasm")]
type Services<'a> = &'a crate::bindings::Daemon;
#[cfg(not(target_family = "wasm"))]
type Services<'a> = &'a dyn Host;

/// One run of a check: its parameters, its time, and its probes.
///
/// Every `timeout` may be `None`: the probe then takes at most the time that the run has left. A check may make
/// `limits.probes` probes a run, each with at most `limits.probe_bytes` of answer; beyond that a probe is denied.
pub struct Context<'a> {
    name: String,
    params: Vec<(String, String)>,
    budget: Duration,
    host: Services<'a>,
}

impl<'a> Context<'a> {
    /// Makes a context. Plugins are given one; [`FakeHost::run`](crate::testing::FakeHost::run) makes one for tests.
    pub fn new(name: String, params: Vec<(String, String)>, budget: Duration, host: Services<'a>) -> Self {
        Context { name, params, budget, host }
    }

    /// The name of the check in the daemon's configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time that the run had when it started. A run that takes longer is ended and counts as failed.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// The check's `params` as a type of the plugin: one made by [`params!`](crate::params!), or any that implements serde's
    /// `Deserialize`. Give the latter `#[serde(deny_unknown_fields)]`, so that a misspelt name is an error.
    ///
    /// # Errors
    /// If a parameter is missing, unknown or of the wrong type.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        from_pairs(&self.params)
    }

    /// The parameters as names and values, in file order. Tables are flattened (`headers.accept`); a list repeats its name.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.params
    }

    /// Finds running processes. vouchd watches those that were found: when one ends, the check runs again at once.
    ///
    /// # Errors
    /// If the check has no grant for them, or the query makes no sense.
    pub fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError> {
        self.host.find_processes(query)
    }

    /// Connects, sends, and receives, in one exchange. Use [`connect_tcp`](Self::connect_tcp) for more.
    ///
    /// # Errors
    /// If the check has no grant for the address, or the connection fails.
    pub fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError> {
        self.host.tcp(request)
    }

    /// Makes an HTTP request. Any status is a response, not an error.
    ///
    /// # Errors
    /// If the check has no grant for the URL, or no response arrives.
    pub fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError> {
        self.host.http(request)
    }

    /// Looks at a path of the host; `None` if nothing is there. Paths are absolute, without `.` and `..`.
    ///
    /// # Errors
    /// If the check has no grant for the path, or the file system fails.
    pub fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError> {
        self.host.stat(path)
    }

    /// Reads the first `max_bytes` of a file of the host; `None` if there is no such file. Ask for `u32::MAX` for all of it: a
    /// file longer than `limits.probe_bytes` is then denied, never cut.
    ///
    /// # Errors
    /// If the check has no grant for the path, it is not a regular file, or it cannot be read.
    pub fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError> {
        self.host.read(path, max_bytes)
    }

    /// Measures the file system that holds the path.
    ///
    /// # Errors
    /// If the check has no grant for the path, or it does not exist.
    pub fn space(&self, path: &str) -> Result<Space, ProbeError> {
        self.host.space(path)
    }

    /// Looks up a name with the host's resolver. Returns at least one address, each once.
    ///
    /// # Errors
    /// If the check has no grant for the name, or the name does not resolve.
    pub fn resolve(&self, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        self.host.resolve(name, timeout)
    }

    /// Looks up a name at one name server: `10.0.0.2` or `10.0.0.2:53`. If it does not answer, the probe times out; with
    /// [`resolve`](Self::resolve) that is [`Invalid`](ProbeError::Invalid), a failure of this host.
    ///
    /// # Errors
    /// If the check has no grant for the name (`dns`) or the server (`tcp`), the name does not resolve there, or the server does
    /// not answer.
    pub fn resolve_at(&self, server: &str, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        self.host.resolve(&format!("{name}@{server}"), timeout)
    }

    /// Lists the network links of the host. Needs no grant.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn links(&self) -> Result<Vec<Link>, ProbeError> {
        self.host.links()
    }

    /// Lists the addresses of the host, virtual addresses included. Needs no grant.
    ///
    /// # Errors
    /// If the kernel does not answer.
    pub fn addresses(&self) -> Result<Vec<Address>, ProbeError> {
        self.host.addresses()
    }

    /// Opens a connection to `host:port`, IPv6 addresses in brackets.
    ///
    /// # Errors
    /// If the check has no grant for the address, or the connection fails.
    pub fn connect_tcp(&self, address: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        self.host.connect_tcp(address, timeout)
    }

    /// Opens a connection to a unix socket.
    ///
    /// # Errors
    /// If the check has no grant for the path, or the connection fails.
    pub fn connect_unix(&self, path: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        self.host.connect_unix(path, timeout)
    }

    /// The host's clock, in whole milliseconds.
    pub fn now(&self) -> SystemTime {
        self.host.now()
    }

    /// Writes a line to the daemon's log. vouchd cuts it after 1024 bytes, and drops lines beyond `limits.log_lines`.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message);
    }

    /// What an earlier run kept with [`remember`](Self::remember); empty at first, after a restart of the daemon, and after a
    /// change of the plugin.
    pub fn recall(&self) -> Vec<u8> {
        self.host.recall()
    }

    /// Keeps up to 4096 bytes for the next run, if this one ends with a report. More make the run an error.
    pub fn remember(&self, data: &[u8]) {
        self.host.remember(data);
    }
}
