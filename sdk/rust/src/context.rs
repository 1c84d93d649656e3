//! What a check is given: its parameters, the time it has, and the daemon's services.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;

use crate::error::{ProbeError, Result};
use crate::params::{ParamError, from_pairs};
use crate::probes::{
    Address, Connection, DiskUsage, FileInfo, HttpRequest, HttpResponse, Link, Process, ProcessQuery, TcpReply,
    TcpRequest,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The services behind a [`Context`]: the daemon's, or those of a test.
pub trait Host {
    fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError>;
    fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError>;
    fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError>;
    fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError>;
    fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError>;
    fn space(&self, path: &str) -> Result<DiskUsage, ProbeError>;
    fn resolve(&self, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError>;
    fn links(&self) -> Result<Vec<Link>, ProbeError>;
    fn addresses(&self) -> Result<Vec<Address>, ProbeError>;
    fn connect_tcp(&self, addr: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError>;
    fn connect_unix(&self, path: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError>;
    fn now(&self) -> SystemTime;
    fn log(&self, level: Level, message: &str);
    fn recall(&self) -> Vec<u8>;
    fn remember(&self, data: &[u8]);
}

/// In a plugin it is known at compile time whose services these are, so that it imports only those that it uses.
#[cfg(target_family = "wasm")]
type Services<'a> = &'a crate::bindings::Daemon;
#[cfg(not(target_family = "wasm"))]
type Services<'a> = &'a dyn Host;

/// One run of a check.
pub struct Context<'a> {
    name: String,
    params: Vec<(String, String)>,
    budget: Duration,
    host: Services<'a>,
}

impl<'a> Context<'a> {
    pub fn new(name: String, params: Vec<(String, String)>, budget: Duration, host: Services<'a>) -> Self {
        Context { name, params, budget, host }
    }

    /// Name of the check in the daemon's configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Time that the run had when it began; a run that takes longer counts as failed.
    pub fn budget(&self) -> Duration {
        self.budget
    }

    /// The check's `params` as a type of the plugin. Use `#[serde(deny_unknown_fields)]`, so that a misspelt one is told.
    ///
    /// # Errors
    /// If a parameter is missing, unknown or of the wrong type.
    pub fn params<T: DeserializeOwned>(&self) -> Result<T, ParamError> {
        from_pairs(&self.params)
    }

    /// The parameters as they are handed over, in file order: tables flattened (`headers.accept`), a list as its name repeated.
    pub fn pairs(&self) -> &[(String, String)] {
        &self.params
    }

    /// Running processes that fit the query. They are watched: when one ends, the check runs again at once.
    ///
    /// # Errors
    /// If it is not granted, or the query makes no sense.
    pub fn find_processes(&self, query: &ProcessQuery) -> Result<Vec<Process>, ProbeError> {
        self.host.find_processes(query)
    }

    /// # Errors
    /// If it is not granted, or no connection came about.
    pub fn tcp(&self, request: &TcpRequest) -> Result<TcpReply, ProbeError> {
        self.host.tcp(request)
    }

    /// # Errors
    /// If it is not granted, or no response came.
    pub fn http(&self, request: &HttpRequest) -> Result<HttpResponse, ProbeError> {
        self.host.http(request)
    }

    /// What there is at a path of the host; none if there is nothing.
    ///
    /// # Errors
    /// If it is not granted, or can't be looked at.
    pub fn stat(&self, path: &str) -> Result<Option<FileInfo>, ProbeError> {
        self.host.stat(path)
    }

    /// The first bytes of a file of the host; none if there is no such file.
    ///
    /// # Errors
    /// If it is not granted, not a regular file, or can't be read.
    pub fn read(&self, path: &str, max_bytes: u32) -> Result<Option<Vec<u8>>, ProbeError> {
        self.host.read(path, max_bytes)
    }

    /// Of the file system that holds the path.
    ///
    /// # Errors
    /// If it is not granted, or not there.
    pub fn space(&self, path: &str) -> Result<DiskUsage, ProbeError> {
        self.host.space(path)
    }

    /// Addresses of a name by the host's resolver, at least one. Without a timeout it takes at most what is left of the run.
    ///
    /// # Errors
    /// If it is not granted, or the name does not resolve.
    pub fn resolve(&self, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        self.host.resolve(name, timeout)
    }

    /// The same by a name server of your choice, `10.0.0.2` or `10.0.0.2:53`; that it does not answer is its doing, not the
    /// host's.
    ///
    /// # Errors
    /// If the name or the server (for `tcp`) is not granted, the name does not resolve there, or the server does not answer.
    pub fn resolve_at(&self, server: &str, name: &str, timeout: Option<Duration>) -> Result<Vec<IpAddr>, ProbeError> {
        self.host.resolve(&format!("{name}@{server}"), timeout)
    }

    /// The host's network links.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn links(&self) -> Result<Vec<Link>, ProbeError> {
        self.host.links()
    }

    /// The host's addresses, those of VRRP included.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn addresses(&self) -> Result<Vec<Address>, ProbeError> {
        self.host.addresses()
    }

    /// A conversation with `host:port`.
    ///
    /// # Errors
    /// If it is not granted, or no connection came about.
    pub fn connect_tcp(&self, addr: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        self.host.connect_tcp(addr, timeout)
    }

    /// A conversation by a socket in the file system.
    ///
    /// # Errors
    /// If it is not granted, or no connection came about.
    pub fn connect_unix(&self, path: &str, timeout: Option<Duration>) -> Result<Connection, ProbeError> {
        self.host.connect_unix(path, timeout)
    }

    /// The host's clock, to the millisecond.
    pub fn now(&self) -> SystemTime {
        self.host.now()
    }

    /// A line for the daemon's log.
    pub fn log(&self, level: Level, message: &str) {
        self.host.log(level, message);
    }

    /// What the check's last run remembered; empty at first.
    pub fn recall(&self) -> Vec<u8> {
        self.host.recall()
    }

    /// Keeps up to 4096 bytes for the next run, if this one ends with a report.
    pub fn remember(&self, data: &[u8]) {
        self.host.remember(data);
    }
}
